"""Rows are found with the operators of their keys, whoever created operators in a schema of the path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from bemi_django.log.blame import blame_row
from bemi_django.log.live.live_rows import find_row
from bemi_django.log.live.row_session import row_session
from bemi_django.models import Change
from tests.support.extensions import extensions
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.roles import administrator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.administrator]

#: Types of keys, with two values.
TYPES = {
    "varchar": ("a", "b"),
    "varchar(9)": ("a", "b"),
    "text[]": ("{a}", "{b}"),
    "int4range": ("[1,3)", "[3,5)"),
    "cidr": ("10.0.0.0/8", "11.0.0.0/8"),
    "lab.word": ("a", "b"),
    "lab.mood": ("calm", "angry"),
    "lab.pair": ("(1,a)", "(1,b)"),
    "lab.loose": ("A", "B"),
    "public.citext": ("A", "B"),
    "text": ("a", "b"),
    "int8": ("1", "2"),
    "numeric": ("1.50", "2"),
    "bpchar(3)": ("a", "b"),
}
#: PostgreSQL has an operator for exactly these types, and its own schema is the first one of the path.
SAFE = ("text", "int8", "numeric", "bpchar(3)")
TABLES = """
CREATE DOMAIN lab.word AS text;
CREATE DOMAIN lab.loose AS public.citext;
CREATE TYPE lab.mood AS ENUM ('calm', 'angry');
CREATE TYPE lab.pair AS (a int, b text);
CREATE TABLE lab.parent (k {type} PRIMARY KEY, note text, u {type} UNIQUE);
CREATE UNIQUE INDEX ON lab.parent (u) WHERE note = 'x';
CREATE UNIQUE INDEX ON lab.parent ((coalesce(u, k)));
CREATE TABLE lab.child (n int PRIMARY KEY, k {type} REFERENCES lab.parent ON DELETE CASCADE);
"""
IMPOSTOR = """
CREATE FUNCTION {schema}.same({type}, {type}) RETURNS bool LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO before.caught VALUES (current_query()); RETURN false; END$$;
CREATE OPERATOR {schema}.= (LEFTARG = {type}, RIGHTARG = {type}, FUNCTION = {schema}.same);
"""


@pytest.fixture
def citext(pipeline: Pipeline) -> Iterator[None]:
    with extensions("citext"):
        yield


@pytest.fixture
def impostors() -> Iterator[Any]:
    """Create operators for a type in schemas of the path."""
    with administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute("CREATE SCHEMA before; CREATE TABLE before.caught (query text)")
        cursor.execute("GRANT USAGE ON SCHEMA before TO PUBLIC; GRANT ALL ON before.caught TO PUBLIC")

        def create(type_: str) -> None:
            base = type_.partition("(")[0]
            cursor.execute(IMPOSTOR.format(schema="before", type=base))
            if base != "public.citext":
                # In the schema of an extension of another owner, too.
                cursor.execute(IMPOSTOR.format(schema="public", type=base))
            execute("SET search_path = before, public")

        yield create
        connection.close()
        cursor.execute("""
            SET client_min_messages = error;
            DROP SCHEMA before CASCADE;
            DO $$
            DECLARE dropped text;
            BEGIN
                FOR dropped IN SELECT oid::regprocedure::text FROM pg_proc
                    WHERE proname = 'same' AND pronamespace = 'public'::regnamespace LOOP
                    EXECUTE 'DROP FUNCTION ' || dropped || ' CASCADE';
                END LOOP;
            END$$;
        """)


def rows() -> list[Any]:
    return execute(
        "SELECT 'parent', to_jsonb(t)::text FROM lab.parent t "
        "UNION ALL SELECT 'child', to_jsonb(t)::text FROM lab.child t ORDER BY 1, 2"
    )


@pytest.mark.parametrize("type_", TYPES)
def test_rows_are_found_with_the_operators_of_their_keys(
    type_: str, citext: None, impostors: Any, pipeline: Pipeline
) -> None:
    one, other = TYPES[type_]
    execute(TABLES.format(type=type_))
    pipeline.drain()
    impostors(type_)
    execute("INSERT INTO lab.parent VALUES (%s, 'x', %s), (%s, 'x', NULL)", [one, one, other])
    execute("INSERT INTO lab.child VALUES (1, %s), (2, %s)", [one, one])
    pipeline.drain()
    created = {change.pk for change in Change.objects.filter(schema="lab")}
    execute("UPDATE lab.child SET n = n + 10; UPDATE lab.parent SET note = 'y' WHERE u IS NULL")
    before = rows()
    pipeline.drain()
    changed = Change.objects.filter(schema="lab").exclude(pk__in=created)
    assert changed.count() == 3
    execute("DELETE FROM lab.parent WHERE to_jsonb(k) = (SELECT to_jsonb(k) FROM lab.child LIMIT 1)")
    pipeline.drain()
    deleted = Change.objects.filter(schema="lab").deleted()
    assert deleted.count() == 3
    assert deleted.filter(table="parent").revert(dry_run=True).conflicts == ()
    assert deleted.filter(table="parent").revert().is_applied
    assert rows() == before
    plan = changed.revert(dry_run=True)
    assert [conflict.kind for conflict in plan.conflicts] == []
    assert changed.revert().is_applied
    # Deleting the parents again takes along the children.
    forced = Change.objects.filter(pk__in=created, table="parent").revert(on_conflict="force")
    assert forced.is_applied and rows() == []
    assert execute("SELECT * FROM before.caught") == []
    execute("INSERT INTO lab.parent VALUES (%s, 'x', NULL)", [one])
    pipeline.drain()
    last = Change.objects.filter(table="parent").desc()[0]
    assert blame_row(last.place, last.primary_key or "")["note"].change == last
    with row_session("default") as cursor:
        assert find_row(cursor, ("lab", "parent"), {"k": last.after["k"]}) == last.after
        assert find_row(cursor, ("lab", "parent"), {"note": "x", "k": last.after["k"]}) == last.after
    assert execute("SELECT * FROM before.caught") == []
    # What they are good for.
    execute("SELECT k = k FROM lab.parent")
    assert len(execute("SELECT * FROM before.caught")) == (0 if type_ in SAFE else 1)


def test_rows_are_found_by_a_domain_over_an_enum(pipeline: Pipeline) -> None:
    """Not even the server has an operator for it."""
    execute("CREATE TYPE lab.mood AS ENUM ('calm', 'angry'); CREATE DOMAIN lab.felt AS lab.mood")
    execute("CREATE DOMAIN lab.feeling AS lab.felt")
    execute("CREATE TABLE lab.parent (k lab.feeling PRIMARY KEY, note text, u lab.feeling UNIQUE)")
    execute("INSERT INTO lab.parent VALUES ('calm', 'x', 'angry'), ('angry', 'y', NULL)")
    pipeline.drain()
    execute("UPDATE lab.parent SET note = 'z', k = 'calm', u = NULL WHERE k::lab.mood = 'calm'")
    execute("DELETE FROM lab.parent WHERE note = 'y'")
    pipeline.drain()
    changed = Change.objects.filter(schema="lab").exclude(operation="CREATE")
    blamed = blame_row(changed[0].place, "calm")
    assert blamed["note"].change == changed[0]
    assert changed.revert().is_applied
    pipeline.drain()
    found = execute("SELECT k::text, note, u::text FROM lab.parent ORDER BY note")
    assert found == [("calm", "x", "angry"), ("angry", "y", None)]
