"""Months that are dropped from the log when the archive has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection

from bemi_django.archive import archiving, storing
from bemi_django.status.log_status import read_lost_months
from tests.integration.archive.conftest import Bemi
from tests.integration.archive.test_interruptions import kill
from tests.support.activity import counted, recount
from tests.support.old_months import FIRST, SECOND, make, moment_in, rows, write
from tests.support.project_database import another_session, execute

PARTITIONS = "SELECT count(*) FROM pg_class WHERE relname IN ('changes_2003_05', 'changes_2003_06')"


def partitions() -> int:
    return int(execute(PARTITIONS)[0][0])


@pytest.fixture(autouse=True)
def no_run_is_remembered(months: None) -> Any:
    """Forget what was dropped: other tests expect a complete log."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM _bemi.completeness; DELETE FROM _bemi.prunings; DELETE FROM _bemi.touched"
        )


def test_a_month_is_dropped_when_the_archive_has_it(bemi: Bemi) -> None:
    for number in (1, 2):
        write(number)
    write(3, SECOND)
    before = rows()
    recount()
    printed = bemi("archive", "--before", "2003-07", "--reason", "space").splitlines()
    assert [line.partition("changes in")[0] for line in printed] == [
        f"{FIRST}: archived, 2 ", f"{SECOND}: archived, 1 ",
    ]  # fmt: skip
    assert all(line.endswith("; dropped from the log") for line in printed)
    assert (partitions(), rows()) == (0, [])
    assert not [key for key in counted() if key[2].year == 2003]
    who, months, stopped = execute(
        "SELECT who, months, stopped FROM _bemi.prunings WHERE ended_at IS NOT NULL"
    )[0]
    assert "bemi archive" in str(who) and "space" in str(who)
    assert (months, stopped) == ([FIRST, SECOND], [])
    assert "nothing to do" in bemi("archive", "--before", "2003-07")
    for month in (FIRST, SECOND):
        bemi("import", month)
    assert rows() == before
    assert bemi("archive", "--before", "2003-07").count("is in the archive") == 2
    assert rows() == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_late_changes_wait_for_nobody_and_keep_a_month_in_the_log(
    bemi: Bemi, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    write(1)
    if moment == "after":
        # The month was watched by an earlier run, and written since.
        (run,) = execute("SELECT _bemi.begin_pruning_v1('{}')")[0]
        execute("SELECT _bemi.watch_month_v1(%s, %s)", [moment_in(FIRST), run])
        write(2)
    stored = storing.store

    def store(*arguments: Any) -> Any:
        if moment == "after":
            found = stored(*arguments)
        with another_session() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
            cursor.execute("UPDATE changes SET diverged = true WHERE position = 8")
            cursor.connection.commit()
        return found if moment == "after" else stored(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(archiving, "store", store)
        with pytest.raises(CommandError, match=f"{FIRST} stays in the log: changes of it were written while"):
            bemi("archive", "--before", SECOND)
    assert partitions() == 2 and len(rows()) == (2 if moment == "after" else 1)
    assert execute("SELECT count(*) FROM _bemi.completeness") == [(0,)]
    if moment == "after":
        with pytest.raises(CommandError, match=f"have different changes of {FIRST}"):
            bemi("archive", "--before", SECOND)
    else:
        assert "dropped from the log" in bemi("archive", "--before", SECOND)


def test_a_month_that_is_brought_back_is_complete_again(bemi: Bemi) -> None:
    for number in (1, 2):
        write(number, table=f"table{number}")
    write(3, SECOND, table="table1")
    execute("INSERT INTO _bemi.walked VALUES ('1 day', 'x', '2020-01-01'), ('2 days', 'x', '2001-01-01')")
    complete = """SELECT "table", month::text, is_whole, changes::int FROM _bemi.completeness ORDER BY 1, 2"""
    try:
        bemi("archive", "--before", "2003-07")
        assert execute(complete) == [
            ("table1", "2003-05-01", True, 1), ("table1", "2003-06-01", True, 1),
            ("table2", "2003-05-01", True, 1),
        ]  # fmt: skip
        bemi("import", FIRST)
        assert execute(complete) == [("table1", "2003-06-01", True, 1)]
        # Retention looks at it again.
        assert execute("SELECT until::text FROM _bemi.walked WHERE period = '1 day'")[0][0][:7] == FIRST
        bemi("import", SECOND)
        assert execute(complete) == []
        assert execute("SELECT until::text FROM _bemi.walked WHERE period = '2 days'")[0][0][:4] == "2001"
        # One that was dropped by hand comes back, too.
        recount()
        execute(f"DROP TABLE changes_{FIRST.replace('-', '_')}")
        assert read_lost_months("default") == [FIRST]
        bemi("import", FIRST)
        assert read_lost_months("default") == [] == execute(complete)
    finally:
        execute("DELETE FROM _bemi.walked")


def test_what_was_removed_before_a_month_was_archived_stays_missing(bemi: Bemi) -> None:
    for number in (1, 2, 3):
        write(number)
    bemi("archive", "--before", SECOND, "--keep")
    last = write(4)
    # As if retention had removed it.
    (run,) = execute("SELECT _bemi.begin_pruning_v1('{}')")[0]
    execute(
        "SELECT _bemi.note_removed_v1(%s, 'shop', 'public', 'todo', false, 1, 1, id, committed_at, 4) "
        "FROM changes WHERE id = %s", [run, last],
    )  # fmt: skip
    execute("DELETE FROM changes WHERE id = %s", [last])
    bemi("archive", "--before", SECOND)
    bemi("import", FIRST)
    left = "SELECT is_whole FROM _bemi.completeness"
    assert execute(left) == [(False,)]
    # It is not known either where the log has got another change since.
    bemi("archive", "--before", SECOND)
    make(FIRST)
    write(5)
    bemi("import", FIRST)
    assert sorted(execute(left)) == [(False,), (True,)]


def test_a_month_is_complete_again_when_what_was_removed_from_it_is_brought_back_too(
    bemi: Bemi, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        write(number)
    bemi("archive", "--before", SECOND, "--keep")
    (run,) = execute("SELECT _bemi.begin_pruning_v1('{}')")[0]
    execute(
        "SELECT _bemi.note_removed_v1(%s, 'shop', 'public', 'todo', false, 1, 1, id, committed_at, 2) "
        "FROM changes WHERE position = 16", [run],
    )  # fmt: skip
    execute("DELETE FROM changes WHERE position = 16")
    (tmp_path / "archive").rename(tmp_path / "first")
    bemi("archive", "--before", SECOND)
    bemi("import", FIRST, "--from", str(tmp_path / "first"))
    assert execute("SELECT is_whole FROM _bemi.completeness") == []


def test_a_killed_process_drops_nothing_that_is_not_archived(bemi: Bemi, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(number)
    before = rows()
    kill(tmp_path / "archive", "manifest.json", "over")
    assert rows() == before
    assert "is in the archive, 3 changes" in bemi("archive", "--before", SECOND)
    assert rows() == []
    bemi("import", FIRST)
    assert rows() == before


def test_a_damaged_file_keeps_the_month_in_the_log(bemi: Bemi, tmp_path: Path) -> None:
    write(1)
    bemi("archive", "--before", SECOND, "--keep")
    path = tmp_path / "archive" / FIRST / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CommandError, match="is damaged"):
        bemi("archive", "--before", SECOND)
    assert len(rows()) == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize(
    ("hold", "reason"),
    [(True, "holds all changes"), (["todos.Todo"], "holds public.todo"), (["todos.Tag"], "")],
)
def test_a_legal_hold_keeps_a_month(bemi: Bemi, settings: Any, hold: Any, reason: str) -> None:
    settings.BEMI_LEGAL_HOLD = hold
    write(1)
    if not reason:
        assert "dropped" in bemi("archive", "--before", SECOND)
        return
    with pytest.raises(CommandError, match=f"{FIRST} stays in the log: BEMI_LEGAL_HOLD {reason}"):
        bemi("archive", "--before", SECOND)
    assert len(rows()) == 1
    # It is not archived either, because it may get other changes until it may be dropped.
    with pytest.raises(CommandError, match="it has no month"):
        bemi("import", FIRST)


def test_a_month_with_dead_letters_is_kept_until_they_are_read_again(bemi: Bemi) -> None:
    change = write(1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO _bemi.dead_letters (slot, position, change_id, message, origin, reason) "
            "VALUES ('archive', 1, %s, '', '{}', 'x')",
            [str(change)],
        )
    with pytest.raises(CommandError, match="stays in the log: .* run 'manage.py bemi retry-dead-letters'"):
        bemi("archive", "--before", SECOND)
    assert len(rows()) == 1
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.dead_letters WHERE slot = 'archive'")
    assert "dropped" in bemi("archive", "--before", SECOND)


def test_a_handler_that_has_not_got_a_change_keeps_its_month(bemi: Bemi) -> None:
    change = write(1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO _bemi.undelivered (handler, change_id, attempts, reason) "
            "VALUES ('mail', %s, 1, 'x')",
            [str(change)],
        )
    with pytest.raises(CommandError, match="stays in the log: mail has failed"):
        bemi("archive", "--before", SECOND)
    assert len(rows()) == 1


def test_an_open_transaction_that_has_read_the_log_is_not_waited_for(
    bemi: Bemi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.retention.months._PAUSES", (0.01,))
    write(1)
    with another_session() as cursor:
        cursor.execute("SELECT count(*) FROM changes")
        with pytest.raises(CommandError, match="another session uses it; run the command again"):
            bemi("archive", "--before", SECOND)
    assert len(rows()) == 1
    assert "dropped from the log" in bemi("archive", "--before", SECOND)


@pytest.mark.administrator
def test_who_does_not_own_the_log_is_told_to_keep_the_months(bemi: Bemi) -> None:
    write(1)
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE archive_stranger; GRANT USAGE ON SCHEMA _bemi TO archive_stranger")
        try:
            cursor.execute("SET ROLE archive_stranger")
            with pytest.raises(CommandError, match="as that role, or with --keep"):
                bemi("archive", "--before", SECOND)
        finally:
            cursor.execute("RESET ROLE; DROP OWNED BY archive_stranger; DROP ROLE archive_stranger")
    assert len(rows()) == 1
