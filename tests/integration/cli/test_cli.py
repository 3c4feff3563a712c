"""The command ``bemi`` in a project without Django: no settings module, only connection strings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.alembic_project import AlembicProject, TodoDatabase, todo_database
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE, until

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
# A worker creates its slot.
pytestmark = pytest.mark.administrator

BEMI = [sys.executable, "-W", "error", "-c", "from bemi_django.cli import main; main()"]
LOGGED = "SELECT operation, after ->> 'task' FROM changes WHERE \"table\" = 'todo' ORDER BY id"

ACTIVE = "SELECT count(*) FROM pg_replication_slots WHERE active AND database = 'cli_source'"


@pytest.fixture
def source(transactional_db: None) -> Iterator[TodoDatabase]:
    with todo_database("cli_source") as made:
        yield made


@pytest.fixture
def destination(transactional_db: None) -> Iterator[TodoDatabase]:
    with todo_database("cli_log") as made:
        yield made


def bemi(directory: Path, *arguments: str, answer: int = 0, environment: dict[str, str] | None = None) -> str:
    """Run ``bemi`` and return what it printed, errors included."""
    done = subprocess.run(
        [*BEMI, *arguments],
        cwd=directory,
        env=variables(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == answer, done.stdout
    return done.stdout


@contextmanager
def working(
    directory: Path, source: TodoDatabase, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker beside the block, once it reads its slot."""
    with subprocess.Popen(
        [*BEMI, "run"], cwd=directory, env=variables(environment or {}), stdout=subprocess.DEVNULL
    ) as worker:
        try:
            until(lambda: source.query(ACTIVE) == [(1,)])
            yield worker
        finally:
            worker.terminate()


def variables(added: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE") and not name.startswith(("BEMI_", "PG"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), **added}


def test_an_alembic_project_is_recorded_without_a_settings_module(
    source: TodoDatabase, tmp_path: Path
) -> None:
    project = AlembicProject(tmp_path, source.url("psycopg2"))
    project.upgrade()
    url = source.url("psycopg2")
    assert "0 changes written" in bemi(tmp_path, "run", "--until-current", "--source", url)
    source.query("INSERT INTO todo (task) VALUES ('a'), ('b')")
    source.query("UPDATE todo SET task = 'c' WHERE id = 1")
    (tmp_path / "pyproject.toml").write_text(f'[tool.bemi]\nsource = "{url}"\n')
    assert "3 changes written" in bemi(tmp_path, "run", "--until-current")
    assert source.query(LOGGED) == [("CREATE", "a"), ("CREATE", "b"), ("UPDATE", "c")]

    assert bemi(tmp_path, "sync").splitlines() == [
        "nothing to do",
        "1 tables tracked, 1 not: 1 excluded by BEMI_EXCLUDE or by default",
    ]
    with working(tmp_path, source):
        assert "as in the log" in bemi(tmp_path, "verify", "public.todo")
    assert 'CREATE ROLE "worker"' in bemi(tmp_path, "grants", "--worker", "worker")
    assert "0 repaired, 0 kept" in bemi(tmp_path, "retry-dead-letters")
    (line,) = [line for line in bemi(tmp_path, "blame", "todo:1").splitlines() if line.startswith("task")]
    assert line.split()[1:3] == ["c", "a"]
    (xid,) = source.query("SELECT transaction_id FROM changes ORDER BY id DESC LIMIT 1")[0]
    assert "1 rows reverted" in bemi(tmp_path, "revert", "--transaction", str(xid), "--noinput")
    assert source.query("SELECT task FROM todo ORDER BY id") == [("a",), ("b",)]


def test_it_installs_and_uninstalls_what_alembic_does_not(
    source: TodoDatabase, destination: TodoDatabase, tmp_path: Path
) -> None:
    urls = {"BEMI_SOURCE": source.url("psycopg2"), "BEMI_DESTINATION": destination.url("psycopg2")}
    assert "run 'bemi install' first" in bemi(tmp_path, "sync", answer=1, environment=urls)
    assert "the destination has no log: run 'bemi install'" in bemi(
        tmp_path, "run", answer=1, environment=urls
    )
    assert "published: public.todo" in bemi(tmp_path, "install", environment=urls)
    assert "0 changes written" in bemi(tmp_path, "run", "--until-current", environment=urls)
    # Nothing is left to do, so no event is recorded.
    assert bemi(tmp_path, "install", environment=urls).splitlines()[-1].startswith("installed")
    source.query("INSERT INTO todo (task) VALUES ('a')")
    assert "1 changes written" in bemi(tmp_path, "run", "--until-current", environment=urls)
    assert destination.query(LOGGED) == [("CREATE", "a")]
    assert source.query("SELECT to_regclass('changes')") == [(None,)]
    printed = bemi(tmp_path, "uninstall", "--keep-log", environment=urls)
    assert "slot: bemi_" in printed and "log public.changes in log, which is kept" in printed
    assert source.query("SELECT count(*) FROM pg_namespace WHERE nspname = '_bemi'") == [(0,)]
    assert destination.query(LOGGED) == [("CREATE", "a")]
    bemi(tmp_path, "install", environment=urls)
    assert "log: public.changes in log" in bemi(tmp_path, "uninstall", environment=urls).splitlines()
    assert destination.query("SELECT count(*) FROM pg_namespace WHERE nspname = '_bemi'") == [(0,)]
    assert bemi(tmp_path, "uninstall", environment=urls) == "nothing to do\n"


def test_rows_older_than_the_log_are_recorded_and_the_status_is_shown(
    source: TodoDatabase, tmp_path: Path
) -> None:
    source.query("INSERT INTO todo (task) VALUES ('old')")
    url = {"BEMI_SOURCE": source.url("psycopg2")}
    bemi(tmp_path, "install", environment=url)
    assert "recording has not begun: start 'bemi run'" in bemi(tmp_path, "status", answer=1, environment=url)
    with working(tmp_path, source, url):
        said = bemi(tmp_path, "baseline", "public.todo", environment=url)
        assert said == "public.todo: 1 rows, 1 of them recorded\n"
        assert "worker     running" in bemi(tmp_path, "status", environment=url)
    assert source.query(LOGGED) == [("BASELINE", "old")]


def test_a_signal_ends_the_worker_with_status_0(source: TodoDatabase, tmp_path: Path) -> None:
    url = {"BEMI_SOURCE": source.url("psycopg2")}
    bemi(tmp_path, "install", environment=url)
    with working(tmp_path, source, url) as worker:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE) == 0


def test_mistakes_are_one_line_without_a_traceback(source: TodoDatabase, tmp_path: Path) -> None:
    assert bemi(tmp_path, "run", answer=1).startswith("bemi: no source")
    assert "invalid choice: 'rum'" in bemi(
        tmp_path, "rum", answer=2, environment={"BEMI_SOURCE": "postgresql:///x"}
    )
    url = source.url("psycopg2")
    for arguments in (["blame", "todo:1"], ["sync"], ["revert", "--request", "r1"]):
        (line,) = bemi(tmp_path, *arguments, "--source", url, answer=1).splitlines()
        assert line.startswith("bemi: ") and "manage.py" not in line


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("nowhere.settings", "there is no module 'nowhere'"),
        ("tests.nowhere", "there is no module 'tests.nowhere'"),
        ("tests.support.paths", "add 'bemi_django' to INSTALLED_APPS of 'tests.support.paths'"),
    ],
)
def test_a_django_project_that_cannot_be_used_is_one_line(module: str, said: str) -> None:
    (line,) = bemi(ROOT, "status", answer=1, environment={"DJANGO_SETTINGS_MODULE": module}).splitlines()
    assert line.startswith(f"bemi: {said}")


def test_the_help_shows_the_commands_as_they_are_called(tmp_path: Path) -> None:
    printed = bemi(tmp_path)
    assert printed.startswith("usage: bemi [-h]")
    assert "\n    install " in printed and "\n    as-of " not in printed and "--settings" not in printed
    assert bemi(tmp_path, "run", "--help").startswith("usage: bemi run [-h]")
    assert "--destination URL" in bemi(tmp_path, "run", "--help")


def test_in_a_django_project_it_is_the_command_of_the_project(tmp_path: Path) -> None:
    printed = bemi(
        ROOT,
        environment={"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": os.environ["DATABASE_URL"]},
    )
    assert printed.startswith("usage: bemi [-h]") and "as-of" in printed
