"""Django's migrations and Alembic revisions in one database: neither breaks what the other installed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.schema import tracking
from tests.support.alembic_project import AlembicProject, TodoDatabase, todo_database

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
# A worker creates its slot.
pytestmark = pytest.mark.administrator

SLOT = "bemi_installers"
#: What records: triggers, event triggers and the publication.
RECORDING = """
SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '\\_bemi\\_capture%'
            AND tgrelid = 'todo'::regclass),
       (SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE '\\_bemi%'),
       (SELECT count(*) FROM pg_publication_tables WHERE tablename = 'todo'),
       (SELECT relreplident FROM pg_class WHERE oid = 'todo'::regclass)
"""
ON, OFF = (2, 2, 1, "f"), (0, 0, 0, "d")
OPERATIONS = "SELECT operation FROM changes WHERE operation = 'GAP' OR \"table\" = 'todo' ORDER BY id"

# Each passage between none, one and both of the two, in both orders.
WALK = (
    "migrate", "upgrade", "zero", "downgrade", "upgrade", "migrate", "downgrade", "zero",
)  # fmt: skip


class Both:
    """One database with an Alembic project and a Django project."""

    def __init__(self, database: TodoDatabase, alembic: AlembicProject) -> None:
        self.database = database
        self.alembic = alembic
        self.installed: set[str] = set()

    def take(self, step: str) -> None:
        if step in ("migrate", "zero"):
            target = ["zero"] if step == "zero" else []
            call_command("migrate", "bemi_django", *target, verbosity=0, skip_checks=True)
            connection.close()
        elif step == "upgrade":
            self.alembic.upgrade()
        else:
            self.alembic.downgrade()
        change = self.installed.add if step in ("migrate", "upgrade") else self.installed.discard
        change("django" if step in ("migrate", "zero") else "alembic")

    def record(self) -> list[str]:
        """Write a row, run the worker, and return the operations in the log."""
        libpq = self.database.libpq
        worker = Supervisor(WorkerConfig(libpq, libpq, SLOT, "bemi", accept_gap=True))
        # Recording begins with the first run.
        worker.run(until_current=True)
        self.database.query("INSERT INTO todo (task) VALUES ('x')")
        worker.run(until_current=True)
        return [operation for (operation,) in self.database.query(OPERATIONS)]


@pytest.fixture
def both(transactional_db: None, tmp_path: Path) -> Iterator[Both]:
    original = connection.settings_dict
    with todo_database("installers") as database:
        connection.close()
        connection.settings_dict = {**original, "NAME": "installers"}
        try:
            yield Both(database, AlembicProject(tmp_path, database.url("psycopg2")))
        finally:
            connection.close()
            connection.settings_dict = original


def test_without_rows_the_last_one_removes_everything(both: Both) -> None:
    for step in WALK:
        both.take(step)
        assert both.database.query(RECORDING) == [ON if both.installed else OFF], step
        left = both.database.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE '\\_bemi%'")
        assert bool(left) == bool(both.installed), step
        assert both.database.query("SELECT to_regclass('changes') IS NOT NULL") == [(bool(both.installed),)]


def test_with_rows_and_a_slot_the_log_stays_and_is_continued(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    expected: list[str] = []
    for step in WALK:
        caplog.clear()
        was_on = bool(both.installed)
        if both.installed == {"django"} and step == "zero":
            break
        both.take(step)
        assert both.database.query(RECORDING) == [ON if both.installed else OFF], step
        if not both.installed:
            assert "the log public.changes is kept, because it has rows" in caplog.text
            assert f"pg_drop_replication_slot('{SLOT}')" in caplog.text
            # Nothing records it.
            both.database.query("INSERT INTO todo (task) VALUES ('lost')")
            continue
        if step in ("zero", "downgrade"):
            other = "an Alembic revision" if step == "zero" else "the migrations of a Django project"
            assert f"recording goes on, because it was also installed by {other}" in caplog.text
        if not was_on and expected:
            expected.append("GAP")
        expected.append("CREATE")
        assert both.record() == expected, step
    # The last one would lose the log.
    refusal = "there is .*the log public.changes, which has rows .*: run 'manage.py bemi uninstall'"
    with pytest.raises(CommandError, match=refusal):
        both.take("zero")
    connection.close()
    call_command("bemi", "uninstall", "--keep-log", stdout=io.StringIO())
    assert both.database.query(RECORDING) == [OFF]
    assert [operation for (operation,) in both.database.query(OPERATIONS)] == [*expected, "GAP"]


@pytest.mark.parametrize("order", [("migrate", "upgrade"), ("upgrade", "migrate")])
def test_uninstalling_for_one_leaves_it_to_the_other(both: Both, order: tuple[str, str]) -> None:
    for step in order:
        both.take(step)
    output = io.StringIO()
    call_command("bemi", "uninstall", "--dry-run", stdout=output)
    call_command("bemi", "uninstall", stdout=output)
    assert output.getvalue().count("recording goes on, because it was also installed by an Alembic") == 2
    assert both.database.query(RECORDING) == [ON]
    both.take("downgrade")
    assert both.database.query(RECORDING) == [OFF]
    assert both.database.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE '\\_bemi%'") == []
    # Django has forgotten its migrations.
    both.take("migrate")
    assert both.database.query(RECORDING) == [ON]


def test_uninstalling_removes_what_a_downgrade_has_kept(both: Both) -> None:
    both.take("upgrade")
    assert both.record() == ["CREATE"]
    both.take("downgrade")
    output = io.StringIO()
    call_command("bemi", "uninstall", stdout=output)
    assert {f"slot: {SLOT}", "log: public.changes in default"} <= set(output.getvalue().splitlines())
    assert both.database.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE '\\_bemi%'") == []
    assert both.database.query("SELECT to_regclass('changes')") == [(None,)]
    both.take("upgrade")
    assert both.record() == ["CREATE"]


@pytest.mark.parametrize("first", ["migrate", "upgrade"])
def test_the_same_step_twice_changes_nothing(both: Both, first: str) -> None:
    both.take(first)
    both.alembic.revise("Again", "Bemi.migration_upgrade()")
    both.take("upgrade")
    both.take("migrate")
    both.take("migrate")
    assert both.record() == ["CREATE"]
    assert tracking.sync().done == []


def test_the_settings_of_a_django_project_choose_the_tables(both: Both, settings: Any) -> None:
    settings.BEMI_EXCLUDE = ["*.other"]
    both.database.query("CREATE TABLE other (id int PRIMARY KEY)")
    both.take("migrate")
    tracking.sync()
    both.take("upgrade")
    published = both.database.query("SELECT tablename FROM pg_publication_tables ORDER BY 1")
    assert ("other",) not in published and ("todo",) in published
    assert tracking.plan() == []


def test_a_role_that_does_not_own_the_installation_is_told_who_does(both: Both) -> None:
    both.take("upgrade")
    both.database.query(
        "CREATE ROLE bemi_stranger LOGIN PASSWORD 'x'; GRANT ALL ON SCHEMA public TO bemi_stranger"
    )
    connection.close()
    connection.settings_dict = {**connection.settings_dict, "USER": "bemi_stranger", "PASSWORD": "x"}
    try:
        with pytest.raises(
            CommandError, match="The schema _bemi belongs to the role .*, not to bemi_stranger"
        ):
            both.take("migrate")
    finally:
        connection.close()
        both.database.query("DROP OWNED BY bemi_stranger; DROP ROLE bemi_stranger")
    assert both.database.query(RECORDING) == [ON]
