# ruff: noqa: S608 - the SQL of tests
"""Changes that were written before a column got another type are found and reverted as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from bemi_django.exceptions import RevertConflict
from bemi_django.log.blame import blame_row
from bemi_django.log.places import Place
from bemi_django.models import Change
from tests.support.laboratory import experiment, laboratory
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

#: A type, two values of it, the type that the column gets, and how.
ALTERED = [
    ("text", "1", "2", "int", "word::int"),
    ("int", "1", "2", "text", "word::text"),
    ("int", "1", "2", "numeric(8, 3)", None),
    ("numeric(8, 2)", "1.10", "2.20", "numeric(9, 4)", None),
    ("float8", "0.1", "1e16", "numeric", None),
    ("timestamp", "2026-01-01 10:00", "2026-01-02 10:00:01.5", "timestamptz", None),
    ("date", "2026-01-01", "2026-01-02", "timestamp", None),
    (
        "text",
        "4F2C1D52-8DDC-4B64-BBA1-5DDD2D1C4E1B",
        "0F2C1D52-8DDC-4B64-BBA1-5DDD2D1C4E1B",
        "uuid",
        "word::uuid",
    ),
    ("text", "a", "b", "char(4)", None),
    ("json", '{"b": 1, "a": 2}', '{"b": 2, "a": 2}', "jsonb", None),
]


@pytest.fixture(scope="module")
def opened(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[Pipeline]:
    with django_db_blocker.unblock(), laboratory("lab*.*") as pipeline:  # type: ignore[attr-defined]
        yield pipeline


@pytest.fixture
def pipeline(opened: Pipeline) -> Iterator[Pipeline]:
    with experiment(opened):
        yield opened
        # The next test begins with an empty log.
        opened.advance()


def place() -> Place:
    return Place(str(connection.settings_dict["NAME"]), "lab", "t")


@pytest.mark.parametrize(("kind", "first", "second", "other", "using"), ALTERED)
def test_a_column_with_another_type(
    kind: str, first: str, second: str, other: str, using: str | None, pipeline: Pipeline
) -> None:
    execute(f"CREATE TABLE lab.t (id int PRIMARY KEY, word {kind}, n int)")
    execute("INSERT INTO lab.t VALUES (1, %s, 1)", [first])
    execute("UPDATE lab.t SET word = %s", [second])
    execute(f"ALTER TABLE lab.t ALTER word TYPE {other}" + (f" USING {using}" if using else ""))
    execute("UPDATE lab.t SET n = 2")
    pipeline.advance()
    (gave, later) = Change.objects.filter(schema="lab").updated()
    lines = blame_row(place(), "1")
    assert [lines[column].change for column in ("word", "n")] == [gave, later]
    assert not any(line.is_pending for line in lines.values())
    gave.revert()
    text = f"%s::{kind}::{other}" if kind != "json" else "%s::jsonb"
    ((word, n),) = execute(f"SELECT word = {text}, n FROM lab.t", [first])
    assert (word, n) == (True, 2)
    pipeline.advance()
    # The change of the revert and those before have values of two types.
    Change.objects.filter(schema="lab").revert()
    assert execute("SELECT count(*) FROM lab.t") == [(0,)]


def test_what_others_have_changed_stays_a_conflict(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, word text, other text)")
    execute("INSERT INTO lab.t VALUES (1, '1', 'x'), (2, '1', 'x')")
    execute("UPDATE lab.t SET word = '2', other = 'y'")
    execute("ALTER TABLE lab.t ALTER word TYPE int USING word::int * 10, ALTER other TYPE char(3)")
    execute("UPDATE lab.t SET word = 3 WHERE id = 2")
    pipeline.advance()
    with pytest.raises(RevertConflict) as refused:
        Change.objects.filter(schema="lab").updated()[:2].revert()
    assert [conflict.columns for conflict in refused.value.plan.conflicts] == [("word",), ("word",)]
    # DDL has computed the value.
    lines = blame_row(place(), "2")
    assert lines["word"].change == Change.objects.filter(schema="lab").updated().last()
    assert (lines["other"].value, lines["other"].previous) == ("y  ", "x")
