"""Runs of ``bemi verify``: what is accepted, samples, and runs that are interrupted."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from bemi_django.management import verify_command
from bemi_django.verification import by_key, streams
from bemi_django.verification.log_queries import KEYS, LoggedName, of_table, on
from bemi_django.verification.records.result import Verified
from bemi_django.verification.sample import parse_sample
from bemi_django.verification.verify import IN_ORDER_OF_INDEXES, Options, verify
from tests.support import roles
from tests.support.audit import record_many
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.project_database import execute


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


COUNT = 200
NOTHING = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def numbers(drain: Drain) -> Iterator[Pipeline]:
    """The table ``numbers``, with a worker at work."""
    execute("CREATE TABLE numbers (id int PRIMARY KEY, word text)")
    execute("INSERT INTO numbers SELECT i, 'x' FROM generate_series(1, %s) i", [COUNT])
    drain()
    # Other tests compare tables, too.
    execute("DELETE FROM _bemi.verifications")
    pipeline = Pipeline.of_project("bemi_test")
    with pipeline.worker():
        yield pipeline
    execute("DROP TABLE numbers")
    execute("DELETE FROM _bemi.verifications")
    execute("DELETE FROM _bemi.accepted")


def hide(statement: str) -> None:
    """Execute a write that is not in the stream, because the table is not published for a moment."""
    execute("ALTER PUBLICATION bemi DROP TABLE numbers")
    execute(statement)
    execute("ALTER PUBLICATION bemi ADD TABLE numbers")


def options(**given: Any) -> Options:
    return Options(only=["public.numbers"], **given)


def compare(**given: Any) -> Verified:
    (result,) = verify(worker_config("bemi_test", role=roles.OWNER), options(**given))
    return result


def bemi(*arguments: str) -> str:
    """Return what a subcommand prints."""
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out)
    return out.getvalue()


def test_what_is_accepted_is_no_failure_until_it_changes(numbers: Pipeline, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    hide("UPDATE numbers SET word = 'y' WHERE id = 1; DELETE FROM numbers WHERE id = 2")
    hide("INSERT INTO numbers VALUES (900, 'z')")
    with pytest.raises(CommandError, match="the log and 1 of 1 tables differ"):
        bemi("verify", "public.numbers")
    said = bemi("verify", "public.numbers", "--accept", "--reason", "a repair by hand")
    assert said == f"public.numbers: {COUNT} rows, 3 accepted differences, as in the log\n"
    assert bemi("verify", "public.numbers") == said
    kept = execute(
        "SELECT kind, context ->> 'reason', context ->> 'database_role' FROM _bemi.accepted ORDER BY 1"
    )
    role = execute("SELECT session_user::text")[0][0]
    assert kept == [
        (kind, "a repair by hand", role) for kind in ("different", "not in the log", "only in the log")
    ]
    hide("UPDATE numbers SET word = 'secret' WHERE id = 1")
    result = compare()
    assert (result.accepted, result.different.examples) == (2, ["1: word"])
    assert "secret" not in str(execute("SELECT * FROM _bemi.accepted"))


def test_equal_rows_without_a_key_are_accepted_by_their_number(drain: Drain) -> None:
    execute("CREATE TABLE numbers (n int)")
    try:
        drain()
        with Pipeline.of_project("bemi_test").worker():
            hide("INSERT INTO numbers VALUES (1), (1)")
            assert compare().missing.count == 2
            assert compare(accept={"reason": "x"}).accepted == 2
            assert compare().is_true
            hide("INSERT INTO numbers VALUES (1)")
            assert compare().missing.count == 3
    finally:
        execute("DROP TABLE numbers")
        execute("DELETE FROM _bemi.verifications")
        execute("DELETE FROM _bemi.accepted")


def test_a_reason_needs_something_to_accept() -> None:
    with pytest.raises(CommandError, match="add --accept"):
        bemi("verify", "--reason", "x")


@pytest.mark.parametrize("key", ["PRIMARY KEY (id)", "UNIQUE (id)"], ids=["with a key", "without a key"])
def test_samples_compare_all_rows_one_after_another(numbers: Pipeline, key: str) -> None:
    execute(f"ALTER TABLE numbers DROP CONSTRAINT numbers_pkey, ADD {key}")
    hide("INSERT INTO numbers VALUES (900, 'z')")
    sample = parse_sample("25%")
    results = [compare(sample=sample) for _ in range(4)]
    assert sum(result.rows for result in results) == COUNT + 1
    assert sum(result.missing.count for result in results) == 1
    assert all(0 < result.rows < COUNT for result in results)
    assert [result.notes[0] for result in results] == [f"part {part} of 4" for part in (1, 2, 3, 4)]
    # What was compared before has been compared, whatever else ran in between.
    compare()
    assert compare(sample=sample).rows == results[0].rows


@pytest.mark.parametrize("key", ["PRIMARY KEY (id)", "UNIQUE (id)"], ids=["with a key", "without a key"])
def test_memory_does_not_grow_with_the_table(
    numbers: Pipeline, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer form compares millions of rows: ``make torture``."""
    monkeypatch.setattr(by_key, "BLOCKS", 4)
    monkeypatch.setattr(by_key, "KEYS", 400)
    monkeypatch.setattr(streams, "_FETCHED", 400)
    execute(f"ALTER TABLE numbers DROP CONSTRAINT numbers_pkey, ADD {key}")
    peaks = []
    for first, last in ((COUNT + 1, 1200), (1201, 5000)):
        rows = "INSERT INTO numbers SELECT i, repeat('x', 50) FROM generate_series(%s, %s) i"
        execute(rows, [first, last])
        # The worker, a thread of this process, has nothing left to do then, and all modules are loaded.
        compare()
        tracemalloc.start()
        try:
            assert compare().is_true
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_a_sample_of_so_many_rows(numbers: Pipeline) -> None:
    execute("ANALYZE numbers")
    result = compare(sample=parse_sample("50"))
    assert result.notes == ["part 1 of 4"] and 0 < result.rows < COUNT


@pytest.mark.parametrize("text", ["0%", "101%", "x", "", "0", "-5", "5 %", "1e3"])
def test_what_is_no_sample_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a share of the rows, such as 5%, nor their number"):
        parse_sample(text)


def test_samples_have_parts_of_about_their_size() -> None:
    assert parse_sample("100%").part(7, 10).of == 1
    twentieth = parse_sample("5%").part(21, 10)
    assert (twentieth.number, twentieth.of) == (1, 20)
    assert parse_sample("1000").part(0, 10**8).of == 10**5
    assert parse_sample("1000").part(3, 0).of == 1


def test_an_interrupted_run_goes_on_where_it_stopped(
    numbers: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_key, "BLOCKS", 1)
    monkeypatch.setattr(by_key, "KEYS", 50)
    execute("INSERT INTO numbers SELECT i, repeat('x', 100) FROM generate_series(1000, 1200) i")
    hide("DELETE FROM numbers WHERE id = 1; INSERT INTO numbers VALUES (900, 'z')")
    whole = compare()
    assert (whole.missing.count, whole.extra.count) == (1, 1)
    pieces = _pieces_until(10_000)
    assert len(pieces) > 8
    # In the table, where the log begins, in the log, and at the end.
    for stop in sorted({2, len(pieces) // 2, len(pieces) // 2 + 1, len(pieces) - 1}):
        assert len(_pieces_until(stop)) == stop
        rest: list[float] = []
        (result,) = verify(
            worker_config("bemi_test", role=roles.OWNER),
            options(resume=True, watch=lambda table, part, rest=rest: rest.append(part)),
        )
        assert str(result) == str(whole)
        assert len(rest) == len(pieces) - stop
    # The last one came to its end, so there is nothing to continue.
    assert len(_pieces_until(10_000, resume=True)) == len(pieces)


class Interrupted(Exception):
    """Stands for what ends a process."""


def _pieces_until(stop: int, **given: Any) -> list[float]:
    """Compare until so many pieces were compared; return the part of the whole after each."""
    parts: list[float] = []

    def watch(table: str, part: float) -> None:
        parts.append(part)
        if len(parts) == stop:
            raise Interrupted

    with suppress(Interrupted):
        compare(watch=watch, **given)
    assert parts == sorted(parts)
    return parts


def test_tables_that_were_compared_are_not_compared_again(numbers: Pipeline) -> None:
    stopped: list[str] = []

    def watch(table: str, part: float) -> None:
        stopped.append(table)
        if table == "public.numbers":
            raise Interrupted

    config = worker_config("bemi_test", role=roles.OWNER)
    with pytest.raises(Interrupted):
        list(verify(config, Options(watch=watch)))
    before = set(stopped) - {"public.numbers"}
    again: list[str] = []
    results = list(verify(config, Options(resume=True, watch=lambda table, part: again.append(table))))
    assert before and not before & set(again)
    assert before < {result.table for result in results} and all(result.is_true for result in results)


def test_the_status_shows_the_last_run(numbers: Pipeline, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"

    def status() -> Any:
        out = io.StringIO()
        with suppress(CommandError):
            call_command("bemi", "status", "--json", stdout=out)
        return json.loads(out.getvalue())

    assert status()["verification"] is None
    hide("DELETE FROM numbers WHERE id = 1")
    compare(sample=parse_sample("100%"))
    found = status()
    assert found["verification"].pop("age") >= 0
    assert found["verification"] == {"tables": 1, "wrong": 1, "is_partial": True, "sample": "100%"}
    assert any("tables that differ from the log: 1; run" in problem for problem in found["problems"])
    compare(accept={"reason": "x"})
    found = status()
    assert (found["verification"]["wrong"], found["verification"]["sample"]) == (0, None)
    assert not any("differ" in problem for problem in found["problems"])


def test_old_runs_are_forgotten(numbers: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bemi_django.verification.records.runs.KEPT", 2)
    for _ in range(4):
        compare()
    assert execute("SELECT round FROM _bemi.verifications ORDER BY id") == [(2,), (3,)]
    assert execute("SELECT count(*) FROM _bemi.verified") == [(2,)]


def test_a_table_that_is_dropped_meanwhile_is_no_failure(numbers: Pipeline) -> None:
    execute("CREATE TABLE vanishing (id int PRIMARY KEY)")

    def watch(table: str, part: float) -> None:
        if table == "public.numbers":
            execute("DROP TABLE IF EXISTS vanishing")

    config = worker_config("bemi_test", role=roles.OWNER)
    chosen = Options(only=["public.numbers", "public.vanishing"], watch=watch)
    assert [str(result) for result in verify(config, chosen)] == [
        f"public.numbers: {COUNT} rows, as in the log",
        "public.vanishing: dropped meanwhile",
    ]


def test_no_snapshot_is_held_between_the_pieces(numbers: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """VACUUM may remove what was deleted when a table has been read in part."""
    monkeypatch.setattr(by_key, "KEYS", 50)
    held = []

    def watch(table: str, part: float) -> None:
        held.extend(
            execute(
                "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid() "
                "AND backend_xmin IS NOT NULL AND query LIKE '%numbers%'"
            )
        )

    assert compare(watch=watch).rows == COUNT
    assert held == []


def test_a_command_that_is_interrupted_says_how_to_continue(
    numbers: Pipeline, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_SLOT = "bemi_test"

    @contextmanager
    def watching() -> Iterator[Any]:
        def watch(table: str, part: float) -> None:
            raise KeyboardInterrupt

        yield watch

    with monkeypatch.context() as patched:
        patched.setattr(verify_command, "watching", watching)
        with pytest.raises(CommandError, match="interrupted: the same command with --resume") as raised:
            bemi("verify", "public.numbers")
    assert raised.value.returncode == 130
    assert bemi("verify", "public.numbers", "--resume").endswith("as in the log\n")
    assert execute("SELECT count(*), count(ended_at) FROM _bemi.verifications") == [(1, 1)]


class Terminal(io.StringIO):
    """An output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("output", [Terminal, io.StringIO], ids=["a terminal", "a file"])
def test_a_bar_shows_the_progress_on_a_terminal_only(
    output: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", output())
    error = output()
    monkeypatch.setattr("sys.stderr", error)
    with verify_command.watching() as watch:
        watch("public.one", 0.25)
        watch("public.one", 1.0)
        watch("public.two", 0.5)
    shown = error.getvalue()
    assert [name in shown for name in ("public.one", "25%", "public.two", "50%")] == [output is Terminal] * 4


def test_a_piece_of_a_large_log_does_not_read_the_rest(transactional_db: None) -> None:
    """Autovacuum analyzes the months of the log, but not the log."""
    record_many(30_000)
    names = [LoggedName("public", "todo", NOTHING)]
    condition, given = of_table(names)
    given |= {"database": connection.settings_dict["NAME"], "snapshot": None, "earlier": NOTHING}
    given |= {"after": "1", "limit": 100, "slice": 0, "slices": 1}
    with transaction.atomic():
        # What the server expects without statistics, of a log that is larger than its memory.
        execute("ALTER TABLE changes ALTER primary_key SET (n_distinct_inherited = 200); ANALYZE changes")
        execute("SET LOCAL random_page_cost = 1000; SET LOCAL effective_cache_size = '1MB'")
        execute(f"SET LOCAL enable_seqscan = off; {IN_ORDER_OF_INDEXES.replace('SET ', 'SET LOCAL ')}")
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + on("changes", KEYS, condition), given)
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Merge Append" in plan and "Bitmap" not in plan and "Sort  " not in plan, plan
        transaction.set_rollback(True)
    execute("DELETE FROM changes")
