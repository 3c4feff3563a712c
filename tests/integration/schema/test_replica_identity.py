"""The replica identity of tables: remembered when they are tracked, restored when they no longer are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from bemi_django.schema import tracking


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def fetch(query: str, *parameters: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchone()[0]


def identity(table: str) -> str:
    return str(fetch("SELECT relreplident FROM pg_class WHERE oid = %s::regclass", table))


def remembered() -> int:
    return int(fetch("SELECT count(*) FROM _bemi.replica_identities WHERE name LIKE 'shed.%'"))


@pytest.fixture
def schema(transactional_db: None, settings: Any) -> Iterator[None]:
    """A schema of the test's own, chosen by the settings."""
    settings.BEMI_INCLUDE = ["public.*", "shed.*"]
    execute("CREATE SCHEMA shed")
    tracking.sync()
    yield
    execute("DROP SCHEMA shed CASCADE")
    del settings.BEMI_INCLUDE
    settings.BEMI_EXCLUDE = []
    tracking.sync()


#: What a table may have had before it was tracked: its SQL, and what pg_class has then.
IDENTITIES = {
    "default": ("REPLICA IDENTITY DEFAULT", "d"),
    "nothing": ("REPLICA IDENTITY NOTHING", "n"),
    "full": ("REPLICA IDENTITY FULL", "f"),
    "index": ('REPLICA IDENTITY USING INDEX "b %s"', "i"),
}
_UNTRACKED_TOOL = """
CREATE TABLE elsewhere.tool (id int PRIMARY KEY, a int, b int NOT NULL);
CREATE UNIQUE INDEX "b %s" ON elsewhere.tool (b) INCLUDE (a)
"""


def has_index_of_identity(table: str) -> bool:
    query = "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND indisreplident"
    return bool(fetch(query, table))


@pytest.fixture
def untracked(schema: None) -> Iterator[None]:
    """A table in a schema that is not tracked; moved to ``shed``, it is."""
    execute(f"CREATE SCHEMA elsewhere; {_UNTRACKED_TOOL}")
    yield
    execute("DROP SCHEMA elsewhere CASCADE")


@pytest.mark.parametrize("kind", IDENTITIES)
@pytest.mark.parametrize("way", ["moved", "excluded"])
def test_the_replica_identity_is_afterwards_as_it_was_before(
    untracked: None, settings: Any, kind: str, way: str
) -> None:
    statement, letter = IDENTITIES[kind]
    execute(f"ALTER TABLE elsewhere.tool {statement}")
    execute("ALTER TABLE elsewhere.tool SET SCHEMA shed")
    tracking.sync()
    assert identity("shed.tool") == "f"
    # Another sync, and triggers that are made again, remember nothing else.
    execute("DROP TRIGGER _bemi_capture ON shed.tool")
    tracking.sync()
    table = "shed.tool"
    if way == "moved":
        execute("ALTER TABLE shed.tool SET SCHEMA elsewhere")
        table = "elsewhere.tool"
    else:
        settings.BEMI_EXCLUDE = ["shed.*"]
        tracking.sync()
    assert identity(table) == letter
    assert has_index_of_identity(table) == (kind == "index")
    assert tracking.sync().done == [] and tracking.plan() == []
    assert remembered() == 0


def test_an_identity_that_was_set_while_the_table_is_tracked_is_the_one_to_restore(
    schema: None, settings: Any
) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    execute("ALTER TABLE shed.tool REPLICA IDENTITY NOTHING")
    tracking.sync()
    assert identity("shed.tool") == "f"
    settings.BEMI_EXCLUDE = ["shed.*"]
    assert "replica identity nothing: shed.tool" in tracking.sync().done
    assert identity("shed.tool") == "n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('ALTER INDEX shed."b %s" RENAME TO c', "i"),
        ('DROP INDEX shed."b %s"', "d"),
        ('DROP INDEX shed."b %s"; CREATE INDEX "b %s" ON shed.tool (b)', "d"),
    ],
    ids=["renamed", "dropped", "replaced"],
)
def test_an_index_that_cannot_serve_any_more_is_not_restored(
    untracked: None, settings: Any, change: str, expected: str
) -> None:
    execute('ALTER TABLE elsewhere.tool REPLICA IDENTITY USING INDEX "b %s"')
    execute("ALTER TABLE elsewhere.tool SET SCHEMA shed")
    execute(change)
    settings.BEMI_EXCLUDE = ["shed.*"]
    assert tracking.sync().failed == []
    assert identity("shed.tool") == expected


def test_in_a_copy_of_the_database_the_identity_is_found_by_the_names(untracked: None, settings: Any) -> None:
    execute('ALTER TABLE elsewhere.tool REPLICA IDENTITY USING INDEX "b %s"')
    execute("ALTER TABLE elsewhere.tool SET SCHEMA shed")
    execute(
        "UPDATE _bemi.replica_identities SET system = 1, relation = 1, index = 1 WHERE name = 'shed.tool'"
    )
    settings.BEMI_EXCLUDE = ["shed.*"]
    tracking.sync()
    assert identity("shed.tool") == "i"
    assert remembered() == 0


def test_a_dropped_table_leaves_no_identity_behind(schema: None) -> None:
    execute("CREATE TABLE shed.tool (id int PRIMARY KEY)")
    assert remembered() == 1
    execute("DROP TABLE shed.tool")
    assert remembered() == 0
