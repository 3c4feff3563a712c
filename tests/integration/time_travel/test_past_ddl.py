"""The past of tables that were altered since."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django.exceptions import HistoryError
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers, sync_as_migrator
from tests.support.travel import here, settled


@pytest.fixture
def tool(drain: Drain) -> Iterator[Drain]:
    """Two rows; only the second one will be touched."""
    execute("CREATE TYPE mood AS ENUM ('ok', 'bad')")
    execute("CREATE DOMAIN short AS text CHECK (length(value) < 9)")
    execute("CREATE TABLE tool (id int PRIMARY KEY, word text, price numeric(6, 2) DEFAULT 1)")
    execute("INSERT INTO tool VALUES (1, 'one'), (2, 'two')")
    with settled:
        yield drain
    execute("DROP TABLE IF EXISTS tool, hammer CASCADE")
    execute("DROP TYPE mood CASCADE")
    execute("DROP DOMAIN short CASCADE")
    tracking.sync()


TOUCH = "UPDATE tool SET word = 'new' WHERE id = 2"


def test_a_column_that_was_not_there_has_what_it_began_with(tool: Drain) -> None:
    before = here()
    execute(TOUCH)
    execute("ALTER TABLE tool ADD COLUMN size int DEFAULT 7, ADD COLUMN note text, ADD COLUMN mood mood")
    after = here()
    execute("UPDATE tool SET size = 8, note = 'x', mood = 'bad' WHERE id = 2")
    tool()
    for moment, word in ((before, "two"), (after, "new")):
        with as_of(moment):
            assert execute("SELECT * FROM tool ORDER BY id") == [
                (1, "one", 1, 7, None, None),
                (2, word, 1, 7, None, None),
            ]


def test_a_column_that_was_renamed_or_dropped_or_has_another_type(tool: Drain) -> None:
    before = here()
    execute("UPDATE tool SET word = 'new', price = 3 WHERE id = 2")
    execute("ALTER TABLE tool RENAME word TO text")
    execute("ALTER TABLE tool ALTER text TYPE short, DROP COLUMN price")
    execute("ALTER TABLE tool RENAME text TO name")
    renamed = here()
    execute("DELETE FROM tool WHERE id = 2")
    tool()
    with as_of(before):
        assert execute("SELECT id, name FROM tool ORDER BY id") == [(1, "one"), (2, "two")]
    with as_of(renamed):
        assert execute("SELECT * FROM tool WHERE name = 'new'") == [(2, "new")]


def test_a_domain_need_not_allow_null(tool: Drain) -> None:
    """Rows that have changed since had no such column, or are read from JSON column by column."""
    execute("ALTER DOMAIN short SET NOT NULL")
    execute("ALTER TABLE tool ADD words text[] DEFAULT '{a,NULL}', ADD place box DEFAULT '(1,1),(0,0)'")
    before = here()
    execute(TOUCH)
    execute("ALTER TABLE tool ADD name short DEFAULT 'x'")
    execute("UPDATE tool SET words = NULL, name = 'y' WHERE id = 2")
    tool()
    with as_of(before):
        assert execute("SELECT id, word, words, place, name FROM tool ORDER BY id") == [
            (1, "one", ["a", None], "(1,1),(0,0)", "x"),
            (2, "two", ["a", None], "(1,1),(0,0)", None),
        ]


def test_a_table_that_was_renamed_has_a_past_under_its_new_name_from_then_on(tool: Drain) -> None:
    before = here()
    execute("ALTER TABLE tool RENAME TO hammer")
    renamed = here()
    execute("DELETE FROM hammer WHERE id = 2")
    tool()
    with as_of(renamed):
        assert execute("SELECT count(*) FROM hammer") == [(2,)]
    with as_of(before), pytest.raises(HistoryError, match="is before history of public.hammer"):
        execute("SELECT * FROM hammer")


def test_a_table_with_another_key_has_a_past_from_then_on(tool: Drain) -> None:
    before = here()
    execute("ALTER TABLE tool DROP CONSTRAINT tool_pkey, ADD PRIMARY KEY (word, id)")
    altered = here()
    execute("DELETE FROM tool WHERE id = 2")
    tool()
    with as_of(altered):
        assert execute("SELECT word FROM tool WHERE id = 2") == [("two",)]
    with as_of(before), pytest.raises(HistoryError, match="is before history of public.tool"):
        execute("SELECT * FROM tool")


def test_views_of_the_past_hold_no_table_back(tool: Drain) -> None:
    execute("ALTER TABLE tool ADD COLUMN mood mood")
    execute("ALTER TABLE tool ALTER price TYPE text")
    execute("ALTER TABLE tool DROP COLUMN word")
    execute("DROP TABLE tool")
    assert execute("SELECT to_regclass('_bemi_past_public.tool')") == [(None,)]
    execute("DROP TYPE mood")
    execute("CREATE TYPE mood AS ENUM ('ok')")


def test_without_event_triggers_sync_keeps_the_views_up(tool: Drain) -> None:
    before = here()
    with no_event_triggers():
        execute(TOUCH)
        execute("ALTER TABLE tool ADD COLUMN size int DEFAULT 7")
        execute("ALTER TABLE tool DROP COLUMN price")
        sync_as_migrator()
        tool()
        with as_of(before):
            assert execute("SELECT * FROM tool ORDER BY id") == [(1, "one", 7), (2, "two", 7)]
        execute("DROP TABLE tool")
        sync_as_migrator()
    assert execute("SELECT to_regclass('_bemi_past_public.tool')") == [(None,)]
