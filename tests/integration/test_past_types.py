# ruff: noqa: S608 - the SQL of tests
"""A value of the past is what it was, whatever its type, and whatever the session's settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bemi_django.time_travel import as_of
from tests.integration import pg_types
from tests.integration.pipeline import Pipeline, execute, laboratory
from tests.integration.travel import here, settled

#: What JSON has of these is not enough to make them again.
LOSSY = {"types.secret", "types.secret[]", "hstore[]", "int2vector[]", "oidvector[]", "json[]", "jsonb[]"}
CHOSEN = [type_ for type_ in pg_types.TYPES if type_.name not in LOSSY]
KEYS = ["numeric", "timestamptz", "date", "boolean", "bytea", "char(8)", "citext", "types.mood", "interval"]


@pytest.fixture
def pipeline(transactional_db: None) -> Iterator[Pipeline]:
    with laboratory("types.*") as opened:
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

    @examples(max_examples=15, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(texts)
    def check(values: tuple[str | None, ...]) -> None:
        execute("DELETE FROM types.every")
        places = ", ".join(f"%s::{type_.name}" for type_ in CHOSEN)
        execute(f"INSERT INTO types.every VALUES (1, {places})", values)
        ((expected,),) = execute("SELECT to_jsonb(t)::text FROM types.every t")
        moment = here()
        execute(f"UPDATE types.every SET {', '.join(f'c{n} = NULL' for n in range(len(CHOSEN)))}")
        pipeline.catch_up()
        with as_of(moment):
            assert execute("SELECT to_jsonb(t)::text FROM types.every t") == [(expected,)]

    check()


def in_our_time(text: str) -> bool:
    return "BC" not in text and "infinity" not in text


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_kind(name: str, pipeline: Pipeline) -> None:
    (type_,) = [type_ for type_ in pg_types.SCALARS if type_.name == name]
    execute(f"CREATE TABLE types.single (key {name} PRIMARY KEY, n int)")
    execute(f"CREATE TABLE types.double (a int, key {name}, n int, PRIMARY KEY (key, a))")
    seen: list[tuple[str, list[object], list[object]]] = []

    @examples(max_examples=3, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(st.lists(type_.texts.filter(in_our_time), min_size=2, max_size=4, unique=True))
    def write(texts: list[str]) -> None:
        for text in texts:
            execute(f"INSERT INTO types.single VALUES (%s::{name}, 1) ON CONFLICT DO NOTHING", [text])
            execute(f"INSERT INTO types.double VALUES (1, %s::{name}, 1) ON CONFLICT DO NOTHING", [text])
        seen.append((here(), *states()))
        for table in ("single", "double"):
            execute(f"UPDATE types.{table} SET n = n + 1 WHERE key = %s::{name}", [texts[0]])
            execute(f"DELETE FROM types.{table} WHERE key = %s::{name}", [texts[1]])

    def states() -> tuple[list[object], list[object]]:
        return execute("SELECT key::text, n FROM types.single ORDER BY 1"), execute(
            "SELECT a, key::text, n FROM types.double ORDER BY 2"
        )

    write()
    pipeline.catch_up()
    for moment, single, double in seen:
        with as_of(moment):
            assert states() == (single, double)
    execute("SET TimeZone = 'Asia/Kolkata'")
    execute("SET IntervalStyle = 'iso_8601'")
    for moment, single, _ in seen:
        with as_of(moment):
            assert execute("SELECT count(*) FROM types.single") == [(len(single),)]
