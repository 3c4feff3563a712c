"""Changes in a file of JSON lines: it says where it ends, and the worker goes on from there."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from bemi_django.exceptions import LostHistory, ReplicationError
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.schema.replication.slots import find_name
from bemi_django.sinks import json_lines
from bemi_django.wire.lsn import parse_lsn
from tests.support.exporting import Sink, lines_of, of_lines, of_log
from tests.support.polling import until


@pytest.fixture
def path(file_sink: Sink) -> Path:
    """The file, begun."""
    file_sink.run()
    return Path(file_sink.url.removeprefix("file://"))


def test_lines_are_as_documented(file_sink: Sink, path: Path) -> None:
    trail = file_sink.trail
    trail.source.run("INSERT INTO load (id, n) VALUES (1, 1), (2, 2)")
    assert file_sink.run() == 2
    assert path.read_bytes().startswith(b'{"bemi":1,"slot":"%s"}\n' % file_sink.slot.encode())
    first, second, end = lines_of(path)
    trail.run()
    # The log has the same, by a worker of its own.
    assert [first["id"], second["id"]] == [change.id for change in of_log(trail)]
    row = {"id": 1, "n": 1, "filler": "row-value"}
    change = {"schema": "public", "table": "load", "primary_key": "1", "operation": "CREATE", "after": row}
    assert first == {**first, **change, "before": {}, "partition": None, "unavailable": None}
    assert first["context"]["application_name"] is not None
    query = "SELECT committed_at, transaction_id FROM changes"
    committed_at = datetime.fromisoformat(first["committed_at"].replace("Z", "+00:00"))
    assert trail.log.run(query)[0] == (committed_at, first["transaction_id"])
    assert parse_lsn(end["end"].pop("lsn")) > first["position"]
    assert end == {
        "end": {
            "history": 0,
            "transaction_id": first["transaction_id"],
            "committed_at": first["committed_at"],
            "changes": 2,
        }
    }


HALF = {
    "a line": b'{"id":"0193',
    "a change": b'{"id":"x","operation":"CREATE","after":{"n":9}}\n',
    "an end": b'{"id":"x","after":{"n":9}}\n{"end":{"history":0,"lsn":"0/FFFFFF',
    "something": b'{"end":{"history":null}}\n',
}


@pytest.mark.parametrize("half", HALF.values(), ids=HALF)
def test_what_was_half_written_is_cut_off(file_sink: Sink, path: Path, half: bytes) -> None:
    file_sink.trail.write(2)
    file_sink.run()
    whole = path.read_bytes()
    path.write_bytes(whole + half)
    file_sink.run()
    assert path.read_bytes() == whole
    file_sink.trail.write(1)
    file_sink.run()
    assert path.read_bytes().startswith(whole)
    file_sink.catch_up()


def test_a_transaction_whose_checkpoint_was_not_written_comes_once(
    file_sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, failures = Checkpoints.advance, iter([True])

    def fail_once(*arguments: Any, **named: Any) -> None:
        if next(failures, False):
            raise psycopg2.OperationalError("as if killed")
        advance(*arguments, **named)

    monkeypatch.setattr(Checkpoints, "advance", fail_once)
    file_sink.trail.write(3)
    file_sink.run()
    assert next(failures, None) is None
    assert len(file_sink.catch_up()) == 3
    assert file_sink.confirmed() >= file_sink.checkpoint()


def test_large_transactions_and_many_small_ones_are_whole(file_sink: Sink, path: Path) -> None:
    trail = file_sink.trail
    trail.source.run("INSERT INTO load SELECT i, i, repeat('x', 1000) FROM generate_series(1, 2500) i")
    trail.write(20)
    assert file_sink.run() == 2520
    ends = [line["end"]["changes"] for line in lines_of(path) if "end" in line]
    assert ends == [2500] + [1] * 20
    file_sink.catch_up()


def test_an_idle_database_moves_the_slot_and_writes_nothing(file_sink: Sink, path: Path) -> None:
    file_sink.trail.write(1)
    file_sink.run()
    size, confirmed = path.stat().st_size, file_sink.confirmed()
    file_sink.trail.source.run("INSERT INTO junk SELECT 'unrecorded' FROM generate_series(1, 10)")
    with file_sink.trail.worker(config=file_sink.config):
        until(lambda: file_sink.confirmed() > confirmed)
    file_sink.run()
    assert path.stat().st_size == size
    # The end of the file is before that of the slot, and nothing is missing.
    file_sink.trail.write(1)
    file_sink.run()
    file_sink.catch_up()


def test_a_full_disk_makes_the_slot_wait(
    file_sink: Sink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = _Disk()
    monkeypatch.setattr(json_lines, "os", disk)
    trail = file_sink.trail
    with trail.worker(config=file_sink.config):
        trail.write(1)
        until(lambda: file_sink.read())
        disk.is_full = True
        trail.write(50)
        until(lambda: "No space left" in file_sink.trouble())
        # Nothing is forgotten that the file does not have; more was read.
        assert file_sink.confirmed() == file_sink.checkpoint()
        assert len(file_sink.read()) < 51
        disk.is_full = False
        file_sink.catch_up()
        until(lambda: not file_sink.trouble())


def test_a_file_that_is_moved_away_is_followed_by_another(file_sink: Sink, path: Path) -> None:
    trail, old = file_sink.trail, path.with_suffix(".old")
    with trail.worker(config=file_sink.config):
        trail.write(2)
        until(lambda: len(file_sink.read()) == 2)
        # What is confirmed is the end of the file.
        until(lambda: file_sink.confirmed() == file_sink.checkpoint())
        path.rename(old)
        trail.write(2)
        until(lambda: len(file_sink.read()) == 2)
    assert [change.after["n"] for change in of_lines(lines_of(old))] == [1, 2]
    assert [change.after["n"] for change in file_sink.read()] == [3, 4]


def test_a_slot_without_its_wal_is_a_gap_in_the_file(file_sink: Sink, path: Path) -> None:
    file_sink.trail.write(1)
    file_sink.run()
    file_sink.trail.lose_wal(file_sink.slot)
    with pytest.raises(LostHistory, match="does not have the WAL"):
        file_sink.run()
    file_sink.run(accept_gap=True)
    file_sink.trail.write(1)
    file_sink.run()
    assert [line["operation"] for line in lines_of(path) if "operation" in line] == [
        "CREATE",
        "GAP",
        "CREATE",
    ]


def test_a_file_that_has_lost_its_end_is_a_gap(file_sink: Sink, path: Path) -> None:
    file_sink.trail.write(1)
    file_sink.run()
    one = path.read_bytes()
    file_sink.trail.write(1)
    file_sink.run()
    path.write_bytes(one)
    with pytest.raises(LostHistory, match="the replication slot begins at"):
        file_sink.run()
    file_sink.run(accept_gap=True)
    assert [line.get("operation") for line in lines_of(path)] == ["CREATE", None, "GAP", None]
    assert lines_of(path)[2]["context"]["reason"].startswith("the replication slot begins")
    # The log has no gap.
    file_sink.trail.run()
    assert file_sink.trail.gaps() == []
    file_sink.trail.write(1)
    file_sink.run()
    assert [change.after["n"] for change in file_sink.read()] == [1, 3]


@pytest.mark.parametrize("content", [b'{"id":1}\n', b'{"bemi":1,"slot":"another"}\n', b"PK" * 50])
def test_the_file_of_something_else_is_left_alone(file_sink: Sink, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ReplicationError, match="is not a file of the slot .*: move it away"):
        file_sink.run()
    assert path.read_bytes() == content


def test_two_workers_never_write_one_file(file_sink: Sink, path: Path) -> None:
    with (
        closing(json_lines.JsonLinesFile(str(path), file_sink.slot)),
        pytest.raises(ReplicationError, match="give each database a file of its own"),
    ):
        json_lines.JsonLinesFile(str(path), file_sink.slot)


def test_an_error_says_what_to_do(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "changes.jsonl"
    with pytest.raises(ReplicationError, match="No such file or directory: create its directory"):
        json_lines.JsonLinesFile(str(missing), "bemi")


def test_a_file_that_this_database_does_not_know_is_refused(file_sink: Sink, path: Path) -> None:
    file_sink.trail.write(1)
    file_sink.run()
    file_sink.trail.log.run("DELETE FROM _bemi.checkpoint WHERE slot = %s", [file_sink.slot])
    with pytest.raises(ReplicationError, match="knows nothing: move them away"):
        file_sink.run()


def test_the_slot_of_an_export_is_never_that_of_the_log(file_sink: Sink, path: Path) -> None:
    trail = file_sink.trail
    trail.log.run("DELETE FROM _bemi.checkpoint WHERE slot = %s", [trail.slot])
    with (
        closing(psycopg2.connect(**trail.config.source)) as source,
        closing(psycopg2.connect(**trail.config.destination)) as log,
    ):
        name = find_name(source.cursor(), log.cursor(), "default")
    assert name != file_sink.slot


class _Disk:
    """The module ``os``, of which ``write`` fails in the middle while the disk is full."""

    def __init__(self) -> None:
        self.is_full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, file: int, data: Any) -> int:
        if self.is_full:
            os.write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(file, data)
