"""The sample project's site and worker on a database of their own, and Chromium to browse them."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from urllib.request import urlopen

import psycopg2
import pytest

from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.reserved_port import HOST, ReservedPort

MANAGE = [sys.executable, "-u", "-m", "sample_project.manage"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOGIN = "demo"
DATABASE = "bemi_browser"


def chromium() -> str:
    """Return the path of Chromium. Without one the test is skipped; it fails if CI is set."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        message = "no Chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def optional(name: str) -> Any:
    """Import an optional module. Without it the test is skipped; it fails if CI is set."""
    try:
        return importlib.import_module(name)
    except ImportError:
        message = f"{name} is missing: pip install -r tests/requirements.txt"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


class Site:
    """The site at ``url``; ``execute`` runs a statement as psql does."""

    def __init__(self, url: str, database_url: str) -> None:
        self.url = url
        self.database_url = database_url

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.database_url, application_name="psql")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []

    def arrived(self, count: int, table: str = "todo") -> None:
        """Wait until the log has at least this number of changes of a table."""
        query = 'SELECT count(*) FROM changes WHERE "table" = %s'
        until(lambda: self.execute(query, [table])[0][0] >= count, why=lambda: f"{count} changes of {table}")


@contextmanager
def launched() -> Iterator[Any]:
    """Have Chromium open in a block."""
    with optional("playwright.sync_api").sync_playwright() as driver:
        # The sandbox wants rights that root in a container has not.
        opened = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


def logged_in(browser: Any, site: Site, username: str = LOGIN) -> Any:
    """Log in to the admin with the password of the demo; return the cookies."""
    page = browser.new_page()
    page.goto(f"{site.url}/admin/login/")
    page.fill("#id_username", username)
    page.fill("#id_password", LOGIN)
    with page.expect_navigation():
        page.get_by_role("button", name="Log in", exact=True).click()
    state = page.context.storage_state()
    page.close()
    return state


@contextmanager
def running_site(
    server_url: str, settings: str = "tests.support.browser_settings", name: str = DATABASE
) -> Iterator[Site]:
    """Run a migrated site with a superuser ``demo`` and a worker until the block ends."""
    url = f"{server_url.rpartition('/')[0]}/{name}"
    with ExitStack() as stack:
        stack.enter_context(_database(server_url, name))
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": settings,
            "DJANGO_SUPERUSER_PASSWORD": LOGIN,
        }
        for arguments in (
            ["migrate", "--verbosity", "0"],
            ["createsuperuser", "--noinput", "--username", LOGIN, "--email", "demo@example.com"],
        ):
            subprocess.run([*MANAGE, *arguments], env=environment, cwd=ROOT, check=True, capture_output=True)
        stack.enter_context(_process([*MANAGE, "bemi", "run"], environment))
        site = stack.enter_context(serving(url, environment["DJANGO_SETTINGS_MODULE"]))
        slot = "SELECT count(*) FROM pg_replication_slots WHERE active AND database = current_database()"
        until(lambda: site.execute(slot)[0][0] > 0, why=lambda: "the worker")
        yield site


@contextmanager
def serving(database_url: str, settings: str) -> Iterator[Site]:
    """Run the sample project's server on a database until the block ends."""
    environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": settings}
    with closing(ReservedPort()) as port:
        site = Site(f"http://{HOST}:{port.number}", database_url)
        server = ["runserver", "--noreload", "--insecure", f"{HOST}:{port.number}"]
        with _process([*MANAGE, *server], environment):
            until(lambda: _is_up(site.url), why=lambda: "the site")
            yield site


@contextmanager
def _database(server_url: str, name: str) -> Iterator[None]:
    with closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name}")
            yield
            cursor.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE database = %s AND active",
                [name],
            )
            left = "SELECT count(*) FROM pg_replication_slots WHERE database = %s AND active"

            def is_free() -> bool:
                cursor.execute(left, [name])
                return bool(cursor.fetchone() == (0,))

            until(is_free, why=lambda: "the slot's end")
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                [name],
            )
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _is_up(url: str) -> bool:
    try:
        with urlopen(f"{url}/admin/login/", timeout=5):
            return True
    except OSError:
        return False
