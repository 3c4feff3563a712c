"""An archive whose process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from bemi_django.archive import storing
from bemi_django.archive.location import open_location
from bemi_django.archive.manifest import read_manifest
from bemi_django.archive.month import parse_month
from tests.integration.archive.conftest import Bemi
from tests.support import roles
from tests.support.old_months import FIRST, SECOND, remove, rows, write
from tests.support.paths import ROOT


def kill(place: Path, victim: str, moment: str, *options: str) -> None:
    script = [sys.executable, "-m", "tests.support.killed_archive", str(place), SECOND, victim, moment]
    process = subprocess.run(
        [*script, *options],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": url_of_database()},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


def url_of_database() -> str:
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


def test_a_killed_archive_is_continued(bemi: Bemi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "PART_ROWS", 2)
    for number in range(1, 6):
        write(number)
    before = rows()
    place = tmp_path / "archive"
    for victim, moment in (
        ("part-00001.parquet", "begun"),
        ("manifest.json", "full"),
    ):
        kill(place, victim, moment, "--keep")
        assert read_manifest(open_location(str(place)), parse_month(FIRST)) is None
        assert rows() == before
    assert "archived, 5 changes" in bemi("archive", "--before", SECOND, "--keep")
    assert sorted(path.name for path in (place / FIRST).iterdir()) == [
        "manifest.json", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet",
    ]  # fmt: skip
    remove(FIRST)
    bemi("import", FIRST)
    assert rows() == before


def test_a_reader_of_the_log_may_archive_it(bemi: Bemi, monkeypatch: pytest.MonkeyPatch) -> None:
    from bemi_django import conf

    write(1)
    parameters = conf.connection_parameters("default")
    monkeypatch.setattr(conf, "connection_parameters", lambda alias: roles.as_role(roles.READER, parameters))
    assert f"{FIRST}: archived, 1 changes" in bemi("archive", "--before", SECOND, "--keep")
