"""``bemi erase`` reaches the months of the archive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.utils import timezone

from bemi_django.archive import storing
from bemi_django.archive.location import open_location
from bemi_django.archive.manifest import check_files, read_manifest
from bemi_django.archive.month import parse_month
from bemi_django.archive.query.asking import asking
from bemi_django.erasure.erase import erase
from bemi_django.erasure.plan import plan_erasure
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import installed
from bemi_django.seals.records import note_changed_rows
from bemi_django.seals.verify import verify_chains
from tests.integration.erasure.conftest import Bemi, url_of_database
from tests.integration.retention.conftest import RECORDS
from tests.integration.seals.test_operations import drop_month
from tests.support.old_months import FIRST, SECOND, old_months, remove, rows, write
from tests.support.paths import ROOT
from tests.support.project_database import execute
from tests.support.sealed_log import set_sealing

REASON = ("--reason", "request 7", "--noinput")
NAME = "public.visitor:42"
KEY = UUID("5e0a1ab3-6b8f-4c9d-8a7e-0f1e2d3c4b5a")


@pytest.fixture
def archive(bemi: Bemi, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive of a month with changes of two visitors, two in a file; the log has the month, too."""
    monkeypatch.setattr(storing, "PART_ROWS", 2)
    settings.BEMI_ARCHIVE = str(tmp_path / "archive")
    database = connection.settings_dict["NAME"]
    execute("CREATE TABLE visitor (id int PRIMARY KEY, name text, visits numeric, note text)")
    with old_months():
        for number, (key, name) in enumerate(
            [
                ("41", "Ann Miller"),
                ("7", "Bob Baker"),
                ("41", "Ann Carter"),
                ("7", "Bob Cook"),
                ("42", "Ann Carter"),
            ]
        ):
            image = {"id": int(key), "name": name, "visits": 4711.50}
            write(
                number + 1,
                database=database,
                table="visitor",
                primary_key=key,
                previous_primary_key="41" if key == "42" else None,
                before=json.dumps({**image, "id": 41} if key == "42" else image),
                after=json.dumps({**image, "note": "é\n\u0001"}),
                context=json.dumps(
                    {"user_id": 7, "request_id": f"r{number}", "path": f"/{name}/", "a": 1.50}
                ),
            )
        write(
            9,
            database=database,
            table="other",
            context=json.dumps({"request_id": "r0", "path": "/Ann Miller/"}),
        )
        bemi("archive", "--before", SECOND, "--keep")
        yield tmp_path / "archive"
    execute("DROP TABLE visitor")


def text_of(archive: Path) -> str:
    """All that DuckDB finds in the archive."""
    with asking(open_location(str(archive)), "changes", "SELECT * FROM changes") as answer:
        return "\n".join(str(row) for row in answer.rows)


def test_values_are_erased_from_the_log_and_the_archive_alike(archive: Path, bemi: Bemi) -> None:
    location, month = open_location(str(archive)), parse_month(FIRST)
    before = read_manifest(location, month)
    assert before is not None and [part.rows for part in before.parts] == [2, 2, 2]
    assert f"and what the archive {archive} has of it" in bemi("erase", NAME, "--dry-run")
    plan = bemi("erase", NAME, "--related", "--dry-run")
    assert "but not what it has of related rows while they referred to nobody" in plan
    # The key of the visitor has changed.
    assert "3 changes of 2 rows erased" in bemi("erase", NAME, *REASON)
    left = text_of(archive)
    assert "Ann" not in left and "Bob Baker" in left and "Bob Cook" in left
    assert "/***/" in left and '"id": 41' in left
    after = read_manifest(location, month)
    assert after is not None and after.changes == before.changes
    check_files(location, after)
    assert {path.name for path in (archive / FIRST).iterdir()} == {
        "manifest.json", *(part.name for part in after.parts),
    }  # fmt: skip
    # They still have the same changes, and one can be made from the other.
    assert "is in the archive, 6 changes" in bemi("archive", "--before", SECOND, "--keep")
    logged = rows(FIRST)
    assert not any("Ann" in row for row in logged)
    remove(FIRST)
    bemi("import", FIRST)
    assert rows(FIRST) == logged
    assert bemi("erase", NAME, *REASON).endswith("0 changes of 0 rows erased\n")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_only_the_archive_has_is_found_and_counted(archive: Path, bemi: Bemi, settings: Any) -> None:
    subject = "subject", NAME, "--export", str(archive / "ann.json")
    assert "archive" not in bemi(*subject).replace(str(archive), "")
    of_table = {"database": connection.settings_dict["NAME"], "table": "visitor"}
    write(20, **of_table, primary_key="7", committed_at=timezone.now())
    settings.BEMI_RETENTION = {"public.visitor": "30 days"}
    bemi("prune")
    said = f"that were removed from the log, of the months {FIRST}, and "
    with pytest.raises(CommandError, match=f"{said}.*'manage.py bemi import {FIRST} --missing'"):
        bemi(*subject)
    bemi("import", FIRST, "--missing")
    subject = "subject", NAME, "--export", str(archive / "again.json")
    assert said not in bemi(*subject)
    remove(FIRST)
    said = f"only the archive has the months {FIRST}, and "
    with pytest.raises(CommandError, match=f"{said}.*'manage.py bemi import {FIRST}'"):
        bemi(*subject)
    subject = "subject", "public.visitor:7", "--export", str(archive / "other.json")
    assert said in bemi(*subject) and said in bemi("erase", NAME, "--related", "--dry-run")
    printed = bemi("erase", NAME, *REASON)
    assert "3 changes of 2 rows erased" in printed
    assert "Ann" not in text_of(archive)
    found = Change.objects.filter(operation="ERASED")
    assert {change.primary_key: change.context["changes"] for change in found} == {"41": 2, "42": 1}


def test_what_only_the_archive_has_is_sealed_again(archive: Path, bemi: Bemi) -> None:
    write(20, SECOND, database=connection.settings_dict["NAME"], table="visitor", primary_key="7")
    set_sealing(True, 8, 1)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            ids = list(Change.objects.filter(committed_at__year=2003).values_list("pk", flat=True))
            note_changed_rows(cursor, installed.log("default"), ids, {}, is_added=True)
        bemi("archive", "--before", SECOND, "--keep")
        drop_month(FIRST)
        bemi("erase", NAME, *REASON)
        bemi("import", FIRST)
        assert not any("Ann" in row for row in rows(FIRST))
        assert list(map(str, verify_chains().findings)) == []
        salts = execute("SELECT salts FROM _bemi.links WHERE kind = 'replaced' ORDER BY number LIMIT 1")
        # Those of three changes of the person, and of one in the same request.
        assert bytes(salts[0][0]).count(bytes(16)) >= 4
    finally:
        for table in (*RECORDS, "links", "chains"):
            execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own


def test_a_key_that_only_the_archive_has_is_hashed_if_it_is_a_text(
    bemi: Bemi, tmp_path: Path, settings: Any
) -> None:
    settings.BEMI_ARCHIVE = str(tmp_path / "archive")
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    database = connection.settings_dict["NAME"]
    execute("CREATE TABLE traveller (passport text PRIMARY KEY, name text)")
    try:
        with old_months():
            write(
                1,
                database=database,
                table="traveller",
                primary_key="4711471147",
                before="{}",
                after=json.dumps({"passport": "4711471147", "name": "Ann"}),
                context=json.dumps({"path": "/4711471147/"}),
            )
            write(2, SECOND, database=database, table="traveller", primary_key="7")
            bemi("archive", "--before", SECOND, "--keep")
            remove(FIRST)
            bemi("erase", "public.traveller:4711471147", *REASON)
            left = text_of(tmp_path / "archive")
            assert "hmac:" in left and "4711471147" not in left and "Ann" not in left
            (record,) = Change.objects.filter(operation="ERASED")
            assert str(record.primary_key).startswith("hmac:")
    finally:
        execute("DROP TABLE traveller")


def test_files_without_the_person_stay(archive: Path, bemi: Bemi) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (archive / FIRST).iterdir()}
    bemi("erase", "public.visitor:99", *REASON)
    assert {path.name: path.stat().st_mtime_ns for path in (archive / FIRST).iterdir()} == before


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        ("part-00003.parquet", "begun"),
        ("part-00004.parquet", "over"),
        ("manifest.json", "full"),
        ("manifest.json", "over"),
    ],
)
def test_a_killed_erasure_leaves_a_whole_archive_and_is_continued(
    archive: Path, bemi: Bemi, victim: str, moment: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_archive_erasure", NAME, victim, moment],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": url_of_database(),
            "BEMI_TEST_ARCHIVE": str(archive),
        },
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    location, month = open_location(str(archive)), parse_month(FIRST)
    manifest = read_manifest(location, month)
    assert manifest is not None
    check_files(location, manifest)
    assert "3 changes of 2 rows erased" in bemi("erase", NAME, *REASON)
    assert "Ann" not in text_of(archive) and not any("Ann" in row for row in rows(FIRST))
    for path in (archive / FIRST).iterdir():
        assert path.name == "manifest.json" or path.name in {part.name for part in read_parts(archive)}


@pytest.mark.parametrize(
    ("user", "context", "is_theirs"),
    [
        (7, {"user_id": 7}, True),
        (7, {"user_id": 71}, False),
        (7, {"user_id": "7"}, False),
        (1, {"user_id": True}, False),
        (7, {"form": {"user_id": 7}}, False),
        (7, {"note": '"user_id": 7'}, False),
        (KEY, {"user_id": str(KEY)}, True),
        (KEY, {"user_id": f"{KEY}1"}, False),
        ('ann"\u00e9', {"user_id": 'ann"\u00e9'}, True),
    ],
)
def test_only_what_the_user_did_loses_the_address(
    bemi: Bemi, tmp_path: Path, settings: Any, user: Any, context: dict[str, Any], is_theirs: bool
) -> None:
    settings.BEMI_ARCHIVE = str(tmp_path / "archive")
    execute("CREATE TABLE visitor (id int PRIMARY KEY, name text)")
    try:
        with old_months():
            place = Place(str(connection.settings_dict["NAME"]), "public", "visitor")
            own = json.dumps({**context, "ip": "192.0.2.7"})
            write(1, database=place.database, table="other", context=own)
            write(2, table="other", context=own)
            bemi("archive", "--before", SECOND, "--keep")
            plan = plan_erasure((place, "99"), "default", archive=open_location(str(tmp_path / "archive")))
            erase(plan._replace(user=user), {"reason": "request 7"}, lambda name, part: None)
            # The log and the archive agree; another database has users of its own.
            assert text_of(tmp_path / "archive").count("192.0.2.7") == (1 if is_theirs else 2)
            assert "is in the archive, 2 changes" in bemi("archive", "--before", SECOND, "--keep")
    finally:
        execute("DROP TABLE visitor")


def read_parts(archive: Path) -> tuple[Any, ...]:
    manifest = read_manifest(open_location(str(archive)), parse_month(FIRST))
    assert manifest is not None
    return manifest.parts
