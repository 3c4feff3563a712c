"""What the package removes or replaces is noted in a chain: nothing is wrong afterwards, and all is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from bemi_django.archive.live_log import open_log
from bemi_django.archive.location import open_location
from bemi_django.archive.month import Month
from bemi_django.archive.restoring import require_manifest, restore
from bemi_django.archive.storing import store
from bemi_django.models import Change
from bemi_django.retention.months import begin, drop, end, month_of, removing, watch
from bemi_django.retention.pruning import prune
from bemi_django.schema import installed
from bemi_django.seals.records import note_changed_rows
from bemi_django.seals.verify import verify_chains
from tests.integration.seals.conftest import whole
from tests.support.old_months import FIRST, SECOND
from tests.support.project_database import execute
from tests.support.sealed_log import write_sealed

WHO = {"command": "bemi test", "os_user": "anna", "reason": "asked for"}


@pytest.fixture
def sealed(old_log: None) -> None:
    """Ten sealed changes in each of two months."""
    write_sealed(FIRST, 10, begin=True)
    write_sealed(SECOND, 10, first=11)


def drop_month(month: str) -> None:
    run = begin("default", WHO)
    watch("default", month_of(month), run)
    with removing("default") as cursor:
        drop(cursor, month_of(month), run)
    end("default", run, [])


def salts() -> dict[UUID, bytes]:
    """Return the salt of each sealed change."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ids, salts FROM _bemi.links WHERE kind = 'changes'")
        packed = [(bytes(ids), bytes(each)) for ids, each in cursor.fetchall()]
    return {
        UUID(bytes=ids[at : at + 16]): each[at : at + 16]
        for ids, each in packed
        for at in range(0, len(ids), 16)
    }


def test_a_dropped_month_is_said_with_who_dropped_it(sealed: None) -> None:
    drop_month(FIRST)
    report = whole()
    assert report.changes == 10
    (line,) = report.operations
    assert "10 changes dropped of 2003-05 by anna with bemi test (asked for)" in line


def test_a_month_that_was_dropped_by_hand_is_missed(sealed: None) -> None:
    execute(f"DROP TABLE changes_{FIRST.replace('-', '_')}")
    report = verify_chains()
    assert [found.kind for found in report.findings] == ["removed"] * 10
    assert {found.month for found in report.findings} == {FIRST}


def test_what_a_worker_writes_to_a_month_after_it_was_dropped_holds(sealed: None) -> None:
    drop_month(FIRST)
    write_sealed(FIRST, 2, first=21)
    assert whole().changes == 12
    execute("DELETE FROM changes WHERE position = 64 * 21")
    assert [found.kind for found in verify_chains().findings] == ["removed"]
    drop_month(FIRST)
    assert whole().changes == 10


def test_an_archived_month_comes_back_whole_or_is_found_out(sealed: None, tmp_path: Path) -> None:
    place = open_location(str(tmp_path))
    month = Month(2003, 5)
    with open_log() as log:
        store(log, place, month, lambda name, part: None)
        drop_month(FIRST)
        assert whole().changes == 10
        restore(log, place, require_manifest(place, month), lambda name, part: None, who=WHO)
    report = whole()
    assert report.changes == 20
    assert any("10 changes imported of 2003-05 by anna" in line for line in report.operations)
    execute("UPDATE changes SET after = '{}' WHERE position = 64")
    assert [found.kind for found in verify_chains().findings] == ["edited"]


def test_pruned_rows_are_no_removed_ones(sealed: None, settings: Any) -> None:
    settings.BEMI_RETENTION = {"default": "forever", "public.sealed": "1 year"}
    execute("""UPDATE changes SET "table" = 'kept' WHERE position = 64""")
    assert prune("default", WHO).changes == 19
    (found,) = verify_chains().findings
    assert (found.kind, found.month) == ("edited", FIRST)
    assert any("changes removed by anna" in line for line in verify_chains().operations)


def test_erased_rows_hold_and_their_old_digests_are_of_nothing(sealed: None) -> None:
    ids = list(Change.objects.filter(position__in=[64, 128, 704]).values_list("pk", flat=True))
    old = salts()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = '{}' WHERE id = ANY (%s::uuid[])", [list(map(str, ids))])
        note_changed_rows(cursor, installed.log("default"), ids, WHO, is_erased=True)
    report = whole()
    assert report.changes == 20
    assert any("3 changes replaced by anna" in line for line in report.operations)
    gone = [one for one, salt in salts().items() if salt == bytes(16) and old[one] != salt]
    assert sorted(gone) == sorted(ids)
    with connection.cursor() as cursor:
        cursor.execute("SELECT replaced FROM _bemi.links WHERE kind = 'replaced'")
        ((replaced,),) = cursor.fetchall()
    # The old digests are in the record.
    assert len(bytes(replaced)) == 96 and bytes(32) not in bytes(replaced)
    execute("UPDATE changes SET after = jsonb_build_object('a', 1) WHERE position = 64")
    assert [found.kind for found in verify_chains().findings] == ["edited"]


def test_rows_may_be_replaced_again_and_then_removed(sealed: None) -> None:
    (change,) = Change.objects.filter(position=64).values_list("pk", flat=True)
    for value in ('{"a": 1}', '{"a": 2}'):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE changes SET after = %s::jsonb WHERE id = %s", [f'{{"a": {value}}}', change]
            )
            note_changed_rows(cursor, installed.log("default"), [change], WHO)
        whole()
    drop_month(FIRST)
    assert whole().changes == 10


def test_nothing_is_noted_where_nothing_was_ever_sealed(old_log: None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        note_changed_rows(cursor, installed.log("default"), [UUID(int=1)], WHO, is_erased=True)
    drop_month(FIRST)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM _bemi.links")
        assert cursor.fetchone() == (0,)


def test_the_command_says_what_was_found(sealed: None, capsys: pytest.CaptureFixture[str]) -> None:
    drop_month(FIRST)
    call_command("bemi", "verify", "--chain")
    said = capsys.readouterr().out
    assert "sealed changes: 10" in said and "dropped of 2003-05 by anna" in said
    with connection.cursor() as cursor:
        cursor.execute("SELECT details FROM _bemi.links WHERE kind = 'month'")
        assert json.loads(cursor.fetchone()[0])["who"] == WHO


def add_record() -> None:
    """Add a record of an erasure, as the package does."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO changes (id, database, schema, "table", operation, context, committed_at, queued_at,
                                 transaction_id, position)
            SELECT overlay(id::text PLACING '9' FROM 20 FOR 1)::uuid, database, schema, "table",
                   'ERASED', '{}',
                   committed_at, queued_at, 0, position FROM changes WHERE position = 64 RETURNING id::text
            """
        )
        added = UUID(cursor.fetchone()[0])
        note_changed_rows(cursor, installed.log("default"), [added], WHO, is_added=True)


@pytest.mark.parametrize("edit", ["context = '[]'", "diverged = true"])
def test_a_row_that_the_package_adds_itself_is_sealed_by_its_record(sealed: None, edit: str) -> None:
    add_record()
    assert whole().changes == 21
    execute(f"UPDATE changes SET {edit} WHERE operation = 'ERASED'")  # noqa: S608 - a constant
    assert [found.kind for found in verify_chains().findings] == ["edited"]


def test_a_row_that_the_package_has_added_is_missed_unless_it_was_removed_by_it(
    sealed: None,
) -> None:
    add_record()
    execute("DELETE FROM changes WHERE operation = 'ERASED'")
    assert [(found.kind, found.month) for found in verify_chains().findings] == [("removed", FIRST)]
    drop_month(FIRST)
    assert whole().changes == 10


def test_a_pruned_record_is_not_missed(sealed: None, settings: Any) -> None:
    add_record()
    settings.BEMI_RETENTION = {"default": "1 year"}
    prune("default", WHO)
    whole()
