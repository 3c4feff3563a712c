"""The digest that the worker computes is that of the row in the log, whatever the values are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django import bound_context
from bemi_django.schema import tracking
from tests.integration.seals.conftest import whole
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["1.50", "1E3", "-0", "-0.0", "0e5", "1e-7", "10000000000000000000000.5", "1.10e-3"]),
)


class Verbatim(str):
    """A number as it is written."""


def written(value: Any) -> str:
    """Return JSON text with numbers as they are written, and keys in their order."""
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, dict):
        return "{" + " ,".join(f"{json.dumps(key)} :{written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",  ".join(map(written, value)) + "]"
    return json.dumps(value)


JSON = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS.map(Verbatim),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
).map(written)
ROWS = st.fixed_dictionaries(
    {
        "long_name": TEXTS | st.none(),
        "j": JSON | st.just("null") | st.none(),
        "jb": JSON | st.just("null") | st.none(),
        "f": st.floats().map(str) | st.none(),
        "r": st.floats(width=32).map(str) | st.none(),
        "d": st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.sampled_from([None, "NaN"]),
        "tz": st.datetimes().map(lambda moment: f"{moment.isoformat()}+00") | st.just("infinity"),
        "texts": st.lists(TEXTS | st.none(), max_size=3) | st.none(),
        "floats": st.lists(st.floats().map(str) | st.none(), max_size=3) | st.none(),
        "pair": st.none() | st.tuples(TEXTS, st.floats()),
    }
)
NAMES = ("long_name", "j", "jb", "f", "r", "d", "tz", "texts", "floats", "pair")
_TABLE = """
CREATE TYPE sealed_pair AS (longer text, f float8);
CREATE TABLE sealed_values (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, long_name text, j json, jb jsonb, f float8, r float4,
    d numeric, tz timestamptz, texts text[], floats float8[], pair sealed_pair, "%% \"\"odd" text DEFAULT 'x')
"""
_INSERT = """
INSERT INTO sealed_values (long_name, j, jb, f, r, d, tz, texts, floats, pair)
VALUES (%s, %s::json, %s::jsonb, %s::text::float8, %s::text::float4, %s::text::numeric, %s::text::timestamptz,
        %s::text[], %s::text[]::float8[], {})
"""


@pytest.fixture
def values(sealing: Pipeline) -> Iterator[Pipeline]:
    execute(_TABLE, [])
    tracking.sync()
    yield sealing
    execute("DROP TABLE sealed_values; DROP TYPE sealed_pair")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(ROWS, min_size=1, max_size=8), context=JSON)
def test_any_row_has_the_digest_that_was_computed_for_it(
    values: Pipeline, rows: list[dict[str, Any]], context: str
) -> None:
    for table in ("changes", "sealed_values", "_bemi.links WHERE kind <> 'begin'"):
        execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
    execute("UPDATE _bemi.chains c SET (number, hash) = (SELECT l.number, l.hash FROM _bemi.links l)")
    with connection.cursor() as cursor:
        for row in rows:
            *simple, pair = (row[name] for name in NAMES)
            made = "NULL" if pair is None else "ROW(%s, %s::text::float8)::sealed_pair"
            cursor.execute(_INSERT.format(made), [*simple, *map(str, pair or ())])
        cursor.execute("UPDATE sealed_values SET long_name = 'y' WHERE id % 2 = 0")
        with transaction.atomic():
            # What somebody sends who does not use the package.
            message = f'{{"z": 1, "a": {context}}}'
            cursor.execute("SELECT pg_logical_emit_message(true, '_bemi', %s)", [message])
            cursor.execute("DELETE FROM sealed_values WHERE id % 3 = 0")
        with bound_context(tags=json.loads(context) if "." not in context else None):
            cursor.execute("UPDATE sealed_values SET r = NULL")
    values.advance()
    assert whole().changes
