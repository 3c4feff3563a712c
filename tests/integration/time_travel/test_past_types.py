# ruff: noqa: S608 - the SQL of tests
"""A value of the past is what it was, whatever its type, and whatever the session's settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bemi_django.time_travel import as_of
from tests.support import pg_types
from tests.support.extensions import extensions
from tests.support.laboratory import laboratory
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.travel import here, settled

#: What JSON has of these is not enough to make them again.
LOSSY = {"types.secret", "types.secret[]", "int2vector[]", "oidvector[]", "json[]", "jsonb[]"}
CHOSEN = [type_ for type_ in pg_types.TYPES if type_.name not in LOSSY]
KEYS = ["numeric", "timestamptz", "date", "boolean", "bytea", "char(8)", "citext", "types.mood", "interval"]


@pytest.fixture
def pipeline(transactional_db: None) -> Iterator[Pipeline]:
    with extensions(*pg_types.EXTENSIONS), laboratory("types.*") as opened:
        for statement in pg_types.SETUP.split(";\n"):
            if statement.strip():
                execute(statement)
        with settled:
            yield opened
        execute("SET search_path = DEFAULT")
        execute("RESET IntervalStyle")
        execute("RESET TimeZone")
        execute("DROP SCHEMA types CASCADE")


def test_every_type(pipeline: Pipeline) -> None:
    columns = ", ".join(f"c{number} {type_.name}" for number, type_ in enumerate(CHOSEN))
    execute(f"CREATE TABLE types.every (id int PRIMARY KEY, {columns})")
    texts = st.tuples(*(st.none() | type_.texts for type_ in CHOSEN))

    @examples(max_examples=8, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(texts)
    def check(values: tuple[str | None, ...]) -> None:
        execute("DELETE FROM types.every")
        places = ", ".join(f"%s::{type_.name}" for type_ in CHOSEN)
        execute(f"INSERT INTO types.every VALUES (1, {places})", values)
        ((expected,),) = execute("SELECT to_jsonb(t)::text FROM types.every t")
        moment = here()
        execute(f"UPDATE types.every SET {', '.join(f'c{n} = NULL' for n in range(len(CHOSEN)))}")
        pipeline.advance()
        with as_of(moment):
            assert execute("SELECT to_jsonb(t)::text FROM types.every t") == [(expected,)]

    check()


def in_our_time(text: str) -> bool:
    return "BC" not in text and "infinity" not in text


def test_keys_of_every_kind(pipeline: Pipeline) -> None:
    kinds = [type_ for name in KEYS for type_ in pg_types.SCALARS if type_.name == name]
    for number, kind in enumerate(kinds):
        execute(f"CREATE TABLE types.single{number} (key {kind.name} PRIMARY KEY, n int)")
        execute(f"CREATE TABLE types.double{number} (a int, key {kind.name}, n int, PRIMARY KEY (key, a))")
    seen: list[tuple[str, list[object]]] = []
    texts = [st.lists(kind.texts.filter(in_our_time), min_size=2, max_size=4, unique=True) for kind in kinds]

    @examples(max_examples=3, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(st.tuples(*texts))
    def write(keys: tuple[list[str], ...]) -> None:
        for number, kind in enumerate(kinds):
            for key in keys[number]:
                value = f"%s::{kind.name}"
                execute(f"INSERT INTO types.single{number} VALUES ({value}, 1) ON CONFLICT DO NOTHING", [key])
                execute(
                    f"INSERT INTO types.double{number} VALUES (1, {value}, 1) ON CONFLICT DO NOTHING", [key]
                )
        seen.append((here(), states()))
        for number, kind in enumerate(kinds):
            changed, gone, *_ = keys[number]
            for table in (f"single{number}", f"double{number}"):
                execute(f"UPDATE types.{table} SET n = n + 1 WHERE key = %s::{kind.name}", [changed])
                execute(f"DELETE FROM types.{table} WHERE key = %s::{kind.name}", [gone])

    def states() -> list[object]:
        return [
            execute(f"SELECT to_jsonb(t)::text FROM types.{table}{number} t ORDER BY 1")
            for table in ("single", "double")
            for number in range(len(kinds))
        ]

    write()
    pipeline.advance()
    for moment, state in seen:
        with as_of(moment):
            assert states() == state
    execute("SET TimeZone = 'Asia/Kolkata'")
    execute("SET IntervalStyle = 'iso_8601'")
    moment, state = seen[-1]
    with as_of(moment):
        assert [len(rows) for rows in states()] == [len(rows) for rows in state]  # type: ignore[arg-type]
