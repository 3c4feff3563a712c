# ruff: noqa: S608 - the SQL of tests
"""A row that the log cannot hold costs the values at fault: no pause, and no value in a server's log."""

from __future__ import annotations

import ctypes
import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.load_pipeline import LoadPipeline

MEGABYTE = 1 << 20
#: M_MMAP_THRESHOLD of mallopt(3): from how many bytes on memory is taken from the system by itself.
_MMAP_THRESHOLD = -3


@pytest.fixture
def big(trail: LoadPipeline) -> Iterator[LoadPipeline]:
    trail.source.run("CREATE TABLE big (id int PRIMARY KEY, body bytea, note text, doc json)")
    trail.source.run("ALTER TABLE big REPLICA IDENTITY FULL; ALTER PUBLICATION bemi ADD TABLE big")
    yield trail
    trail.source.run("DROP TABLE big")
    trail.log.run("DELETE FROM _bemi.dead_letters")


def megabytes_of(run: Callable[[], object]) -> float:
    """Return how much memory the process has, at the most, beyond that of now."""
    # Memory that is freed goes back to the system at once, as that of rows of more than 32 MB does anyway.
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, MEGABYTE)
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes(status, "VmHWM")
    run()
    return (_kilobytes(status, "VmHWM") - before) / 1024


def _kilobytes(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))


def logged(trail: LoadPipeline) -> list[tuple[Any, ...]]:
    return trail.log.run(
        "SELECT operation, primary_key, length(before ->> 'body'), length(after ->> 'body'), "
        "after ->> 'note', unavailable FROM changes WHERE \"table\" = 'big' ORDER BY id"
    )


def assert_not_in_server_logs(pipeline: LoadPipeline, value: bytes) -> None:
    for cluster in (pipeline.source, pipeline.log):
        assert value not in (cluster.directory / "server.log").read_bytes()


def test_a_value_that_jsonb_cannot_hold_is_left_out_and_what_follows_is_recorded(big: LoadPipeline) -> None:
    size = 135 * MEGABYTE
    big.source.run(f"INSERT INTO big VALUES (1, decode(repeat('ab', {size}), 'hex'), 'first')")
    big.source.run("INSERT INTO big VALUES (2, 'x', 'second')")
    big.write(3)
    taken = megabytes_of(big.run)
    assert logged(big) == [
        ("CREATE", "1", None, None, "first", {"after": ["body"]}),
        ("CREATE", "2", None, 4, "second", None),
    ]
    assert big.logged()[-3:] == [1, 2, 3]
    ((message, origin, reason, position),) = big.log.run(
        "SELECT message, origin, reason, position FROM _bemi.dead_letters WHERE change_id IS NOT NULL"
    )
    # The kind, the table, the mark, the number of columns, and the values with their kinds and lengths.
    whole = 1 + 4 + 1 + 2 + (5 + 1) + (5 + 2 + 2 * size) + (5 + 5) + 1
    assert origin["cut"]["size"] == whole
    assert len(origin["cut"]["sha256"]) == hashlib.sha256().digest_size * 2
    assert bytes(message)[:1] == b"I" and b"\\xabab" in bytes(message) and len(message) < MEGABYTE
    assert f"after.body: {2 + 2 * size} bytes are more than jsonb holds" in reason
    assert position > 0
    assert_not_in_server_logs(big, b"abababab")
    # The message, and what libpq holds of it meanwhile.
    assert taken < 3.3 * whole / MEGABYTE


def test_a_message_that_is_larger_than_a_setting_is_kept_in_part(big: LoadPipeline) -> None:
    big.config = big.config._replace(largest_letter=1000)
    big.source.run("INSERT INTO big VALUES (1, NULL, repeat('x', 2000), '\"\\u0000\"')")
    big.source.run("INSERT INTO big VALUES (2, NULL, 'x', '\"\\u0000\"')")
    big.run()
    (cut, reason, lost), (whole, *_) = big.log.run(
        "SELECT message, reason, origin FROM _bemi.dead_letters ORDER BY id"
    )
    assert (len(cut), reason) == (1000, "after.doc: not accepted as jsonb")
    assert lost["cut"]["size"] > 2000 and len(lost["cut"]["sha256"]) == 64
    assert len(whole) < 1000 and logged(big)[1][1] == "2"


def test_a_row_of_many_megabytes_is_whole(big: LoadPipeline) -> None:
    size = 20 * MEGABYTE
    big.source.run(f"INSERT INTO big VALUES (1, decode(repeat('ab', {size}), 'hex'), 'first')")
    big.source.run("UPDATE big SET note = 'second'")
    big.source.run("UPDATE big SET body = 'x'")
    big.source.run("DELETE FROM big")
    big.run()
    large, small = 2 + 2 * size, 4
    assert logged(big) == [
        ("CREATE", "1", None, large, "first", None),
        ("UPDATE", "1", large, large, "second", None),
        ("UPDATE", "1", large, small, "second", None),
        ("DELETE", "1", small, None, None, None),
    ]
    assert big.log.one("SELECT count(*) FROM _bemi.dead_letters") == 0


LARGE = {
    "text": "'' || repeat('x', {size})",
    "lines": "repeat(E'\"\\n', {size} / 2)",
    "json": "json_build_array(repeat('e12345', {size} / 6))",
    "integers": "array_fill(123456789, ARRAY[{size} / 10])",
    "quoted": "ARRAY[repeat('x\"', {size} / 3), repeat('\\y', {size} / 3)]",
    "bytes": "ARRAY[decode(repeat('ab', {size} / 2), 'hex')]",
    "documents": "ARRAY[jsonb_build_array(repeat('x\"', {size} / 4))]",
    "jsons": "ARRAY[json_build_array(repeat('x\"', {size} / 8))]",
    "composite": "ROW(1, repeat('x y', {size} / 3))::pair",
    "quoted-composite": "ROW(1, repeat('x\"\\', {size} / 5))::pair",
    "nested": "ARRAY[ROW(1, ARRAY[ROW(2, repeat('x \"', {size} / 10))::pair])::pairs]",
    "domain": "ARRAY[repeat('x y', {size} / 3)]::named",
    "hstore": "hstore('key', repeat('x\"', {size} / 3))",
    "generated": "repeat('x y', {size} / 3)",
    "cast": "ROW(repeat('x \"', {size} / 3))::shown",
}
#: What is done to the table before.
_MADE = {
    "generated": "ALTER TABLE large ADD size int GENERATED ALWAYS AS (length(value)) STORED",
    "cast": (
        "CREATE FUNCTION show(shown) RETURNS json IMMUTABLE LANGUAGE sql AS 'SELECT to_json($1.b)'; "
        "CREATE CAST (shown AS json) WITH FUNCTION show(shown)"
    ),
}


@pytest.mark.parametrize(("kind", "value"), LARGE.items(), ids=LARGE)
def test_a_large_row_is_held_few_times(big: LoadPipeline, kind: str, value: str) -> None:
    size = 8 * MEGABYTE
    big.run()
    value = value.format(size=size)
    try:
        big.source.run("CREATE TYPE pair AS (a int, b text); CREATE TYPE pairs AS (a int, b pair[])")
        big.source.run("CREATE TYPE shown AS (b text)")
        big.source.run("CREATE DOMAIN named AS text[]; CREATE EXTENSION hstore")
        big.source.run(f"CREATE TABLE large AS SELECT 1 AS id, {value} AS value WHERE false")
        if made := _MADE.get(kind):
            big.source.run(made)
        big.source.run(f"ALTER PUBLICATION bemi ADD TABLE large; INSERT INTO large SELECT 1, {value}")
        row = big.source.one("SELECT octet_length(value::text) FROM large") / MEGABYTE
        # Buffers and caches take the same of a row of any size.
        assert megabytes_of(big.run) < 10 + 3 * row
        stored = big.log.one(
            "SELECT md5(after ->> 'value') FROM changes WHERE \"table\" = 'large' AND unavailable IS NULL"
        )
        assert stored == big.source.one("SELECT md5(to_jsonb(value) #>> '{}') FROM large")
    finally:
        big.source.run(
            "DROP TABLE IF EXISTS large; DROP TYPE IF EXISTS pairs, pair, shown CASCADE; "
            "DROP DOMAIN IF EXISTS named; DROP EXTENSION IF EXISTS hstore"
        )


@pytest.mark.parametrize("bad", [r"\u0000", r"\ud800"])
def test_a_json_that_is_not_jsonb_does_not_reach_the_log_of_a_server(big: LoadPipeline, bad: str) -> None:
    # Other tests leave errors with other values in the logs of the servers.
    value = uuid.uuid4().hex
    doc = f'{{"key": "{value} {bad}"}}'
    big.source.run("INSERT INTO big VALUES (1, NULL, 'first', %s)", [doc])
    big.run()
    assert logged(big) == [("CREATE", "1", None, None, "first", {"after": ["doc"]})]
    ((message, reason),) = big.log.run("SELECT message, reason FROM _bemi.dead_letters")
    assert doc.encode() in bytes(message) and reason == "after.doc: not accepted as jsonb"
    assert_not_in_server_logs(big, value.encode())
