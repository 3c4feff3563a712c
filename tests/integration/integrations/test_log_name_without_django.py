"""``table`` in ``[tool.bemi]`` or ``BEMI_TABLE``: a log of another name in a project without Django."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.alembic_project import AlembicProject, TodoDatabase, todo_database
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
# A worker creates its slot.
pytestmark = pytest.mark.administrator

BEMI = "-c", "from bemi_django.cli import main; main()"
ALEMBIC = "-m", "alembic"
QUERY = """
import sys
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from bemi_django.integrations.sqlalchemy_changes import Change, after, for_table

assert "django" not in sys.modules
with Session(create_engine(sys.argv[1])) as session:
    found = session.execute(select(Change).where(for_table("todo"), after({"task": "a"}))).scalars().all()
    print([change.after["task"] for change in found])
    print(session.execute(select(Change.after).where(for_table("changes"))).scalars().all())
"""


@pytest.fixture
def source(transactional_db: None) -> Iterator[TodoDatabase]:
    with todo_database("named_log_source") as made:
        yield made


def python(directory: Path, environment: dict[str, str], *arguments: str, answer: int = 0) -> str:
    """Run Python without a settings module and return what it printed, errors included."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == answer, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("where", "name"),
    [("file", "audit_log"), ("environment", "audit.changes"), ("file", 'Audit."we""ird.100%{0}:a"')],
)
def test_alembic_the_worker_and_sqlalchemy_use_the_name(
    source: TodoDatabase, tmp_path: Path, name: str, where: str
) -> None:
    url = source.url("psycopg2")
    AlembicProject(tmp_path, url)
    environment = {"BEMI_TABLE": name} if where == "environment" else {}
    lines = ["[tool.bemi]", f"source = {json.dumps(url)}"]
    lines += [f"table = {json.dumps(name)}"] if where == "file" else []
    (tmp_path / "pyproject.toml").write_text("\n".join(lines))
    source.query("CREATE TABLE changes (id int PRIMARY KEY)")

    assert "CREATE SCHEMA _bemi" in python(tmp_path, environment, *ALEMBIC, "upgrade", "head", "--sql")
    python(tmp_path, environment, *ALEMBIC, "upgrade", "head")
    assert "0 changes written" in python(tmp_path, environment, *BEMI, "run", "--until-current")
    source.query("INSERT INTO todo (task) VALUES ('a'), ('b'); INSERT INTO changes VALUES (1)")
    assert "3 changes written" in python(tmp_path, environment, *BEMI, "run", "--until-current")
    assert python(tmp_path, environment, "-c", QUERY, url) == "['a']\n[{'id': 1}]\n"
    assert "a" in python(tmp_path, environment, *BEMI, "blame", "todo:1")
    assert "error" not in python(tmp_path, environment, *BEMI, "sync")

    (log,) = source.query("SELECT _bemi.log_v1()::text")[0]
    source.query("SELECT pg_drop_replication_slot(slot) FROM _bemi.checkpoint")
    source.query(f"TRUNCATE {log}")
    python(tmp_path, environment, *ALEMBIC, "downgrade", "base")
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname ~* '^(_bemi|audit)'"
    assert source.query(schemas) == []
    assert source.query("SELECT * FROM changes") == [(1,)]
    # What Alembic has removed is installed by the command.
    python(tmp_path, environment, *BEMI, "install")
    assert source.query("SELECT _bemi.log_v1()::text") == [(log,)]


def test_a_name_that_cannot_be_is_one_line(source: TodoDatabase, tmp_path: Path) -> None:
    url = source.url("psycopg2")
    environment = {"BEMI_TABLE": "a.b.c"}
    (line,) = python(tmp_path, environment, *BEMI, "sync", "--source", url, answer=1).splitlines()
    assert line.startswith("bemi: table is 'a.b.c': use 'name' or 'schema.name'")
