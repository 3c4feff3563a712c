"""A project with SQLAlchemy and Alembic, in a database of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from alembic import command
from alembic.config import Config
from django.db import connection

from bemi_django import conf
from tests.support import roles
from tests.support.processes import database_url

_TABLE = "CREATE TABLE todo (id serial PRIMARY KEY, task text, is_completed boolean DEFAULT false)"


@dataclass
class TodoDatabase:
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


@contextmanager
def todo_database(name: str = "without_django") -> Iterator[TodoDatabase]:
    """Create a database with the table ``todo``, and drop it when the block ends."""
    roles.drop_database(name)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    made = TodoDatabase({**conf.connection_parameters("default"), "dbname": name})
    made.query(_TABLE)
    try:
        yield made
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                [name],
            )
        roles.drop_database(name)


class AlembicProject:
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
