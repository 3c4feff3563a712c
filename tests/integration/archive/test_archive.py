"""Months that are archived and brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django import conf
from bemi_django.archive import storing
from bemi_django.archive.columns import log_columns
from bemi_django.archive.live_log import LiveLog, open_log
from bemi_django.archive.location import Location, open_location
from bemi_django.archive.month import parse_month
from bemi_django.archive.part import read_part, write_part
from bemi_django.archive.restoring import require_manifest, restore
from bemi_django.exceptions import ArchiveError
from bemi_django.retention import passing
from tests.integration.archive.conftest import Bemi
from tests.support.activity import counted, to_count
from tests.support.old_months import FIRST, SECOND, moment_in, remove, rows, write
from tests.support.strangers import stranger_session

MONTH = parse_month(FIRST)
HOSTILE = [
    '{"n": 12345678901234567890.123456789012345678901234567890, "i": 9007199254740993}',
    '{"zeros": 1.5000, "small": 1e-300, "large": 1e300, "minus": -0.0}',
    '{"": null, "\\u0001\\t\\n\\r\\\\\\"": "\\ud83d\\ude00\\u202e\\u2028\\ufeff\\uffff", "x": "infinity"}',
    '{"deep": [[[[[{"a": [null, true, false, {}, []]}]]]]]}',
    "null",
    '"text"',
    "[]",
]


def silently(month: str, part: float) -> None:
    """Show no progress."""


def store(log: LiveLog, location: Location) -> storing.Stored:
    return storing.store(log, location, MONTH, silently)


@pytest.fixture
def place(tmp_path: Path) -> Location:
    return open_location(str(tmp_path / "archive"))


def test_months_are_archived_and_brought_back_exactly(bemi: Bemi, tmp_path: Path) -> None:
    for number, json_text in enumerate(HOSTILE, 1):
        write(number, before=json_text, after=json_text, context=json_text, unavailable=json_text)
    write(
        100, unavailable=None, primary_key="", partition="\t\\N", transaction_id=2**63 - 1, position=-(2**63)
    )
    write(200, SECOND, queued_at="infinity", created_at="-infinity", diverged=True)
    before = rows()
    assert bemi("archive", "--before", "2003-07", "--keep").splitlines() == [
        f"{FIRST}: archived, 8 changes in {size(tmp_path, FIRST)}",
        f"{SECOND}: archived, 1 changes in {size(tmp_path, SECOND)}",
    ]
    assert rows() == before
    for month in (FIRST, SECOND):
        remove(month)
        assert f"{month}: imported" in bemi("import", month)
    assert rows() == before
    found = {key: n for key, n in counted().items() if key[2].year == 2003}
    assert found and found == {key: n for key, n in to_count().items() if key[2].year == 2003}
    assert "nothing to do" in bemi("import", FIRST)
    assert rows() == before


def size(tmp_path: Path, month: str) -> str:
    from bemi_django.status.units import as_bytes

    return as_bytes(sum(file.stat().st_size for file in (tmp_path / "archive" / month).glob("*.parquet")))


def test_every_column_of_the_log_is_archived() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname::text, atttypid::regtype::text FROM pg_attribute "
            "WHERE attrelid = 'changes'::regclass AND attnum > 0 AND NOT attisdropped"
        )
        kinds = {"timestamp with time zone": "timestamptz"}
        assert {name: kinds.get(kind, kind) for name, kind in cursor.fetchall()} == log_columns()


# jsonb has neither NUL nor surrogates; PostgreSQL refuses numbers with more digits.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.integers().map(str)
JSON = st.recursive(
    st.none().map(json.dumps) | st.booleans().map(json.dumps) | TEXTS.map(json.dumps) | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(TEXTS, inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=8,
)
BIGINTS = st.integers(-(2**63), 2**63 - 1)
CHANGES = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "table": TEXTS,
        "primary_key": st.none() | TEXTS,
        "before": JSON,
        "after": JSON,
        "context": JSON,
        "unavailable": st.none() | JSON,
        "queued_at": st.datetimes().map(lambda moment: f"{moment.isoformat()}+00"),
        "transaction_id": BIGINTS,
        "position": BIGINTS,
        "diverged": st.booleans(),
    }
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=st.lists(CHANGES, min_size=1, max_size=6, unique_by=lambda change: change["id"]))
def test_any_changes_come_back_as_they_were(changes: list[dict[str, Any]], tmp_path_factory: Any) -> None:
    place = open_location(str(tmp_path_factory.mktemp("archive")))
    remove(FIRST)
    for number, change in enumerate(changes):
        write(number, **change)
    before = rows(FIRST)
    with open_log() as log:
        manifest = store(log, place).manifest
        assert manifest.changes == len(changes)
        remove(FIRST)
        assert restore(log, place, require_manifest(place, MONTH), silently)
        assert rows(FIRST) == before
        assert not restore(log, place, manifest, silently)


def test_a_month_of_many_files_is_continued_where_it_was_interrupted(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "PART_ROWS", 3)
    for number in range(1, 11):
        write(number)
    before = rows()
    written: list[str] = []
    real = write_part

    def interrupted(*arguments: Any) -> Any:
        written.append(arguments[2])
        if len(written) == 3:
            with place.written(MONTH, arguments[2]) as file:
                file.write(b"PAR1 and no more")
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(storing, "write_part", interrupted)
    with open_log() as log:
        with pytest.raises(KeyboardInterrupt):
            store(log, place)
        with pytest.raises(ArchiveError, match="not all of it: run 'manage.py bemi archive' again"):
            require_manifest(place, MONTH)
        assert store(log, place).is_new
        # The complete files were kept, the damaged one was written again.
        assert written == [f"part-0000{number}.parquet" for number in (0, 1, 2, 2, 3)]
        assert [part.rows for part in require_manifest(place, MONTH).parts] == [3, 3, 3, 1]
        assert not store(log, place).is_new
        remove(FIRST)
        assert restore(log, place, require_manifest(place, MONTH), silently)
    assert rows() == before


def test_files_of_other_changes_are_written_again(place: Location) -> None:
    write(1)
    with open_log() as log:
        store(log, place)
        place.delete(MONTH, "manifest.json")
        with place.written(MONTH, "part-00007.parquet") as file:
            file.write(b"left behind")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE changes SET diverged = true WHERE position = 8")
        before = rows()
        store(log, place)
        assert place.names(MONTH) == {"manifest.json", "part-00000.parquet"}
        remove(FIRST)
        restore(log, place, require_manifest(place, MONTH), silently)
    assert rows() == before


def test_a_damaged_file_is_named_with_what_to_do(bemi: Bemi, tmp_path: Path) -> None:
    write(1)
    bemi("archive", "--before", SECOND, "--keep")
    remove(FIRST)
    for name in ("part-00000.parquet", "manifest.json"):
        path = tmp_path / "archive" / FIRST / name
        content = path.read_bytes()
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for harmed in (changed, content[:-1], content + content, b"", None):
            path.unlink()
            if harmed is not None:
                path.write_bytes(harmed)
            with pytest.raises(CommandError, match="again") as refused:
                bemi("import", FIRST)
            if harmed is not None or name != "manifest.json":
                assert f"{FIRST}/{name} is " in str(refused.value) and "backup" in str(refused.value)
            path.write_bytes(content)
        assert rows() == []
    assert "imported" in bemi("import", FIRST)


def test_a_month_of_which_a_part_is_in_the_log_is_not_imported(bemi: Bemi) -> None:
    for number in (1, 2, 3):
        write(number)
    bemi("archive", "--before", SECOND, "--keep")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM changes WHERE position = 16")
    before = rows()
    with pytest.raises(CommandError, match=f"a part of {FIRST} is in the log: nothing was imported"):
        bemi("import", FIRST)
    assert rows() == before
    # Neither is it archived a second time, as something else.
    with pytest.raises(CommandError, match=f"have different changes of {FIRST}"):
        bemi("archive", "--before", SECOND, "--keep")


def test_the_advice_for_a_month_that_differs_works_where_both_have_changes_of_their_own(
    bemi: Bemi, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        write(number)
    bemi("archive", "--before", SECOND, "--keep")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM changes WHERE position = 16")
        cursor.execute("UPDATE changes SET diverged = true WHERE position = 8")
    write(4)
    with pytest.raises(CommandError, match=f"run 'manage.py bemi import {FIRST} --missing', which adds"):
        bemi("archive", "--before", SECOND, "--keep")
    with pytest.raises(CommandError, match="With --missing, the changes"):
        bemi("import", FIRST)
    assert bemi("import", FIRST, "--missing") == f"{FIRST}: imported: 1 changes\n"
    assert "nothing to do" in bemi("import", FIRST, "--missing")
    found = rows()
    # What both have is as the log has it.
    assert len(found) == 4 and sum(row.endswith(",t)") for row in found) == 1
    (tmp_path / "archive" / FIRST).rename(tmp_path / "away")
    assert "archived, 4 changes" in bemi("archive", "--before", SECOND, "--keep")
    remove(FIRST)
    bemi("import", FIRST)
    assert rows() == found


@pytest.mark.parametrize("options", [[], ["--keep"]])
def test_a_month_that_differs_does_not_keep_later_ones_from_being_archived(
    bemi: Bemi, options: list[str]
) -> None:
    write(1)
    bemi("archive", "--before", SECOND, "--keep")
    write(2)
    write(3, SECOND)
    with pytest.raises(CommandError, match=f"^{FIRST} (was not archived|stays in the log): the log and .*"):
        bemi("archive", "--before", "2003-07", *options)
    assert len(rows(FIRST)) == 2 and len(rows(SECOND)) == (1 if options else 0)
    remove(SECOND)
    assert "imported: 1 changes" in bemi("import", SECOND)


@pytest.fixture
def checkpoint() -> Iterator[str]:
    """The slot of a worker that is behind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO _bemi.checkpoint (slot, lsn, committed_at, start_xid, start_lsn, system_identifier, "
            "timeline, publication) VALUES ('archive_late', '0/1', %s, 0, '0/1', '1', 1, 0)",
            [moment_in(FIRST)],
        )
        yield "archive_late"
        cursor.execute("DELETE FROM _bemi.checkpoint WHERE slot = 'archive_late'")


def test_a_month_that_a_worker_has_not_passed_is_not_archived(
    bemi: Bemi, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    write(1)
    with pytest.raises(CommandError, match=f"{FIRST} .* the slot {checkpoint} ends at 2003-05-03 12:00 UTC"):
        bemi("archive", "--before", SECOND, "--keep")
    assert not (tmp_path / "archive").exists()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE _bemi.checkpoint SET committed_at = %s WHERE slot = %s", [moment_in(SECOND), checkpoint]
        )
    assert "archived, 1 changes" in bemi("archive", "--before", SECOND, "--keep")


def test_an_idle_worker_is_asked_to_go_on_to_the_present(
    bemi: Bemi, checkpoint: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_AS_OF_PATIENCE = 0.2
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    monkeypatch.setattr(passing, "slot_of", lambda alias: checkpoint)
    write(1)
    # The worker is not running.
    with pytest.raises(CommandError, match=f"the slot {checkpoint} ends at"):
        bemi("archive", "--before", SECOND, "--keep")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE _bemi.checkpoint SET lsn = 'FFFFFFFF/0' WHERE slot = %s", [checkpoint])
    assert "archived, 1 changes" in bemi("archive", "--before", SECOND, "--keep")


def test_later_changes_of_a_month_are_archived_with_those_that_are_brought_back(
    bemi: Bemi, tmp_path: Path
) -> None:
    write(2)
    bemi("archive", "--before", SECOND, "--keep")
    remove(FIRST)
    write(1)
    with pytest.raises(CommandError, match="move the folder of the month away"):
        bemi("archive", "--before", SECOND, "--keep")
    assert "imported: 1 changes" in bemi("import", FIRST)
    (tmp_path / "archive" / FIRST).rename(tmp_path / "away")
    assert "archived, 2 changes" in bemi("archive", "--before", SECOND, "--keep")


def test_what_storage_gives_back_is_compared(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    write(1)
    real = read_part
    monkeypatch.setattr(storing, "read_part", lambda *given: real(*given)._replace(digest="0" * 64))
    with open_log() as log, pytest.raises(ArchiveError, match="does not give back what was written"):
        store(log, place)
    assert "manifest.json" not in place.names(MONTH)


def test_one_process_at_a_time_works_on_the_archive(bemi: Bemi) -> None:
    write(1)
    running = r"another 'bemi archive' or 'bemi import' is running \(pid \d+, role '"
    with open_log(), pytest.raises(CommandError, match=running):
        bemi("archive", "--before", SECOND, "--keep")
    assert f"{FIRST}: archived" in bemi("archive", "--before", SECOND, "--keep")


def test_a_stranger_with_locks_stops_neither_archives_nor_imports(bemi: Bemi) -> None:
    write(1)
    with stranger_session() as stranger:
        stranger.execute(
            "SELECT pg_advisory_lock(hashtext('_bemi.archive'), n) FROM generate_series(-9, 9) n"
        )
        stranger.execute("SELECT pg_advisory_lock(7305515062118304116)")
        assert f"{FIRST}: archived" in bemi("archive", "--before", SECOND, "--keep")
        assert FIRST in bemi("import", FIRST)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["archive"], "say which months"),
        (["archive", "--before", "2003-13"], "'2003-13' is not a month"),
        (["archive", "--before", "9000-01"], "is not over"),
        (["archive", "--before", "2003-07", "--to", "no such://place"], "no such:"),
        (["archive", "--before", "2003-07", "--to", "xyz://user:secret@place/x"], "cannot open the archive"),
        (["import", "yesterday"], "'yesterday' is not a month"),
        (["import", "2003-05"], "does not have 2003-05; it has no month"),
        (["import", "2003-05", "--from", "s3://"], "cannot open the archive s3://"),
        (["archive", "query", "SELECT '\udcff'"], "arguments in UTF-8"),
        (["archive", "query", "SELECT 1"], "has no month: run"),
    ],
)
def test_a_mistake_is_one_line(
    bemi: Bemi, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[-1].startswith("no such"):
        # A path may hold anything.
        assert "nothing to do" in bemi(*arguments)
        return
    with pytest.raises(CommandError, match=message) as refused:
        bemi(*arguments)
    assert "\n" not in str(refused.value) and "secret" not in str(refused.value)


def test_without_a_place_it_says_how_to_give_one(bemi: Bemi, settings: Any) -> None:
    settings.BEMI_ARCHIVE = ""
    with pytest.raises(CommandError, match="add --to DIRECTORY .* or set BEMI_ARCHIVE"):
        bemi("archive", "--before", "2003-07")


def test_paths_are_data(bemi: Bemi, tmp_path: Path) -> None:
    write(1)
    odd = tmp_path / "a b#?%20'\"ü*[x]"
    bemi("archive", "--before", SECOND, "--keep", "--to", str(odd))
    assert (odd / FIRST / "manifest.json").exists()
    assert "1 row" in bemi("archive", "query", "SELECT * FROM changes", "--from", str(odd))
    remove(FIRST)
    assert "imported" in bemi("import", FIRST, "--from", str(odd))
    assert moment_in(FIRST).year == 2003
