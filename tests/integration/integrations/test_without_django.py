"""A project with SQLAlchemy, Alembic and FastAPI, where Django cannot be imported.

It does what the documentation of the package `bemi` says, with the name of ours.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.models import Change
from bemi_django.schema import sql
from tests.support.alembic_project import AlembicProject, TodoDatabase, todo_database
from tests.support.pipeline import Pipeline, worker_config

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

SQLALCHEMY_2 = not sqlalchemy.__version__.startswith("1.")
WITHOUT_DJANGO = "import sys; sys.modules['django'] = None\n"
# What the catalog has of ours. A session that has just ended may still have its temporary functions there.
LEFT = """
SELECT (SELECT count(*) FROM pg_proc
        WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname = '_bemi')),
       (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '\\_bemi%'),
       (SELECT count(*) FROM pg_namespace WHERE nspname = '_bemi'),
       (SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE '\\_bemi%'),
       (SELECT count(*) FROM pg_publication),
       (SELECT relreplident FROM pg_class WHERE relname = 'todo')
"""
SOURCES = """
SELECT prosrc FROM pg_proc
WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname = '_bemi') ORDER BY 1
"""
NOTHING = (0, 0, 0, 0, 0, "d")
TRACKED = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'bemi' ORDER BY 1"


@pytest.fixture
def database(transactional_db: None) -> Iterator[TodoDatabase]:
    with todo_database() as made:
        yield made


def run(directory: Path, code: str, *arguments: str) -> None:
    """A script, where Django cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_DJANGO + code, *arguments],
        cwd=directory,
        # SQLAlchemy 1.4 tells of 2.0.
        env={**os.environ, "SQLALCHEMY_SILENCE_UBER_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


ALEMBIC = "from alembic.config import main; main(sys.argv[1:], prog='alembic')"
WORKER = """
from bemi_django import Bemi
from sqlalchemy import create_engine, text
engine = create_engine(sys.argv[1], future=True)

Bemi.set_context({ "process": "MyWorker" })

with engine.connect() as connection:
    connection.execute(text("INSERT INTO todo (task) VALUES ('Sleep')"))
    connection.execute(text("UPDATE todo SET is_completed = true"))
    connection.commit()
with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
    connection.execute(text("DELETE FROM todo"))
"""
# As it is written there, which only SQLAlchemy 1.4 takes.
WORKER_AS_WRITTEN = """
from bemi_django import Bemi
from sqlalchemy import create_engine
engine = create_engine(sys.argv[1])

Bemi.set_context({ "process": "MyWorker" })

with engine.connect() as connection:
    connection.execute("INSERT INTO todo (task) VALUES ('Sleep')")
    connection.execute("UPDATE todo SET is_completed = true")
    connection.execute("DELETE FROM todo")
"""
SITE = """
from bemi_django.integrations.fastapi import BemiFastAPIMiddleware
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from starlette.testclient import TestClient

engine = create_engine(sys.argv[1], future=True)
app = FastAPI()

def current_user(request):
    return int(request.headers["Authorization"])

app.add_middleware(
    BemiFastAPIMiddleware,
    set_context=lambda request : {
        "user_id": current_user(request),
        "endpoint": request.url.path,
        "method": request.method,
    }
)

@app.post("/todo")
def create(task: str):
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO todo (task) VALUES (:task)"), {"task": task})

client = TestClient(app)
client.post("/todo?task=Eat", headers={"Authorization": "187234"}).raise_for_status()
"""


@pytest.mark.administrator
def test_the_documentation_of_the_seed_works_as_written(database: TodoDatabase, tmp_path: Path) -> None:
    project = AlembicProject(tmp_path, database.url("psycopg2"))
    run(tmp_path, ALEMBIC, "upgrade", "head")
    assert database.query(TRACKED) == [("todo",)]
    worker_job: WorkerConfig = worker_config("bemi_seed")._replace(source=database.libpq)
    try:
        Supervisor(worker_job).run(until_current=True)
        run(tmp_path, WORKER if SQLALCHEMY_2 else WORKER_AS_WRITTEN, database.url("psycopg2"))
        run(tmp_path, SITE, database.url("psycopg2"))
        Supervisor(worker_job).run(until_current=True)
    finally:
        Pipeline.of_project("bemi_seed").drop()
    changes = list(Change.objects.filter(database="without_django"))
    assert [change.operation for change in changes] == ["CREATE", "UPDATE", "DELETE", "CREATE"]
    for change in changes[:3]:
        assert change.context["process"] == "MyWorker" and change.context["SQL"]
    context = changes[3].context
    assert context.pop("SQL").startswith("INSERT INTO todo") and context.pop("request_id")
    assert context == {"user_id": 187234, "endpoint": "/todo", "method": "POST"}
    assert changes[1].before == {"id": 1, "task": "Sleep", "is_completed": False}

    run(tmp_path, ALEMBIC, "downgrade", "base")
    assert database.query(LEFT) == [NOTHING]
    project.upgrade()
    assert database.query(TRACKED) == [("todo",)]


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param(
            "psycopg",
            marks=pytest.mark.skipif(
                not SQLALCHEMY_2 or importlib.util.find_spec("psycopg") is None,
                reason="needs SQLAlchemy 2 and psycopg 3",
            ),
        ),
        "asyncpg",
    ],
)
def test_alembic_may_use_any_driver(database: TodoDatabase, tmp_path: Path, driver: str) -> None:
    project = AlembicProject(tmp_path, database.url(driver), "async" if driver == "asyncpg" else "generic")
    project.upgrade()
    assert database.query(TRACKED) == [("todo",)]
    project.downgrade()
    assert database.query(LEFT) == [NOTHING]


def test_the_installed_objects_are_those_of_the_file_and_a_script_makes_the_same(
    database: TodoDatabase, tmp_path: Path
) -> None:
    project = AlembicProject(tmp_path, database.url("psycopg2"))
    project.upgrade()
    online = database.query(SOURCES)
    installed = sql.up(*sql.SOURCE, *sql.LOG[1:], *sql.PAST)
    assert all(source in installed for (source,) in online)
    database.query(project.script(command.downgrade, "head:base"))
    assert database.query(LEFT) == [NOTHING]
    database.query("DROP TABLE alembic_version")
    database.query(project.script(command.upgrade, "head"))
    assert database.query(SOURCES) == online
    assert database.query(TRACKED) == [("todo",)]


@pytest.mark.administrator
def test_tables_that_come_later_are_tracked_by_the_event_trigger_or_the_next_call(
    database: TodoDatabase, tmp_path: Path
) -> None:
    project = AlembicProject(tmp_path, database.url("psycopg2"))
    project.upgrade()
    database.query("CREATE TABLE later (id int PRIMARY KEY)")
    assert database.query(TRACKED) == [("later",), ("todo",)]
    database.query("DROP EVENT TRIGGER _bemi_follow_ddl; CREATE TABLE last (id int PRIMARY KEY)")
    assert database.query(TRACKED) == [("later",), ("todo",)]
    project.revise("Again", "Bemi.migration_upgrade(exclude=['*.later'])")
    project.upgrade()
    assert database.query(TRACKED) == [("last",), ("todo",)]
    ((include, exclude),) = database.query("SELECT include, exclude FROM _bemi.tracking")
    assert include == ["public.%"]
    assert {"%.alembic\\_version", "%.later"} <= set(exclude)


@pytest.mark.administrator
def test_what_the_role_may_not_do_is_said_and_the_rest_is_done(
    database: TodoDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.query("""
        CREATE ROLE bemi_alembic LOGIN PASSWORD 'x';
        CREATE SCHEMA _bemi AUTHORIZATION bemi_alembic;
        GRANT CREATE, USAGE ON SCHEMA public TO bemi_alembic;
        CREATE TABLE own (id int PRIMARY KEY);
        ALTER TABLE own OWNER TO bemi_alembic;
    """)
    try:
        limited = TodoDatabase({**database.libpq, "user": "bemi_alembic", "password": "x"})
        project = AlembicProject(tmp_path, limited.url("psycopg2"))
        project.upgrade()
        assert "publication: permission denied" in caplog.text
        assert "public.todo: triggers: permission denied for table todo" in caplog.text
        assert "public.own: triggers" not in caplog.text
        found = database.query(
            "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = '_bemi_capture'"
        )
        assert found == [("own",)]
        project.downgrade()
        assert database.query(LEFT) == [NOTHING]
    finally:
        database.query("DROP OWNED BY bemi_alembic; DROP ROLE bemi_alembic")
