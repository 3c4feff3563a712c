"""A project with SQLAlchemy, Alembic and FastAPI, where Django cannot be imported.

It does what the documentation of the package `bemi` says, with the name of ours.
"""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from django.db import connection

from bemi_django import conf
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.models import Change
from bemi_django.schema import sql
from tests.support.pipeline import Pipeline, worker_config
from tests.support.processes import database_url

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

SQLALCHEMY_2 = not sqlalchemy.__version__.startswith("1.")
WITHOUT_DJANGO = "import sys; sys.modules['django'] = None\n"
TABLE = "CREATE TABLE todo (id serial PRIMARY KEY, task text, is_completed boolean DEFAULT false)"
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


@dataclass
class Database:
    """An empty database with the table ``todo``."""

    libpq: dict[str, Any]

    def url(self, driver: str) -> str:
        changed = {key: self.libpq[key] for key in ("dbname", "user", "password") if key in self.libpq}
        return database_url(f"postgresql+{driver}", **changed)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        opened = psycopg2.connect(**self.libpq)
        try:
            with opened, opened.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            opened.close()


@pytest.fixture
def database(transactional_db: None) -> Iterator[Database]:
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS without_django")
        cursor.execute("CREATE DATABASE without_django")
    made = Database({**conf.connection_parameters("default"), "dbname": "without_django"})
    made.query(TABLE)
    try:
        yield made
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE without_django WITH (FORCE)")


class Project:
    """A directory with an Alembic environment and one revision, as its own command makes them."""

    def __init__(self, directory: Path, url: str, template: str = "generic") -> None:
        self.directory = directory
        self.printed = io.StringIO()
        settings = directory / "alembic.ini"
        command.init(Config(str(settings), stdout=io.StringIO()), str(directory / "alembic"), template)
        address = url.replace("%", "%%")
        settings.write_text(settings.read_text().replace("driver://user:pass@localhost/dbname", address))
        # Without the file, which would set up logging.
        self.config = Config(output_buffer=self.printed, stdout=io.StringIO())
        self.config.set_main_option("script_location", str(directory / "alembic"))
        self.config.set_main_option("sqlalchemy.url", address)
        self.revise("Init Bemi", "Bemi.migration_upgrade()", "Bemi.migration_downgrade()")

    def revise(self, message: str, upgrade: str, downgrade: str = "pass") -> None:
        made: Any = command.revision(self.config, message)
        head = Path(made.path).read_text().split("def upgrade")[0]
        Path(made.path).write_text(f"""{head}
from bemi_django import Bemi

def upgrade() -> None:
    {upgrade}

def downgrade() -> None:
    {downgrade}
""")

    def upgrade(self) -> None:
        command.upgrade(self.config, "head")

    def downgrade(self) -> None:
        command.downgrade(self.config, "base")

    def script(self, run: Callable[..., None], revisions: str) -> str:
        """What the command would do."""
        self.printed.truncate(self.printed.seek(0))
        run(self.config, revisions, sql=True)
        return self.printed.getvalue()


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
def test_the_documentation_of_the_seed_works_as_written(database: Database, tmp_path: Path) -> None:
    project = Project(tmp_path, database.url("psycopg2"))
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
def test_alembic_may_use_any_driver(database: Database, tmp_path: Path, driver: str) -> None:
    project = Project(tmp_path, database.url(driver), "async" if driver == "asyncpg" else "generic")
    project.upgrade()
    assert database.query(TRACKED) == [("todo",)]
    project.downgrade()
    assert database.query(LEFT) == [NOTHING]


def test_the_installed_objects_are_those_of_the_file_and_a_script_makes_the_same(
    database: Database, tmp_path: Path
) -> None:
    project = Project(tmp_path, database.url("psycopg2"))
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
    database: Database, tmp_path: Path
) -> None:
    project = Project(tmp_path, database.url("psycopg2"))
    project.upgrade()
    database.query("CREATE TABLE later (id int PRIMARY KEY)")
    assert database.query(TRACKED) == [("later",), ("todo",)]
    database.query("DROP EVENT TRIGGER _bemi_follow_ddl; CREATE TABLE last (id int PRIMARY KEY)")
    assert database.query(TRACKED) == [("later",), ("todo",)]
    project.revise("Again", "Bemi.migration_upgrade(exclude=['*.alembic_version', '*.later'])")
    project.upgrade()
    assert database.query(TRACKED) == [("last",), ("todo",)]
    chosen = database.query("SELECT include, exclude FROM _bemi.tracking")
    assert chosen == [(["public.%"], ["%.alembic\\_version", "%.later"])]


@pytest.mark.administrator
def test_what_the_role_may_not_do_is_said_and_the_rest_is_done(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.query("""
        CREATE ROLE bemi_alembic LOGIN PASSWORD 'x';
        CREATE SCHEMA _bemi AUTHORIZATION bemi_alembic;
        GRANT CREATE, USAGE ON SCHEMA public TO bemi_alembic;
        CREATE TABLE own (id int PRIMARY KEY);
        ALTER TABLE own OWNER TO bemi_alembic;
    """)
    try:
        limited = Database({**database.libpq, "user": "bemi_alembic", "password": "x"})
        project = Project(tmp_path, limited.url("psycopg2"))
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
