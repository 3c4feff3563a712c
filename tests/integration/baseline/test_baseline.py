"""``bemi baseline``: rows that are older than the log are recorded once, whatever happens meanwhile."""

from __future__ import annotations

import io
import random
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from bemi_django import conf, skip_tracking
from bemi_django.baseline import ranges
from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.baseline.baselined import Baselined
from bemi_django.baseline.progress_record import ProgressRecord
from bemi_django.exceptions import BemiError
from bemi_django.ingest.loop import baseline_ranges
from bemi_django.log.blame import blame_row
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.status.baselines import read_baselines
from bemi_django.time_travel import as_of
from bemi_django.verification.verify import Options, verify
from tests.support import roles
from tests.support.command import Command
from tests.support.fold import Entry
from tests.support.pipeline import Pipeline, worker_config
from tests.support.polling import until
from tests.support.processes import database_url
from tests.support.project_database import execute
from tests.support.strangers import stranger_session

#: Rows that the table has before it is tracked.
_OLD = 300
_ENTRIES = """
SELECT id::text, "table", operation, before::text, after::text, position FROM changes
WHERE schema = 'lab' AND "table" = 'book' ORDER BY id
"""


@pytest.fixture
def book(pipeline: Pipeline) -> Pipeline:
    """A table whose rows are older than its log."""
    execute("CREATE TABLE public.book (id int PRIMARY KEY, word text, price numeric)")
    execute("INSERT INTO public.book SELECT i, 'old ' || i, i * 1.50 FROM generate_series(1, %s) i", [_OLD])
    # In this schema it is tracked.
    execute("ALTER TABLE public.book SET SCHEMA lab")
    pipeline.drain()
    return pipeline


def run(pipeline: Pipeline, *tables: str, **options: Any) -> list[Baselined]:
    """Record the rows of tables while the worker is at work."""
    pipeline.stop()
    with pipeline.worker():
        config = worker_config(pipeline.slot, role=roles.OWNER)
        return list(baseline(config, BaselineOptions(only=tables or ("lab.book",), **options)))


def entries() -> list[Entry]:
    return [Entry(UUID(id_), *rest) for id_, *rest in execute(_ENTRIES)]


def live() -> Counter[str]:
    return Counter(row for (row,) in execute("SELECT to_jsonb(b)::text FROM lab.book b"))


class Writer(threading.Thread):
    """Writes all kinds of changes to rows of the table until told to stop."""

    def __init__(self, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._random = random.Random(seed)
        self._told_to_stop = stop
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with closing(psycopg2.connect(**conf.connection_parameters("default"))) as connection:
                while not self._told_to_stop.is_set():
                    with (
                        suppress(psycopg2.IntegrityError, psycopg2.extensions.TransactionRollbackError),
                        connection,
                        connection.cursor() as cursor,
                    ):
                        for _ in range(self._random.choice((1, 1, 3))):
                            self._write(cursor)
                    self._told_to_stop.wait(0.005)
        except BaseException as error:
            self.failure = error

    def _write(self, cursor: Any) -> None:
        key = self._random.randint(1, _OLD + 50)
        kind = self._random.random()
        if kind < 0.4:
            cursor.execute("UPDATE lab.book SET price = price + 1 WHERE id = %s", [key])
        elif kind < 0.55:
            cursor.execute("DELETE FROM lab.book WHERE id = %s", [key])
        elif kind < 0.7:
            cursor.execute("INSERT INTO lab.book VALUES (%s, 'new', 0) ON CONFLICT DO NOTHING", [key])
        elif kind < 0.8:
            other = self._random.randint(1, _OLD + 50)
            cursor.execute("UPDATE lab.book SET id = %s WHERE id = %s", [other, key])
        elif kind < 0.9:
            cursor.execute("UPDATE lab.book SET word = 'many' WHERE id %% 50 = %s", [key % 50])
        else:
            cursor.execute("SAVEPOINT s; DELETE FROM lab.book WHERE id = %s; ROLLBACK TO SAVEPOINT s", [key])


@contextmanager
def written() -> Iterator[None]:
    """Have the table written until the block ends."""
    stop = threading.Event()
    writers = [Writer(seed, stop) for seed in range(3)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [writer.failure for writer in writers] == [None] * 3


def check_log() -> None:
    """Every row is recorded from its beginning, and the log gives the table exactly."""
    first: dict[str, str] = {}
    rows = execute(
        "SELECT primary_key, previous_primary_key, operation FROM changes WHERE schema = 'lab' ORDER BY id"
    )
    for key, previous, operation in rows:
        # A change that came first has the row before in full.
        first.setdefault(previous or key, operation)
        first.setdefault(key, "MOVED" if previous else operation)
        assert operation != "BASELINE" or first[key] == "BASELINE"
    assert set(first.values()) <= {"BASELINE", "CREATE", "UPDATE", "DELETE", "MOVED"}
    rows_now: dict[str, str] = {}
    for entry, (key, previous, _) in zip(entries(), rows, strict=True):
        old = previous or key
        if entry.operation in ("UPDATE", "DELETE"):
            assert rows_now.pop(old, entry.before) == entry.before
        if entry.operation == "BASELINE":
            assert key not in rows_now
        if entry.operation != "DELETE":
            rows_now[key] = entry.after
    assert Counter(rows_now.values()) == live()


def test_rows_that_never_changed_are_recorded_as_they_are(book: Pipeline) -> None:
    (result,) = run(book, context={"command": "bemi baseline"})
    assert str(result) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"
    assert {entry.operation for entry in entries()} == {"BASELINE"}
    check_log()
    change = Change.objects.filter(table="book", primary_key="2").get()
    assert (change.before, change.after["word"], change.context["command"]) == ({}, "old 2", "bemi baseline")


def test_a_row_with_a_change_is_left_to_it(book: Pipeline) -> None:
    execute("UPDATE lab.book SET word = 'newer' WHERE id = 2")
    execute("UPDATE lab.book SET id = 1003 WHERE id = 3")
    execute("DELETE FROM lab.book WHERE id = 4")
    execute("INSERT INTO lab.book VALUES (1004, 'new', 1)")
    (result,) = run(book)
    assert str(result) == f"lab.book: {_OLD} rows, {_OLD - 3} of them recorded"
    check_log()


def test_a_stranger_with_locks_does_not_keep_rows_from_being_recorded(book: Pipeline) -> None:
    with stranger_session() as stranger:
        ((oid,),) = execute("SELECT 'lab.book'::regclass::oid::int")
        name = f"_bemi.baseline/{oid}/"
        stranger.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        stranger.execute("SELECT pg_advisory_lock(hashtext(%s), n) FROM generate_series(-9, 9) n", [name])
        assert run(book, watch=interrupt)[0].failure == "interrupted"
        # Nobody is at work on it.
        assert [one.is_running for one in read_baselines("default")] == [False]
        (result,) = run(book)
    assert str(result) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"


def interrupt(table: str, part: float) -> None:
    assert [one.is_running for one in read_baselines("default")] == [True]
    raise BemiError("interrupted")


def test_two_that_read_the_same_rows_wait_for_each_other(
    book: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.baseline.baseline._CLAIM_SECONDS", 0.1)
    others: list[Baselined] = []

    def read_again(table: str, part: float) -> None:
        if not others:
            config = worker_config(book.slot, role=roles.OWNER)
            others.extend(baseline(config, BaselineOptions(only=("lab.book",))))

    (result,) = run(book, watch=read_again)
    assert not result.failure
    assert re.search(r"another 'bemi baseline' reads it \(pid \d+, role '", others[0].failure)


def test_without_a_worker_it_says_so_at_once_and_ends_once(
    book: Pipeline, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.verification.moment.ABSENCE_SECONDS", 0.1)
    settings.BEMI_SLOT = book.slot
    book.stop()
    book.release()
    out, errors = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match=f"^no worker reads the slot {book.slot}: start"):
        call_command("bemi", "baseline", "lab.book", stdout=out, stderr=errors)
    assert errors.getvalue().startswith("no worker is running") and not out.getvalue()


def test_events_of_a_row_are_no_changes_of_it(book: Pipeline) -> None:
    viewed = '{"event": "viewed", "schema": "lab", "table": "book", "key": "2"}'
    execute("SELECT pg_logical_emit_message(false, '_bemi_event', %s::text)", [viewed])
    (result,) = run(book)
    assert str(result) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"
    assert Change.objects.filter(table="book", primary_key="2", operation="EVENT").exists()


def test_the_log_is_exact_while_rows_are_written_and_processes_are_killed(book: Pipeline) -> None:
    book.stop()
    place = {"source": database_url(), "log": database_url(), "slot": book.slot}
    of_worker = (
        {**place, "source": roles.address(place["source"], roles.WORKER)} if roles.are_in_use() else place
    )
    asked = ("bemi", "baseline", "lab.book", "--range", "10", "--rate", "100")

    def has_read(rows: int) -> bool:
        found = execute(
            "SELECT rows, ended_at IS NOT NULL FROM _bemi.baselines WHERE relation = 'lab.book'::regclass"
        )
        return bool(found) and (found[0][0] >= rows or found[0][1])

    with written(), Command("bemi", "run", "--no-handlers", **of_worker) as worker:
        book.wait_until_read()
        with Command(*asked, **place) as command:
            until(lambda: has_read(40), why=lambda: command.out + command.errors)
            command.send(signal.SIGKILL)
            command.ends()
        with Command(*asked, **place) as command:
            until(lambda: has_read(80), why=lambda: command.out + command.errors)
            worker.send(signal.SIGKILL)
            worker.ends()
            book.release()
            with book.worker():
                assert command.ends() == 0, command.errors
    book.advance()
    check_log()
    assert execute("SELECT count(*) FROM _bemi.baseline_rows") == [(0,)]


@pytest.fixture
def between_the_marks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done once after the snapshot of a range and before its commit."""

    def do(what: Callable[[], object]) -> None:
        todo = [what]
        open_range = ProgressRecord.open_range

        def patched(self: ProgressRecord, *arguments: Any) -> None:
            if todo:
                todo.pop()()
            open_range(self, *arguments)

        monkeypatch.setattr(ProgressRecord, "open_range", patched)

    return do


def test_a_row_that_changes_between_the_marks_is_left_to_the_stream(
    book: Pipeline, between_the_marks: Callable[[Callable[[], object]], None]
) -> None:
    statements = (
        "UPDATE lab.book SET word = 'newer' WHERE id = 2",
        "UPDATE lab.book SET id = 1003 WHERE id = 3",
        "DELETE FROM lab.book WHERE id = 4",
        "DELETE FROM lab.book WHERE id = 5; INSERT INTO lab.book VALUES (5, 'again', 5)",
        "UPDATE lab.book SET id = 4 WHERE id = 6",
    )
    between_the_marks(lambda: [execute(statement) for statement in statements])
    (result,) = run(book, rows=100)
    assert result.progress is not None and result.progress.recorded == _OLD - 5
    check_log()


def test_a_range_whose_rows_were_changed_without_being_recorded_is_read_again(
    book: Pipeline, between_the_marks: Callable[[Callable[[], object]], None]
) -> None:
    def change() -> None:
        with skip_tracking(reason="import"):
            execute("UPDATE lab.book SET word = 'imported' WHERE id < 10")

    between_the_marks(change)
    (result,) = run(book, rows=100)
    assert str(result) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"
    rows = execute("SELECT after::text FROM changes WHERE schema = 'lab' AND operation = 'BASELINE'")
    assert Counter(row for (row,) in rows) == live()


def test_another_run_continues_and_a_third_has_nothing_to_do(book: Pipeline) -> None:
    def interrupt(table: str, part: float) -> None:
        if part > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(book, rows=50, watch=interrupt)
    assert 0 < len(entries()) < _OLD
    assert str(run(book)[0]) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"
    assert str(run(book)[0]).endswith("recorded by an earlier run (--anew reads them again)")
    (result,) = run(book, anew=True)
    assert str(result) == f"lab.book: {_OLD} rows, 0 of them recorded"
    check_log()


def test_rows_that_are_added_all_the_time_do_not_keep_it_from_its_end(book: Pipeline) -> None:
    def add(table: str, part: float) -> None:
        added.append(10_000 + len(added))
        assert len(added) < 20, "it goes on and on"
        execute("INSERT INTO lab.book VALUES (%s, 'new', 1)", [added[-1]])

    added: list[int] = []
    (result,) = run(book, rows=_OLD // 3, watch=add)
    assert result.progress is not None and result.progress.recorded == _OLD
    # The last one came after the last range.
    book.advance()
    check_log()


def test_rows_that_came_unnoticed_after_a_truncate_are_recorded(book: Pipeline) -> None:
    run(book)
    execute("CREATE TABLE public.spare AS TABLE lab.book")
    execute("TRUNCATE lab.book; INSERT INTO lab.book VALUES (1, 'new', 1)")
    with skip_tracking(reason="restore"):
        execute("INSERT INTO lab.book SELECT * FROM public.spare WHERE id BETWEEN 2 AND 9")
    execute("DROP TABLE public.spare")
    assert str(run(book, anew=True)[0]) == "lab.book: 9 rows, 8 of them recorded"


def test_rows_that_were_written_while_the_table_was_not_tracked_are_recorded(book: Pipeline) -> None:
    def verified() -> str:
        book.stop()
        with book.worker():
            (result,) = verify(worker_config(book.slot, role=roles.OWNER), Options(only=["lab.book"]))
        return str(result)

    execute("UPDATE lab.book SET word = 'newer' WHERE id = 1")
    execute("ALTER TABLE lab.book SET SCHEMA public")
    execute(
        "UPDATE public.book SET word = 'unseen' WHERE id = 1;"
        "INSERT INTO public.book VALUES (1000, 'unseen', 1)"
    )
    execute("ALTER TABLE public.book SET SCHEMA lab")
    assert (
        verified() == f"lab.book: {_OLD + 1} rows, {_OLD} of them older than the log, 1 different (1: word)"
    )
    assert str(run(book)[0]) == f"lab.book: {_OLD + 1} rows, {_OLD + 1} of them recorded"
    assert verified() == f"lab.book: {_OLD + 1} rows, as in the log"


def test_rows_are_recorded_again_in_a_new_history(book: Pipeline) -> None:
    run(book)
    book.drop()
    execute("UPDATE lab.book SET word = 'lost' WHERE id = 1")
    book.advance()
    assert str(run(book)[0]) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"
    recorded = Change.objects.filter(table="book", primary_key="1")
    assert [change.after["word"] for change in recorded] == ["old 1", "lost"]


def test_a_condition_chooses_rows_and_ranges_are_bounded_in_bytes(
    book: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "_RANGE_BYTES", 1000)
    (result,) = run(book, condition="id % 2 = 1 AND word <> 'old 7' -- and no others")
    assert str(result) == f"lab.book: {_OLD} rows, {_OLD // 2 - 1} of them recorded"
    assert len(execute("SELECT DISTINCT transaction_id FROM changes WHERE schema = 'lab'")) > 3
    assert str(run(book)[0]) == f"lab.book: {_OLD} rows, {_OLD // 2 + 1} of them recorded"
    check_log()


def test_a_row_that_the_server_cannot_print_does_not_keep_the_others(book: Pipeline) -> None:
    too_large = "CASE WHEN id = 5 THEN repeat(word, 2000000000) <> '' ELSE true END"
    (result,) = run(book, condition=too_large)
    assert str(result) == (
        f"lab.book: {_OLD} rows, {_OLD - 1} of them recorded, "
        "1 left out because the server cannot print a row as large"
    )


_TYPES = """
CREATE TYPE lab.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN lab.amount AS numeric CHECK (VALUE >= 0);
CREATE TYPE lab.pair AS (a int, b text);
CREATE TABLE lab.kinds AS SELECT
    timestamptz '2020-02-29 12:00:00.5+02' + i * interval '1 day' AS at,
    (ARRAY['a', 'B "x"', ''])[i % 3 + 1] AS word,
    i % 2 = 0 AS yes, 'ab'::char(5) AS padded, inet '10.0.0.1' AS address, '{1,NULL,3}'::int[] AS numbers,
    'glad'::lab.mood AS mood, 1.50::lab.amount AS amount, ROW(NULL, NULL)::lab.pair AS nulls,
    ROW(1, 'x,"y')::lab.pair AS pair, NULL::lab.pair AS nothing, '{"a": 1.10}'::jsonb AS doc,
    '\\xff00'::bytea AS raw,
    1e100::float8 AS large, 'NaN'::numeric AS nan, interval '1 mon 2 days' AS lapse, money '12.34' AS price,
    int4range(1, 5) AS range, repeat('long ', 2000) AS long
FROM generate_series(1, 7) i;
ALTER TABLE lab.kinds ADD PRIMARY KEY (word, at),
    ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED;
CREATE TABLE lab.parted (id bpchar NOT NULL, n int NOT NULL, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
CREATE TABLE lab.parted_1 AS SELECT 1 AS n, i::text::bpchar AS id FROM generate_series(1, 5) i;
ALTER TABLE lab.parted_1 ALTER id SET NOT NULL, ALTER n SET NOT NULL;
ALTER TABLE lab.parted ATTACH PARTITION lab.parted_1 FOR VALUES IN (1);
CREATE TABLE lab.parted_2 PARTITION OF lab.parted FOR VALUES IN (2);
"""


def test_rows_are_recorded_as_their_changes_would_be(pipeline: Pipeline) -> None:
    execute(_TYPES)
    pipeline.drain()
    results = run(pipeline, "lab.kinds", "lab.parted", rows=2)
    assert [str(result) for result in results] == [
        "lab.kinds: 7 rows, 7 of them recorded",
        "lab.parted_1: 5 rows, 5 of them recorded",
        "lab.parted_2: 0 rows, 0 of them recorded",
    ]
    execute("UPDATE lab.kinds SET yes = NOT yes")
    execute("UPDATE lab.parted SET n = 2")
    pipeline.advance()
    rows = execute(
        "SELECT \"table\", partition, primary_key, after::text, operation FROM changes WHERE schema = 'lab' "
        "AND operation = 'BASELINE' ORDER BY 1, 3"
    )
    later = execute(
        "SELECT \"table\", partition, coalesce(previous_primary_key, primary_key), before::text, 'BASELINE' "
        "FROM changes WHERE schema = 'lab' AND operation IN ('UPDATE', 'DELETE') ORDER BY 1, 3"
    )
    assert len(rows) == 12
    assert rows == later
    assert execute("SELECT count(*) FROM _bemi.dead_letters") == [(0,)]


def test_a_table_without_a_key_is_refused_and_one_without_changes_is_not(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.keyless AS SELECT 1 AS n; CREATE TABLE lab.none (id int PRIMARY KEY)")
    pipeline.drain()
    assert [str(result) for result in run(pipeline, "lab.keyless", "lab.none")] == [
        "lab.keyless: it has no primary key, by which its rows could be told from those with changes",
        "lab.none: 0 rows, 0 of them recorded",
    ]


def test_a_table_with_a_masked_key_is_left_out(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    execute("CREATE TABLE public.ticket (token text PRIMARY KEY); INSERT INTO public.ticket VALUES ('plain')")
    execute("ALTER TABLE public.ticket SET SCHEMA lab")
    pipeline.drain()
    assert "its key (token) is masked" in run(pipeline, "lab.ticket")[0].failure
    assert execute("SELECT count(*) FROM _bemi.baseline_rows") == [(0,)]
    # Nor does a worker take a range that a command with other rules has left.
    monkeypatch.setattr("bemi_django.baseline.baseline.masked_key", lambda *_: [])
    assert "the key of the table is masked" in run(pipeline, "lab.ticket")[0].failure
    assert execute("SELECT count(*) FROM changes WHERE \"table\" = 'ticket'") == [(0,)]


def test_the_past_knows_rows_that_were_recorded_later(book: Pipeline) -> None:
    execute("UPDATE lab.book SET word = 'newer' WHERE id = 2")
    book.advance()
    moment = Change.objects.get(table="book")
    # The past needs a view of each table, also of those of other tests.
    tracking.sync()
    before = live()
    run(book)
    execute("UPDATE lab.book SET word = 'newest' WHERE id < 5; DELETE FROM lab.book WHERE id = 7")
    with book.worker():
        with as_of(moment):
            assert live() == before
        (result,) = verify(worker_config(book.slot, role=roles.OWNER), Options(only=["lab.book"]))
    assert str(result) == f"lab.book: {_OLD - 1} rows, as in the log"


def test_a_baseline_cannot_be_reverted_and_begins_the_blame(book: Pipeline) -> None:
    run(book)
    execute("UPDATE lab.book SET word = 'newer' WHERE id = 2")
    book.advance()
    plan = Change.objects.filter(table="book", operation="BASELINE", primary_key="2").revert(dry_run=True)
    assert [step.conflict and step.conflict.text for step in plan.steps] == [
        "a BASELINE has changed nothing: the row was there before"
    ]
    found = blame_row(Place(str(connection.settings_dict["NAME"]), "lab", "book"), "2")
    assert {column: line.change and line.change.operation for column, line in found.items()} == {
        "id": "BASELINE",
        "word": "UPDATE",
        "price": "BASELINE",
    }


_EVIL = """
CREATE TABLE lab.ran (who text);
CREATE TYPE lab.mood AS ENUM ('sad', 'glad');
CREATE FUNCTION lab.of_mood(lab.mood) RETURNS json LANGUAGE sql
    AS 'INSERT INTO lab.ran VALUES (current_user); SELECT ''{}''::json';
CREATE FUNCTION lab.of_number(int) RETURNS boolean LANGUAGE sql
    AS 'INSERT INTO lab.ran VALUES (current_user); SELECT true';
CREATE CAST (lab.mood AS json) WITH FUNCTION lab.of_mood(lab.mood);
CREATE DOMAIN lab.number AS int;
CREATE TYPE lab.numbers AS (n lab.number);
CREATE TABLE lab.casts (id int, mood lab.mood, PRIMARY KEY (id, mood));
INSERT INTO lab.casts SELECT i, 'sad' FROM generate_series(1, 5) i;
CREATE TABLE lab.nested (key lab.numbers PRIMARY KEY);
INSERT INTO lab.nested SELECT ROW(i)::lab.numbers FROM generate_series(1, 5) i;
CREATE TABLE lab.checks (id lab.number, n int, PRIMARY KEY (id, n));
INSERT INTO lab.checks SELECT i, i FROM generate_series(1, 5) i;
"""


def test_the_types_of_a_key_run_no_code_with_the_rights_of_the_command(pipeline: Pipeline) -> None:
    execute(_EVIL)
    pipeline.drain()
    execute("ALTER DOMAIN lab.number ADD CHECK (lab.of_number(VALUE)) NOT VALID")
    casts, checks, nested = map(str, run(pipeline, "lab.casts", "lab.checks", "lab.nested", rows=2))
    assert casts.startswith("lab.casts: the type lab.mood of mood, a column of its key, may run code")
    assert nested.startswith("lab.nested: the type lab.numbers of key, a column of its key, may run code")
    # Its rows are read; the worker may not run the code either.
    assert checks.startswith("lab.checks: 5 rows, ")
    assert execute("SELECT * FROM lab.ran") == []


def test_a_range_that_the_worker_cannot_read_is_not_taken_for_done(
    book: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ProgressRecord, upto: Any, rows: int, low: str, description: Any, context: Any) -> None:
        open_range(self, upto, rows, low, {"root": description["root"]}, context)

    open_range = ProgressRecord.open_range
    with monkeypatch.context() as patch:
        patch.setattr(ProgressRecord, "open_range", broken)
        (result,) = run(book)
    assert "the worker could not read a range of its rows (" in result.failure
    assert entries() == []
    assert str(run(book)[0]) == f"lab.book: {_OLD} rows, {_OLD} of them recorded"


def test_the_log_is_asked_for_a_few_keys_at_once(book: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline_ranges, "_KEYS", 70)
    execute("UPDATE lab.book SET word = 'newer' WHERE id IN (1, 70, 71, 299, 300)")
    assert str(run(book)[0]) == f"lab.book: {_OLD} rows, {_OLD - 5} of them recorded"
    check_log()
    with pytest.raises(CommandError, match="from 1 to 10000"):
        call_command("bemi", "baseline", "lab.book", "--range", "10001")


@pytest.mark.administrator
def test_nobody_else_can_have_rows_recorded(book: Pipeline) -> None:
    with roles.administrator(str(connection.settings_dict["NAME"])) as cursor:
        cursor.execute("CREATE ROLE bemi_mallory; SET ROLE bemi_mallory")
        try:
            for _ in range(2):
                cursor.execute("SELECT pg_logical_emit_message(true, '_bemi_baseline', 'high')")
            for forbidden in (
                "INSERT INTO _bemi.baseline_rows VALUES ('1', 1, '1', '{}', '{}')",
                "SELECT FROM _bemi.baseline_rows",
                "UPDATE _bemi.baselines SET range_xid = pg_current_xact_id()",
                "SELECT _bemi.recorded_v1('', '0/0', '1:1:', '', '', '', '0/0', '{}')",
            ):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(forbidden)
        finally:
            cursor.execute("RESET ROLE; DROP ROLE bemi_mallory")
    book.advance()
    assert entries() == []
    assert execute("SELECT count(*) FROM _bemi.dead_letters") == [(0,)]


def test_what_the_owner_leaves_and_is_no_range_becomes_a_dead_letter(book: Pipeline) -> None:
    book.stop()
    execute(
        "BEGIN; INSERT INTO _bemi.baselines "
        "(relation, root, history, low, snapshot, range_xid, description, context) "
        "VALUES (1, '{}', '', pg_current_wal_insert_lsn(), pg_current_snapshot(), pg_current_xact_id(), "
        '\'{"root": ["lab", "book"]}\', \'{}\'); '
        "SELECT pg_logical_emit_message(true, '_bemi_baseline', ''); COMMIT"
    )
    execute("INSERT INTO lab.book VALUES (1000, 'new', 1)")
    book.advance()
    assert [entry.operation for entry in entries()] == ["CREATE"]
    assert len(execute("SELECT reason FROM _bemi.dead_letters")) == 1


class Terminal(io.StringIO):
    """An output that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_progress_bar_is_shown_on_a_terminal(
    book: Pipeline, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its first and its last state for certain; others are shown as time goes by."""
    settings.BEMI_SLOT = book.slot
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    shown, said = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(sys, "stdout", said)
    book.stop()
    with book.worker():
        call_command("bemi", "baseline", "lab.book", "--range", "100", stdout=said)
    parts = re.findall(r"lab\.book .*? (\d+)%", shown.getvalue())
    assert (parts[0], parts[-1]) == ("0", "99")
    # What a script reads has no bar.
    assert said.getvalue() == f"lab.book: {_OLD} rows, {_OLD} of them recorded\n"


def test_the_command_says_what_it_did_and_what_is_wrong(book: Pipeline) -> None:
    def command(*arguments: str) -> str:
        out = io.StringIO()
        call_command("bemi", "baseline", *arguments, stdout=out)
        return out.getvalue()

    for arguments, said in (
        (["--where", "true"], "--where is a condition on the rows of one table: name that table"),
        (["lab.nothing"], "not tracked: lab.nothing"),
    ):
        with pytest.raises(CommandError, match=said):
            command(*arguments)
    book.stop()
    with override_settings(BEMI_SLOT=book.slot), book.worker():
        assert command("lab.book", "--rate", "100000") == f"lab.book: {_OLD} rows, {_OLD} of them recorded\n"
        # The second one would have each row twice.
        for condition in ("nonsense = 1", "generate_series(1, 2) > 0", "count(*) > 0", "ctid > '(0,0)'"):
            with pytest.raises(CommandError, match="1 of 1 tables were not read to their end"):
                command("lab.book", "--where", condition)
        assert execute("SELECT count(*) FROM _bemi.baselines WHERE ended_at IS NULL") == [(0,)]
        assert "0 of them recorded" in command('"lab".book', "--where", "id = 1")
        execute("DROP TABLE lab.book")
        # Rows that precede the tracking of a table that has the name, and keys, of one that was dropped.
        execute(
            "CREATE TABLE lab.book AS SELECT 2 AS id, 'other' AS word;"
            "ALTER TABLE lab.book ADD PRIMARY KEY (id)"
        )
        assert "1 of them recorded" in command("lab.book", "--where", "word = 'other'")
    context = Change.objects.filter(after__word="other").get().context
    assert context["arguments"] == {"tables": ["lab.book"], "where": "word = ***"}


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e-300", "x"])
def test_a_rate_that_would_never_end_is_refused(rate: str) -> None:
    with pytest.raises(CommandError, match="is not a number of rows, 0.001 or more"):
        call_command("bemi", "baseline", f"--rate={rate}")
