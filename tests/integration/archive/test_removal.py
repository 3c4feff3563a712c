"""Months that are dropped from the log when the archive has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection

from bemi_django.archive import removal, storing
from bemi_django.archive.live_log import LiveLog
from tests.integration.archive.conftest import Bemi
from tests.integration.archive.test_interruptions import kill
from tests.support.old_months import FIRST, SECOND, rows, write
from tests.support.project_database import another_session, execute

PARTITIONS = "SELECT count(*) FROM pg_class WHERE relname IN ('changes_2003_05', 'changes_2003_06')"


def partitions() -> int:
    return int(execute(PARTITIONS)[0][0])


@pytest.fixture(autouse=True)
def no_run_is_remembered(months: None) -> Any:
    """Forget what was dropped: other tests expect a complete log."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.completeness; DELETE FROM _bemi.prunings")


def test_a_month_is_dropped_when_the_archive_has_it(bemi: Bemi) -> None:
    for number in (1, 2):
        write(number)
    write(3, SECOND)
    before = rows()
    printed = bemi("archive", "--before", "2003-07", "--reason", "space").splitlines()
    assert [line.partition("changes in")[0] for line in printed] == [
        f"{FIRST}: archived, 2 ", f"{SECOND}: archived, 1 ",
    ]  # fmt: skip
    assert all(line.endswith("; dropped from the log") for line in printed)
    assert (partitions(), rows()) == (0, [])
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


def test_late_changes_keep_a_month_in_the_log(bemi: Bemi, monkeypatch: pytest.MonkeyPatch) -> None:
    write(1)
    real = storing.require_equal

    def late(log: LiveLog, *arguments: Any) -> None:
        with another_session() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
            # The month is locked while it is compared.
            with pytest.raises(Exception, match="lock timeout"):
                cursor.execute("UPDATE changes SET diverged = true WHERE position = 8")
        real(log, *arguments)

    monkeypatch.setattr(removal, "require_equal", late)
    stored = storing.store

    def store(*arguments: Any) -> Any:
        found = stored(*arguments)
        write(2)
        return found

    monkeypatch.setattr(storing, "store", store)
    with pytest.raises(CommandError, match=f"have different changes of {FIRST}"):
        bemi("archive", "--before", SECOND)
    assert (partitions(), len(rows())) == (2, 2)


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
