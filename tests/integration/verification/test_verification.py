"""``bemi verify``: says nothing where the log is true, and finds every change that is taken from it."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django import skip_tracking
from bemi_django.exceptions import BemiError, HistoryError, LogBehind
from bemi_django.log.blame import blame
from bemi_django.masking.settings import rules_of
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from bemi_django.verification import suspects
from bemi_django.verification.records.result import Verified
from bemi_django.verification.verify import Options, verify
from bemi_django.wire.ids import change_id, sequence_in
from sample_project.todos.models import Todo
from tests.support import roles
from tests.support.extensions import extensions
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.travel import settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def tool(drain: Drain) -> Iterator[Drain]:
    """A table with rows that are older than its log, and rows that are not."""
    with roles.administrator(str(connection.settings_dict["NAME"])) as cursor:
        cursor.execute("DROP EVENT TRIGGER _bemi_follow_ddl")
    execute(
        "CREATE TABLE tool (id int PRIMARY KEY, word text)", "INSERT INTO tool VALUES (1, 'old'), (2, 'old')"
    )
    call_command("bemi", "sync", stdout=io.StringIO())
    execute(
        "INSERT INTO tool VALUES (3, 'new'), (4, 'new'), (5, 'new')",
        "UPDATE tool SET word = 'newer' WHERE id = 4",
    )
    execute("DELETE FROM tool WHERE id = 5")
    drain()
    yield drain
    execute("DROP TABLE tool")
    roles.grant("default")


def verified(drain: Drain, *tables: str) -> dict[str, Verified]:
    """What verify says while the worker is at work."""
    with Pipeline.of_project("bemi_test").worker():
        return {
            result.table: result
            for result in verify(worker_config("bemi_test", role=roles.OWNER), Options(only=tables))
        }


def test_of_a_true_log_it_says_that_it_is(tool: Drain) -> None:
    results = verified(tool)
    assert str(results["public.tool"]) == "public.tool: 4 rows, 2 of them older than the log, as in the log"
    assert {result.differences for result in results.values()} == {0}
    assert "public.todo" in results and "public.changes" not in results


def test_what_the_database_has_lost_in_a_failover_counts_nowhere(drain: Drain) -> None:
    """A log elsewhere was ahead of the server that was promoted: its changes between and after the others."""
    todo = Todo.objects.create(task="a")
    for task in ("b", "c"):
        Todo.objects.update(task=task)
    _, second, third = drain()
    for change, before in ((second, "x"), (third, "y")):
        sequence, source = sequence_in(change.pk.bytes) + 8, int(change.pk.hex[-8:], 16) & 0x3FFFFFFF
        lost = Change.objects.get(pk=change.pk)
        lost.pk, lost.diverged = UUID(bytes=change_id(sequence, 0, source)), True
        lost.before, lost.after = {**lost.before, "task": before}, {**lost.after, "task": "lost"}
        Change.objects.bulk_create([lost])
    assert str(verified(drain, "public.todo")["public.todo"]) == "public.todo: 1 rows, as in the log"
    assert blame(todo)["task"].change == third
    with settled:
        for change, task in ((second, "b"), (third, "c")):
            with as_of(change):
                assert Todo.objects.get().task == task
        with pytest.raises(HistoryError, match="lost the change .* in a failover"), as_of(lost):
            pass
    assert [step.action for step in lost.revert(dry_run=True).steps] == ["nothing"]
    assert third.revert().is_applied and Todo.objects.get().task == "b"


def test_of_what_was_skipped_it_says_how_much(tool: Drain) -> None:
    with skip_tracking(reason="rebuild"):
        execute("UPDATE tool SET word = 'newest' WHERE id IN (3, 4)", "INSERT INTO tool VALUES (6, 'x')")
    result = verified(tool, "public.tool")["public.tool"]
    assert str(result) == (
        "public.tool: 5 rows, 2 of them older than the log, 3 changes skipped, "
        "1 not in the log (6), 2 different (3: word, 4: word)"
    )


@pytest.mark.parametrize(
    ("tampering", "expected"),
    [
        ("DELETE FROM changes WHERE primary_key = '3'", "1 not in the log (3)"),
        ("DELETE FROM changes WHERE operation = 'DELETE'", "1 only in the log (5)"),
        ("DELETE FROM changes WHERE operation = 'UPDATE'", "1 different (4: word)"),
        (
            'UPDATE changes SET after = \'{"id": 3, "word": "x"}\' WHERE primary_key = \'3\'',
            "1 different (3: word)",
        ),
        (
            "UPDATE changes SET primary_key = '9' WHERE primary_key = '3'",
            "1 not in the log (3), 1 only in the log (9)",
        ),
    ],
)
def test_what_is_taken_from_the_log_is_found(tool: Drain, tampering: str, expected: str) -> None:
    execute(tampering + " AND \"table\" = 'tool'")
    assert expected in str(verified(tool, "public.tool")["public.tool"])


def test_what_the_log_never_saw_is_found(tool: Drain) -> None:
    for statement in (
        "INSERT INTO tool VALUES (7, 'x')",
        "UPDATE tool SET word = 'x' WHERE id = 3",
        "DELETE FROM tool WHERE id = 4",
    ):
        # Not published for a moment, so not in the stream.
        execute("ALTER PUBLICATION bemi DROP TABLE tool", statement, "ALTER PUBLICATION bemi ADD TABLE tool")
    assert str(verified(tool, "public.tool")["public.tool"]) == (
        "public.tool: 4 rows, 2 of them older than the log, "
        "1 not in the log (7), 1 only in the log (4), 1 different (3: word)"
    )


def test_the_command_reports_and_ends_with_an_error(tool: Drain, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"

    def run() -> str:
        out = io.StringIO()
        with Pipeline.of_project("bemi_test").worker():
            call_command("bemi", "verify", "public.tool", "public.todo", stdout=out)
        return out.getvalue()

    assert [line.split(":")[0] for line in run().splitlines()] == ["public.todo", "public.tool"]
    execute("DELETE FROM changes WHERE primary_key = '3'")
    with pytest.raises(CommandError, match="the log and 1 of 2 tables differ"):
        run()


def test_a_table_that_is_not_tracked_is_said(tool: Drain) -> None:
    with pytest.raises(BemiError, match=r"not tracked: public\.nothing"):
        verified(tool, "public.nothing")


def test_a_log_that_stands_still_is_said(tool: Drain) -> None:
    with pytest.raises(BemiError, match="is 'manage.py bemi run' at work"):
        list(verify(worker_config("bemi_test", role=roles.OWNER), Options(patience=0.2)))


def test_without_a_worker_it_waits_for_seconds(tool: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bemi_django.verification.moment.ABSENCE_SECONDS", 0.1)
    Pipeline.of_project("bemi_test").release()
    with pytest.raises(LogBehind, match="^no worker reads the slot bemi_test: start 'manage.py bemi run'$"):
        list(verify(worker_config("bemi_test", role=roles.OWNER), Options()))


def test_without_a_slot_it_does_not_wait(tool: Drain) -> None:
    pipeline = Pipeline.of_project("bemi_test")
    pipeline.release()
    pipeline.source.administer("SELECT pg_drop_replication_slot('bemi_test')")
    with pytest.raises(
        LogBehind, match="^the replication slot bemi_test is gone: run 'manage.py bemi run --acc"
    ):
        list(verify(worker_config("bemi_test", role=roles.OWNER), Options()))


def test_without_a_log_it_says_what_to_do(tool: Drain) -> None:
    with pytest.raises(BemiError, match="there is no log of the slot nothing yet: run 'manage.py bemi run'"):
        list(verify(worker_config("nothing", role=roles.OWNER), Options()))


CASES = {
    "keys exchanged in one statement": (
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, word text)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "UPDATE t SET id = 4 - id",
        "UPDATE t SET id = id + 1",
    ),
    "a key that wanders": (
        "CREATE TABLE t (id int PRIMARY KEY, word text)",
        "INSERT INTO t VALUES (1, 'a')",
        "BEGIN; UPDATE t SET id = 2; UPDATE t SET id = 3; INSERT INTO t VALUES (1, 'b'); COMMIT",
    ),
    "a composite key": (
        "CREATE TABLE t (a text, b date, c bool, n int, PRIMARY KEY (c, b, a))",
        "INSERT INTO t VALUES ('x\"y', '2026-01-02', true, 1), ('z', '0044-03-15 BC', false, 2)",
        "UPDATE t SET n = 3, c = NOT c",
    ),
    "a null of JSON in a key": (
        "CREATE TABLE t (k jsonb, n int, word text, PRIMARY KEY (k, n))",
        "INSERT INTO t VALUES ('null', 1, 'a'), ('\"null\"', 1, 'b')",
        "UPDATE t SET n = 2",
    ),
    "a boolean key": (
        "CREATE TABLE t (id bool PRIMARY KEY, word text)",
        "INSERT INTO t VALUES (true, 'a'), (false, 'b')",
    ),
    "a truncated table": (
        "CREATE TABLE t (id int PRIMARY KEY, word text)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        "TRUNCATE t",
        "INSERT INTO t VALUES (2, 'c')",
    ),
    "partitions": (
        "CREATE TABLE t (id int, word text, PRIMARY KEY (id, word)) PARTITION BY LIST (word)",
        "CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a')",
        "CREATE TABLE t_b PARTITION OF t FOR VALUES IN ('b')",
        "INSERT INTO t SELECT i, 'a' FROM generate_series(1, 5) i",
        "UPDATE t SET word = 'b' WHERE id > 2",
        "INSERT INTO t VALUES (9, 'a'), (9, 'b')",
        "TRUNCATE t_a",
        "INSERT INTO t VALUES (9, 'a')",
    ),
    "no key": (
        "CREATE TABLE t (word text, n int)",
        "INSERT INTO t SELECT 'a', 1 FROM generate_series(1, 5)",
        "INSERT INTO t VALUES ('b', 2), ('b', 2), ('c', 3)",
        "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE word = 'b')",
        "UPDATE t SET n = 4 WHERE word = 'c'",
    ),
    "an altered table": (
        "CREATE TABLE t (id int PRIMARY KEY, word text, gone int, price int)",
        "INSERT INTO t VALUES (1, 'a', 1, 10), (2, 'b', 2, 20)",
        "ALTER TABLE t DROP gone, ADD fresh int NOT NULL DEFAULT 7, ALTER price TYPE text",
        "INSERT INTO t VALUES (3, 'c', '30', 8)",
    ),
    "generated and odd values": (
        "CREATE TABLE t (id timestamptz PRIMARY KEY, f float8, b bytea,"
        " total float8 GENERATED ALWAYS AS (f * 2) STORED)",
        "INSERT INTO t VALUES ('2026-01-02 03:04:05.6+05', 'NaN', '\\x00ff')",
        "INSERT INTO t VALUES ('infinity', 0.1, NULL)",
    ),
    "a column with the name of an alias": (
        "CREATE TABLE t (id int PRIMARY KEY, t jsonb, _bemi_row text)",
        """INSERT INTO t VALUES (1, '{"id": 999}', 'x'), (2, '1', 'y')""",
        "UPDATE t SET t = '[]' WHERE id = 1",
    ),
    "a table and a column of one name, without a key": (
        "CREATE TABLE t (t text)",
        "INSERT INTO t VALUES ('x'), ('x'), ('y')",
    ),
    "numbers that differ beyond what a float holds": (
        "CREATE TABLE t (id int PRIMARY KEY, n numeric)",
        "INSERT INTO t VALUES (1, 0.1000000000000000000001)",
        "ALTER TABLE t ADD fresh int DEFAULT 7",
        "UPDATE t SET n = 0.1000000000000000000002",
    ),
    "inheritance": (
        "CREATE TABLE t (id int PRIMARY KEY, word text)",
        "CREATE TABLE t_child (more int) INHERITS (t)",
        "INSERT INTO t VALUES (1, 'a')",
        "INSERT INTO t_child VALUES (1, 'b', 2)",
        "UPDATE t SET word = 'c'",
    ),
}


@pytest.mark.parametrize("statements", CASES.values(), ids=CASES)
def test_no_false_alarm(drain: Drain, statements: tuple[str, ...]) -> None:
    try:
        execute(*statements)
        result = verified(drain, "public.t")["public.t"]
        assert str(result).endswith("as in the log") and result.older == 0
        last = """SELECT id FROM changes WHERE "table" = 't' ORDER BY id DESC LIMIT 1"""
        execute(f"DELETE FROM changes WHERE id = ({last})")  # noqa: S608 - a constant
        assert verified(drain, "public.t")["public.t"].differences
    finally:
        execute("DROP TABLE t CASCADE")


def test_writes_that_go_on_meanwhile_are_no_difference(tool: Drain) -> None:
    stop = threading.Event()

    def write() -> None:
        try:
            for number in range(100, 3000):
                if stop.is_set():
                    break
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO tool VALUES (%s, 'x')", [number])
                    cursor.execute("UPDATE tool SET word = %s WHERE id < 4", [number])
                    cursor.execute("DELETE FROM tool WHERE id = %s", [number - 3])
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            assert verified(tool, "public.tool")["public.tool"].differences == 0
    finally:
        stop.set()
        writer.join()


def test_a_large_table_is_streamed(drain: Drain) -> None:
    execute("CREATE TABLE large (id int PRIMARY KEY, word text)")
    try:
        execute("INSERT INTO large SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
        result = verified(drain, "public.large")["public.large"]
        assert (result.rows, result.differences) == (20000, 0)
    finally:
        execute("DROP TABLE large")


def test_what_is_wrong_with_one_table_does_not_keep_the_others(tool: Drain) -> None:
    execute(
        "CREATE TYPE closed AS ENUM ('x')",
        """CREATE FUNCTION render(closed) RETURNS json LANGUAGE plpgsql AS $$
           BEGIN RAISE insufficient_privilege USING MESSAGE = 'SECRET'; END $$""",
        "CREATE CAST (closed AS json) WITH FUNCTION render(closed)",
        "CREATE TABLE broken (id int PRIMARY KEY, body closed)",
    )
    try:
        tracking.sync()
        execute("INSERT INTO broken VALUES (1, 'x')")
        tool()
        results = verified(tool)
        assert str(results["public.broken"]) == (
            "public.broken: cannot be compared: InsufficientPrivilege (42501)"
        )
        assert not results["public.broken"].is_true
        assert results["public.tool"].is_true and results["public.tool"].rows == 4
    finally:
        execute("DROP TABLE broken", "DROP TYPE closed CASCADE")


UNPRINTABLE = {
    "with a key": ("id int PRIMARY KEY, word text, body json", "4 rows, 2 with values that JSON cannot hold"),
    "without a key": (
        "id int, word text, body json",
        "4 rows, without columns that JSON cannot hold (body)",
    ),
}


@pytest.mark.parametrize(("columns", "report"), UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_of_a_row_with_a_value_that_json_cannot_hold_the_rest_is_compared(
    drain: Drain, columns: str, report: str
) -> None:
    execute(f"CREATE TABLE odd ({columns})")
    try:
        execute(
            """INSERT INTO odd VALUES (1, 'a', '"\\u0000"'), (2, 'b', '1')""",
            "INSERT INTO odd VALUES (3, 'c', '[1e999999]'), (4, 'd', '2')",
        )
        drain()
        assert str(verified(drain, "public.odd")["public.odd"]) == f"public.odd: {report}, as in the log"
        execute("""UPDATE changes SET after = after || '{"word": "x"}' WHERE after->>'id' = '1'""")
        assert verified(drain, "public.odd")["public.odd"].differences
    finally:
        execute("DROP TABLE odd")


def test_a_column_that_came_since_is_compared_in_bulk(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    compare = suspects._differing

    def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return compare(*arguments)

    monkeypatch.setattr(suspects, "_differing", counted)
    with extensions("hstore"):
        # JSON cannot be read as labels.
        execute("CREATE TABLE large (id int PRIMARY KEY, word text, price int, labels hstore)")
        try:
            execute(
                "INSERT INTO large SELECT i, 'x', i, 'a=>b' FROM generate_series(1, 5000) i",
                "ALTER TABLE large ADD fresh int NOT NULL DEFAULT 7, ADD other text, ALTER price TYPE text",
            )
            drain()
            execute("UPDATE changes SET after = after || '{\"word\": \"y\"}' WHERE primary_key = '4000'")
            result = verified(drain, "public.large")["public.large"]
            assert str(result) == "public.large: 5000 rows, 1 different (4000: word)"
            assert len(asked) < 20
        finally:
            execute("DROP TABLE large")


def test_a_value_that_is_not_of_the_present_type_is_explained_by_the_alteration(drain: Drain) -> None:
    execute("CREATE TABLE large (id int PRIMARY KEY, word text)")
    try:
        execute("INSERT INTO large SELECT i, i FROM generate_series(1, 20) i")
        execute("ALTER TABLE large ALTER word TYPE int USING word::int")
        drain()
        execute("UPDATE changes SET after = after || '{\"word\": \"y\"}' WHERE primary_key = '7'")
        found = verified(drain, "public.large")["public.large"]
        assert str(found) == "public.large: 20 rows, 1 with values that ALTER changed, as in the log"
    finally:
        execute("DROP TABLE large")


def salted(value: object) -> str:
    """Return something else each time, as encryption does."""
    return secrets.token_hex()


def test_masked_columns_are_compared_by_their_hashes(drain: Drain) -> None:
    masks = {"vault.mail": "hash", "vault.n": "partial", "vault.note": salted, "vault.ending": "keep"}
    rules = rules_of(masks, "a key of 16 bytes")
    config = worker_config("bemi_test", role=roles.OWNER)._replace(masking=rules)
    execute("CREATE TABLE vault (id int PRIMARY KEY, mail text, n int, password text, note text)")
    # What is generated from masked columns is hashed, unless a rule names it.
    execute(
        "ALTER TABLE vault ADD seal text GENERATED ALWAYS AS (md5(password)) STORED,"
        "ADD ending text GENERATED ALWAYS AS (right(mail, 1)) STORED,"
        "ADD password_hash text GENERATED ALWAYS AS (upper(password)) STORED,"
        "ADD twice int GENERATED ALWAYS AS (id * 2) STORED"
    )
    try:
        call_command("bemi", "sync", stdout=io.StringIO())
        execute("INSERT INTO vault SELECT i, 'mail' || i, i, 'x', 'note' FROM generate_series(1, 3) i")
        pipeline = Pipeline.of_project("bemi_test")
        pipeline.run(pipeline.config._replace(masking=rules))
        kept = Change.objects.get(table="vault", primary_key="3")
        assert kept.after["seal"].startswith("hmac:")
        assert (kept.after["ending"], kept.after["twice"]) == ("3", 6)
        hidden = (kept.unavailable or {})["masked"]
        assert sorted(hidden) == ["mail", "n", "note", "password", "password_hash", "seal"]

        def compared() -> str:
            with pipeline.worker(config=pipeline.config._replace(masking=rules)):
                (result,) = verify(config, Options(only=("public.vault",)))
            return str(result)

        assert compared() == "public.vault: 3 rows, as in the log"
        execute("ALTER PUBLICATION bemi DROP TABLE vault")
        execute("UPDATE vault SET password = 'y'", "UPDATE vault SET mail = 'other' WHERE id = 2")
        execute("ALTER PUBLICATION bemi ADD TABLE vault")
        assert compared() == "public.vault: 3 rows, 3 different (1: seal, 2: ending, mail, seal, 3: seal)"
    finally:
        execute("DROP TABLE vault")
