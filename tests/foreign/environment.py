"""A virtual environment for a suite, and the sources of its tests."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from tests.foreign.suites import Suite
from tests.support.paths import ROOT

#: What the package needs; the package itself is imported from the project.
_OURS = ("orjson>=3.9.15", "psycopg2-binary>=2.9.9")


class Place(NamedTuple):
    """The interpreter of a suite, and the folder that it runs in."""

    python: Path
    folder: Path


def prepare(suite: Suite, directory: Path) -> Place:
    """Create what is missing below the directory: the environment, then the sources."""
    environment = directory / "environment"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    _pip(python, "install", *suite.requires, *_OURS)
    sources = directory / "sources"
    if not sources.exists():
        name = re.split(r"[~=<>]", suite.sdist)[0]
        _pip(python, "download", "--no-deps", "--no-binary", name, "-d", str(directory), suite.sdist)
        (archive,) = directory.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            # Python before 3.10.12 or 3.11.4 knows no filters.
            opened.extraction_filter = getattr(tarfile, "data_filter", None)
            opened.extractall(sources)
    (unpacked,) = sources.iterdir()
    return Place(python, unpacked / suite.folder)


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "-qq", *arguments]
    subprocess.run(command, check=True, cwd=ROOT)
