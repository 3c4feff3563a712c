"""Processes of a project on the database of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlencode

from bemi_django import conf
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE


def database_url(dialect: str = "postgresql", **changed: str) -> str:
    """Return the URL of the tests' database; its query names the host, which may be a directory."""
    libpq = {**conf.connection_parameters("default"), **changed}
    login = quote(libpq["user"], "") + ":" + quote(libpq.get("password") or "", "")
    address = urlencode({"host": libpq["host"], "port": libpq["port"]})
    return f"{dialect}://{login}@/{libpq['dbname']}?{address}"


@contextmanager
def running(*arguments: str, settings: str = "tests.settings") -> Iterator[subprocess.Popen[str]]:
    """Run ``python -m arguments`` and whatever it starts until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", *arguments],
        env={**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": settings},
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE)
