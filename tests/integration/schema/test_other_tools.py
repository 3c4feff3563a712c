"""Tools that read a database's tables do not take the tables of this package for the application's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from django.core.management import call_command
from django.db import connection

from tests.support.alembic_project import AlembicProject, TodoDatabase, todo_database

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

#: What a project writes into its env.py.
LINE = "from bemi_django.integrations.alembic import include_name, include_object"


@pytest.fixture
def database(transactional_db: None) -> Iterator[TodoDatabase]:
    with todo_database() as made:
        yield made


# SQLAlchemy 1.4 cannot reflect indexes on expressions.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
@pytest.mark.parametrize(
    "schemas",
    ["", ", include_schemas=True, include_name=include_name"],
    ids=["the default schema", "all schemas"],
)
def test_a_revision_of_alembic_drops_no_table_of_ours(
    database: TodoDatabase, tmp_path: Path, schemas: str
) -> None:
    project = AlembicProject(tmp_path, database.url("psycopg2"))
    project.upgrade()
    database.query("CREATE TABLE django_migrations (id int); CREATE TABLE notes (id int PRIMARY KEY)")
    database.query("SELECT _bemi.partition_v1(now()); CREATE SCHEMA shop")
    database.query("CREATE TABLE shop.changes (id int PRIMARY KEY)")
    before = proposed(project)
    assert "drop_table('changes')" in before
    env = tmp_path / "alembic/env.py"
    hooked = f"target_metadata=target_metadata, include_object=include_object{schemas}"
    env.write_text(LINE + "\n" + env.read_text().replace("target_metadata=target_metadata", hooked))
    after = proposed(project)
    dropped = sorted(line.strip() for line in after.splitlines() if "drop_table" in line)
    # Tables of the application that its metadata does not have.
    theirs = ["op.drop_table('notes')", "op.drop_table('todo')"]
    assert dropped == (["op.drop_table('changes', schema='shop')", *theirs] if schemas else theirs)


def proposed(project: AlembicProject) -> str:
    """What autogenerate would write, with a metadata that has no tables."""
    env = project.directory / "alembic/env.py"
    env.write_text(
        env.read_text().replace(
            "target_metadata = None", "import sqlalchemy\ntarget_metadata = sqlalchemy.MetaData()"
        )
    )
    made: Any = command.revision(project.config, "Proposed", autogenerate=True)
    text = Path(made.path).read_text()
    Path(made.path).unlink()
    return text.split("def downgrade")[0]


def test_inspectdb_makes_no_models_of_ours(transactional_db: None) -> None:
    def inspected(*arguments: str) -> str:
        out = io.StringIO()
        call_command("inspectdb", *arguments, stdout=out)
        return out.getvalue()

    with connection.cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1(now())")
    for arguments in ([], ["--include-partitions"]):
        found = inspected(*arguments)
        assert "db_table = 'todo'" in found
        assert "db_table = 'changes" not in found and "_bemi" not in found
    # Whoever names it wants it.
    assert "db_table = 'changes'" in inspected("changes")
