"""Tables that others move or rename while somebody is in the past: none is shown as it is now."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django.exceptions import HistoryError
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from tests.support.pipeline import Drain
from tests.support.project_database import another_session, execute
from tests.support.travel import here, settled

KEYED = "CREATE TABLE attic.thing (id int PRIMARY KEY, word text)"
PARTITION = (
    "CREATE TABLE attic.whole (id int, word text) PARTITION BY LIST (id); "
    "CREATE TABLE attic.thing PARTITION OF attic.whole DEFAULT"
)


@pytest.fixture
def attic(drain: Drain) -> Iterator[Drain]:
    """A schema without tracked tables, and one with a table that is."""
    execute("CREATE SCHEMA attic")
    execute("CREATE TABLE anchor (id int PRIMARY KEY)")
    with settled:
        yield drain
    execute("DROP SCHEMA attic CASCADE")
    execute("DROP TABLE IF EXISTS anchor, thing CASCADE")
    tracking.sync()


@pytest.mark.parametrize(
    ("table", "name", "reason"),
    [
        (KEYED, "thing", "public.thing was created, renamed or moved after"),
        (KEYED, "public.thing", "public.thing was created, renamed or moved after"),
        (KEYED, "(VALUES (1)) one, public.thing", "public.thing was created, renamed or moved after"),
        (
            KEYED,
            "(public.thing CROSS JOIN (VALUES (1)) one)",
            "public.thing was created, renamed or moved after",
        ),
        (KEYED.replace("TABLE", "UNLOGGED TABLE"), 'ONLY "public" . "thing"', "public.thing is not tracked"),
        (PARTITION, "thing", "public.thing is a partition"),
    ],
    ids=[
        "tracked from then on",
        "named with its schema",
        "in a list",
        "in parentheses",
        "not tracked",
        "a partition",
    ],
)
def test_a_table_that_comes_from_a_schema_without_tracked_ones(
    attic: Drain, table: str, name: str, reason: str
) -> None:
    execute(table)
    execute("INSERT INTO attic.thing VALUES (1, 'now')")
    moment = here()
    attic()
    with as_of(moment):
        assert execute("SELECT count(*) FROM anchor") == [(0,)]
        with another_session() as other:
            other.execute("ALTER TABLE attic.thing SET SCHEMA public")
            other.connection.commit()
        with pytest.raises(HistoryError, match=reason):
            execute(f"SELECT * FROM {name}")  # noqa: S608 - a name of the test


def test_a_table_that_is_renamed_is_not_read_by_its_new_name(attic: Drain) -> None:
    execute("ALTER TABLE anchor ADD COLUMN word text; INSERT INTO anchor VALUES (1, 'then')")
    moment = here()
    execute("UPDATE anchor SET word = 'now'")
    attic()
    with as_of(moment):
        with another_session() as other:
            other.execute("ALTER TABLE anchor RENAME TO thing")
            other.connection.commit()
        with pytest.raises(HistoryError, match="public.thing was created, renamed or moved after"):
            execute("SELECT * FROM public.thing")
    with as_of(moment), pytest.raises(HistoryError, match="is before history of public.thing"):
        execute("SELECT * FROM thing")
