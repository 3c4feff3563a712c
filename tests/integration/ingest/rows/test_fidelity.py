"""``before`` and ``after`` are what ``to_jsonb(row)`` gave at that moment, whatever types and settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bemi_django.models import Change
from tests.support import pg_types, roles
from tests.support.extensions import extensions
from tests.support.laboratory import laboratory, plain_settings
from tests.support.pg_types import Type
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute


def written(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    """The (operation, key, before, after, unavailable) of the changes since the last look."""
    return [
        (change.operation, change.key, change.before, change.after, change.unavailable)
        for change in pipeline.drain()
    ]


@pytest.fixture
def pipeline(transactional_db: None) -> Iterator[Pipeline]:
    # What the values look like must not depend on what a database or a role has for settings.
    name = connection.settings_dict["NAME"]
    odd = {
        "DateStyle": "SQL, DMY",
        "IntervalStyle": "iso_8601",
        "bytea_output": "escape",
        "client_encoding": "LATIN1",
        "extra_float_digits": "-5",
        "TimeZone": "Asia/Kolkata",
    }
    for setting, value in odd.items():
        execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    try:
        with extensions(*pg_types.EXTENSIONS), laboratory("types.*") as opened:
            for statement in pg_types.SETUP.split(";\n"):
                if statement.strip():
                    execute(statement)
            execute("GRANT USAGE ON SCHEMA types TO _bemi_compute")
            roles.grant("default")
            try:
                yield opened
            finally:
                execute("DROP SCHEMA types CASCADE")
    finally:
        for setting in odd:
            execute(f"ALTER DATABASE {name} RESET {setting}")


@pytest.fixture
def plain_session(pipeline: Pipeline) -> Iterator[None]:
    plain_settings()
    yield
    connection.close()


def types() -> list[Type]:
    try:
        execute("SELECT '<a/>'::xml")
    except Exception:
        return pg_types.TYPES
    return [*pg_types.TYPES, pg_types.XML]


def rendered(table: str) -> str:
    ((text,),) = execute(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608
    return str(text)


def test_one_column_of_every_type(pipeline: Pipeline, plain_session: None) -> None:
    chosen = types()
    columns = ", ".join(f"c{number} {type_.name}" for number, type_ in enumerate(chosen))
    execute(f"CREATE TABLE types.every (id int PRIMARY KEY, {columns})")
    pipeline.drain()

    @examples(
        max_examples=40, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
    )
    @given(st.tuples(*(st.none() | type_.texts for type_ in chosen)))
    def check(values: tuple[str | None, ...]) -> None:
        execute("DELETE FROM types.every")
        pipeline.drain()
        marks = ", ".join(f"%s::{type_.name}" for type_ in chosen)
        execute(f"INSERT INTO types.every VALUES (1, {marks})", values)  # noqa: S608
        expected = rendered("types.every")
        assert written(pipeline) == [("CREATE", "1", "{}", expected, None)]
        names = [f"c{number}" for number, type_ in enumerate(chosen) if type_.round_trips]
        others = [f"c{number}" for number, type_ in enumerate(chosen) if not type_.round_trips]
        row = f"ROW({', '.join(f'r.{name}' for name in names)})::text"
        ((there, back),) = execute(
            f"SELECT (SELECT {row} FROM types.every r), "  # noqa: S608
            f"(SELECT {row} FROM jsonb_populate_record(NULL::types.every, %s::jsonb - %s::text[]) r)",
            [expected, others],
        )
        assert there == back

    check()


def test_a_revert_brings_every_type_back_digit_for_digit(pipeline: Pipeline, plain_session: None) -> None:
    chosen = [type_ for type_ in types() if type_.round_trips or type_.name == "hstore"]
    columns = ", ".join(f"c{number} {type_.name}" for number, type_ in enumerate(chosen))
    marks = ", ".join(f"%s::{type_.name}" for type_ in chosen)
    nothing = ", ".join(f"c{number} = NULL" for number in range(len(chosen)))
    execute(f"CREATE TABLE types.kept (id int PRIMARY KEY, {columns})")

    @examples(
        max_examples=10, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
    )
    @given(st.tuples(*(type_.texts for type_ in chosen)))
    def check(values: tuple[str, ...]) -> None:
        execute("DELETE FROM types.kept")
        execute(f"INSERT INTO types.kept VALUES (1, {marks})", values)  # noqa: S608
        ((there, text),) = execute("SELECT t::text, to_jsonb(t)::text FROM types.kept t")
        execute(f"UPDATE types.kept SET {nothing}")  # noqa: S608
        execute("DELETE FROM types.kept")
        pipeline.drain()
        updated, deleted = Change.objects.order_by("-id")[:2][::-1]
        # In a session of the application's, whatever the database makes of dates and bytes.
        connection.close()
        assert deleted.revert().is_applied and updated.revert(on_conflict="stop").is_applied
        plain_settings()
        assert execute("SELECT t::text, to_jsonb(t)::text FROM types.kept t") == [(there, text)]
        pipeline.drain()

    check()


def test_tables_of_random_columns(pipeline: Pipeline, plain_session: None) -> None:
    @examples(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(types()), min_size=1, max_size=6))
        identifiers = st.text('ab"%é -', min_size=1, max_size=5)
        names = data.draw(st.lists(identifiers, min_size=len(chosen), max_size=len(chosen), unique=True))
        quoted = ['"' + name.replace('"', '""') + '"' for name in names]
        execute("DROP TABLE IF EXISTS types.random")
        pairs = ", ".join(f"{name} {type_.name}" for name, type_ in zip(quoted, chosen, strict=True))
        execute(f"CREATE TABLE types.random ({pairs})")
        pipeline.drain()

        def values() -> list[str | None]:
            return [data.draw(st.none() | type_.texts) for type_ in chosen]

        marks = [f"%s::{type_.name}" for type_ in chosen]
        execute(f"INSERT INTO types.random VALUES ({', '.join(marks)})", values())  # noqa: S608
        first = rendered("types.random")
        pairs = ", ".join(
            f"{name.replace('%', '%%')} = {mark}" for name, mark in zip(quoted, marks, strict=True)
        )
        execute(f"UPDATE types.random SET {pairs}", values())  # noqa: S608
        second = rendered("types.random")
        execute("DELETE FROM types.random")
        assert written(pipeline) == [
            ("CREATE", None, "{}", first, None),
            ("UPDATE", None, first, second, None),
            ("DELETE", None, second, "{}", None),
        ]

    check()


def test_generated_columns_are_there_although_the_stream_leaves_them_out(
    pipeline: Pipeline, plain_session: None
) -> None:
    execute(
        "CREATE TABLE types.made (a int PRIMARY KEY, "
        'total numeric GENERATED ALWAYS AS (a * 1.50) STORED, "u%" text, '
        "shout text GENERATED ALWAYS AS (upper(\"u%\") || '%') STORED)"
    )
    execute("INSERT INTO types.made VALUES (2, DEFAULT, 'x')")
    first = rendered("types.made")
    execute("UPDATE types.made SET a = 3")
    second = rendered("types.made")
    assert '"total": 4.50' in second
    assert written(pipeline) == [
        ("CREATE", "2", "{}", first, None),
        ("UPDATE", "3", first, second, None),
    ]


def test_values_larger_than_a_page_are_whole(pipeline: Pipeline, plain_session: None) -> None:
    execute("CREATE TABLE types.large (id int PRIMARY KEY, body text, doc jsonb, n int)")
    execute("ALTER TABLE types.large ALTER body SET STORAGE EXTERNAL")
    execute(
        "INSERT INTO types.large SELECT 1, string_agg(md5(i::text), ''), "
        "jsonb_object_agg(i, md5(i::text)), 0 FROM generate_series(1, 5000) i"
    )
    first = rendered("types.large")
    execute("UPDATE types.large SET n = 1")
    second = rendered("types.large")
    assert written(pipeline) == [
        ("CREATE", "1", "{}", first, None),
        ("UPDATE", "1", first, second, None),
    ]


def test_before_is_the_key_alone_where_the_server_does_not_give_more(
    pipeline: Pipeline, plain_session: None
) -> None:
    execute("CREATE TABLE types.thrifty (id int PRIMARY KEY, body text, n int)")
    execute("ALTER TABLE types.thrifty REPLICA IDENTITY DEFAULT, ALTER body SET STORAGE EXTERNAL")
    execute("INSERT INTO types.thrifty VALUES (1, repeat('x', 10000), 0)")
    first = rendered("types.thrifty")
    execute("UPDATE types.thrifty SET n = 1")
    execute("UPDATE types.thrifty SET id = 2")
    execute("DELETE FROM types.thrifty")
    known = {"before": ["body", "n"], "after": ["body"]}
    assert written(pipeline) == [
        ("CREATE", "1", "{}", first, None),
        ("UPDATE", "1", '{"id": 1}', '{"n": 1, "id": 1}', known),
        ("UPDATE", "2", '{"id": 1}', '{"n": 1, "id": 2}', known),
        ("DELETE", "2", '{"id": 2}', "{}", {"before": ["body", "n"]}),
    ]


def test_a_virtual_column_does_not_stop_the_application(pipeline: Pipeline, plain_session: None) -> None:
    if connection.pg_version < 180000:  # type: ignore[attr-defined]
        pytest.skip("virtual columns came with PostgreSQL 18")
    execute("CREATE TABLE types.seen (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2))")
    execute("CREATE TABLE types.unkeyed (a int, b int GENERATED ALWAYS AS (a * 2))")
    execute("CREATE TABLE types.later (id int PRIMARY KEY, a int)")
    execute("ALTER TABLE types.later ADD b int GENERATED ALWAYS AS (a * 2)")
    for table, values in (("seen", "1, 2"), ("unkeyed", "2"), ("later", "1, 2")):
        execute(f"INSERT INTO types.{table} VALUES ({values})")  # noqa: S608
        execute(f"UPDATE types.{table} SET a = 3")  # noqa: S608
    created = '{"a": 2, "b": 4, "id": 1}'
    unknown = {"before": ["a", "b"]}
    updated = ("UPDATE", "1", '{"id": 1}', '{"a": 3, "b": 6, "id": 1}', unknown)
    assert written(pipeline) == [("CREATE", "1", "{}", created, None), updated] * 2
