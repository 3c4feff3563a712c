"""``bemi convert``: a log without months, or in another table, becomes the log."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django.retention import conversion
from bemi_django.retention.conversion import Converter
from tests.support.activity import counted, to_count
from tests.support.old_months import FIRST, SECOND, drop, rows, write
from tests.support.project_database import another_session, execute

OLD = "attic.old%s log"


@pytest.fixture
def old(transactional_db: None) -> Iterator[str]:
    """The name of a table without months, which has 7 changes of two months; the log has none of them."""
    for month in (FIRST, SECOND):
        execute("SELECT _bemi.partition_v1(%s)", [f"{month}-01T00:00:00Z"])
    for number in range(1, 6):
        write(number)
    for number in (6, 7):
        write(number, SECOND)
    run("CREATE SCHEMA attic")
    run("CREATE TABLE {old} (LIKE changes INCLUDING ALL)")
    run("INSERT INTO {old} SELECT * FROM changes WHERE committed_at < '2004-01-01'")
    for month in (FIRST, SECOND):
        drop(month)
    yield OLD
    run("DROP TABLE IF EXISTS {old}")
    run("DROP SCHEMA attic")
    run("DELETE FROM _bemi.walked")
    for month in (FIRST, SECOND):
        drop(month)


def run(statement: str) -> list[str]:
    """Run a statement, in which {old} is the table, and return the first column of its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("{old}", f'attic."{OLD[6:]}"'))
        return [row[0] for row in cursor.fetchall()] if cursor.description else []


def bemi(*arguments: str) -> str:
    output = io.StringIO()
    call_command("bemi", "convert", *arguments, stdout=output)
    return output.getvalue()


def present() -> bool:
    return bool(execute("SELECT count(*) FROM pg_class WHERE relname = %s", [OLD[6:]])[0][0])


def test_a_table_without_months_becomes_months_of_the_log(old: str) -> None:
    before = run("SELECT o::text FROM {old} o ORDER BY id")
    execute("INSERT INTO _bemi.walked VALUES ('1 day', 'x', now())")
    assert bemi(old, "--batch", "2") == f"{old}: the log has its 7 changes\n"
    assert rows() == before and present()
    assert {key: n for key, n in counted().items() if key[2].year == 2003} == {
        key: n for key, n in to_count().items() if key[2].year == 2003
    }
    partitions = execute(
        "SELECT count(*) FROM pg_class WHERE relname IN ('changes_2003_05', 'changes_2003_06')"
    )
    assert partitions == [(2,)]
    assert execute("SELECT until = to_timestamp(0) FROM _bemi.walked") == [(True,)]
    assert bemi(old, "--drop") == f"{old}: the log has its 7 changes; the table was dropped\n"
    assert rows() == before and not present()


def test_an_interrupted_run_is_continued(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "pause", pause)
        with pytest.raises(CommandError, match="interrupted: the same command continues"):
            bemi(old, "--batch", "2", "--rate", "1")
    assert len(rows()) == 4 and all(seconds > 1 for seconds in pauses)
    assert Converter("default", old).standing.changes == 4
    assert "its 7 changes" in bemi(old, "--batch", "2")
    assert len(rows()) == 7


def test_the_worker_writes_to_the_log_and_readers_read_it_meanwhile(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def pause(seconds: float) -> None:
        with another_session(options="-c lock_timeout=200") as cursor:
            cursor.execute("INSERT INTO changes SELECT * FROM changes WHERE false")
            cursor.execute("SELECT count(*) FROM changes WHERE committed_at < '2004-01-01'")
            seen.append(cursor.fetchone()[0])

    monkeypatch.setattr(conversion, "pause", pause)
    bemi(old, "--batch", "3")
    assert seen == [3, 6, 7]


def test_nothing_is_dropped_that_the_log_does_not_have(old: str) -> None:
    bemi(old)
    run("UPDATE {old} SET diverged = true WHERE position = 16")
    with pytest.raises(CommandError, match=r"does not have the change \S+ as .* has it: nothing was dropped"):
        bemi(old, "--drop")
    assert present()
    with pytest.raises(CommandError, match="if the log has another change with this id, compare the two"):
        bemi(old, "--anew", "--drop")
    assert present() and len(rows()) == 7
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM changes WHERE position = 16")
    assert "was dropped" in bemi(old, "--anew", "--drop")


def test_what_was_written_to_the_table_since_is_found(old: str) -> None:
    bemi(old)
    run("UPDATE {old} SET id = lpad('1', 32, '0')::uuid WHERE position = 8")
    with pytest.raises(CommandError, match="run the command with --anew"):
        bemi(old, "--drop")
    assert "was dropped" in bemi(old, "--anew", "--drop") and len(rows()) == 8


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DROP COLUMN position", "position is missing"),
        ("ADD COLUMN extra int", "the log has no column extra"),
        ("ALTER COLUMN position TYPE text", "position is text, not bigint"),
        ("DROP CONSTRAINT {}", "has no index that begins with id.*CREATE INDEX CONCURRENTLY ON"),
    ],
)
def test_a_table_that_cannot_be_read_as_the_log_is_refused(old: str, statement: str, message: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(conname) FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
            "WHERE t.relname = %s AND contype = 'p'", [OLD[6:]],
        )  # fmt: skip
        (key,) = cursor.fetchone()
        run("""ALTER TABLE {old} """ + statement.format(key))
    with pytest.raises(CommandError, match=message):
        bemi(old)
    assert rows() == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("public.changes", "is the log, or a month of it"),
        ("public.nothing", "there is no table 'public.nothing'"),
        ("changes", "there is no table 'changes': give its name as schema.table"),
    ],
)
def test_another_table_is_asked_for(transactional_db: None, name: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        bemi(name)


def test_changes_without_an_id_are_not_dropped(old: str) -> None:
    run('ALTER TABLE {old} DROP CONSTRAINT "old%s log_pkey"')
    run("CREATE INDEX ON {old} (id)")
    run("ALTER TABLE {old} ALTER id DROP NOT NULL")
    run("UPDATE {old} SET id = NULL WHERE position = 8")
    with pytest.raises(CommandError, match="has changes without an id or a time: delete them first"):
        bemi(old, "--drop")
    assert present() and len(rows()) == 6


@pytest.mark.administrator
def test_only_the_owner_may_convert(old: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE convert_stranger; GRANT USAGE ON SCHEMA _bemi TO convert_stranger")
        try:
            cursor.execute("SET ROLE convert_stranger")
            with pytest.raises(
                CommandError, match="only the owner of .* may convert it: run this as that role"
            ):
                bemi(old)
        finally:
            cursor.execute("RESET ROLE; DROP OWNED BY convert_stranger; DROP ROLE convert_stranger")
