"""Each schema has a schema of the past of its own, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import here, settled

NAMES = [
    ("a" * 56 + "_x", "a" * 56 + "_y"),
    ("ü" * 28 + "_1", "ü" * 28 + "_2"),
    ("#", "#a"),
    ("b" * 52, "b" * 53),
    # What the digest of the first one makes of it.
    ("long" + "c" * 59, None),
]


@pytest.fixture(params=NAMES, ids=[str(number) for number in range(len(NAMES))])
def schemas(request: pytest.FixtureRequest, drain: Drain, settings: Any) -> Iterator[tuple[str, str]]:
    one, two = request.param
    if two is None:
        ((past,),) = execute("SELECT _bemi.past_schema_v1(%s)::text", [one])
        two = past.removeprefix("_bemi_past_")
    settings.BEMI_INCLUDE = ["*.*"]
    for name in (one, two):
        execute(f'CREATE SCHEMA "{name}"')
        execute(f'CREATE TABLE "{name}".t1 (id int PRIMARY KEY, note text)')
    tracking.sync()
    for name in (one, two):
        execute(f'INSERT INTO "{name}".t1 VALUES (1, %s)', [f"in {name}"])  # noqa: S608
    with settled:
        yield one, two
    for name in (one, two):
        execute(f'DROP SCHEMA "{name}" CASCADE')
    settings.BEMI_INCLUDE = ["public.*"]
    tracking.sync()


def test_no_two_schemas_share_their_past(schemas: tuple[str, str], drain: Drain) -> None:
    before = here()
    for name in schemas:
        execute(f'UPDATE "{name}".t1 SET note = %s', ["later"])  # noqa: S608
    drain()
    with as_of(before):
        for name in schemas:
            assert execute(f'SELECT note FROM "{name}".t1') == [(f"in {name}",)]  # noqa: S608
    for name in schemas:
        execute(f'SET search_path = "{name}"')
        try:
            with as_of(before):
                assert execute("SELECT note FROM t1") == [(f"in {name}",)]
        finally:
            execute("SET search_path = DEFAULT")
    pasts = {execute("SELECT _bemi.past_schema_v1(%s)::text", [name])[0][0] for name in schemas}
    assert len(pasts) == 2 and all(len(past.encode()) <= 63 for past in pasts)
