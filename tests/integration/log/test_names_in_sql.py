"""Nothing that a user can name is taken for what our SQL means: columns, types, tables, functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.db import connection, models
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from tests.support.paths import ROOT
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import here, settled

TYPES = {
    "text": "'x'",
    "jsonb": '\'{"id": 999, "name": "evil", "number": 7, "row": {"id": 1}}\'',
    "json": "'[1]'",
    "float8": "1.5",
    "int": "7",
    "time": "'12:00'",
    "tid": "'(0,1)'",
    "oid": "1",
    "int[]": "'{1}'",
    "regclass": "'pg_class'",
}


def words() -> list[str]:
    """The words of the SQL in this package, and names that PostgreSQL has a use for."""
    found = {
        "t",
        "r",
        "k",
        "wanted",
        "found",
        "value",
        "number",
        "row",
        "to_jsonb",
        "jsonb",
        "text",
        "old",
        "new",
    }
    for path in (ROOT / "bemi_django").rglob("*"):
        if (
            path.suffix == ".sql"
            or path.suffix == ".py"
            and path.parts[-2] in ("live", "revert", "verification")
        ):
            found |= set(re.findall(r"\b[a-z_]\w{0,40}\b", Path(path).read_text()))
    # Columns of the system cannot be made.
    return sorted(found - {"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})


WORDS = words()
columns = st.dictionaries(st.sampled_from(WORDS), st.sampled_from(sorted(TYPES)), min_size=1, max_size=6)
quote = connection.ops.quote_name


@pytest.fixture
def everything(drain: Drain, settings: Any) -> Iterator[Drain]:
    settings.BEMI_SLOT = "bemi_test"
    yield drain
    settings.BEMI_INCLUDE = ["public.*"]
    tracking.sync()


def a_life(drain: Drain, schema: str, table: str, named: dict[str, str]) -> None:
    """Insert, update and delete a row; blame and revert each; look back."""
    project.BEMI_INCLUDE = ["public.*", f"{schema}.*"]
    name = f'"{schema}"."{table}"'
    key = next(iter(named))
    others = [column for column in named if column != key]
    definitions = [
        f'"{key}" int PRIMARY KEY',
        *(f'"{column}" {named[column]}' for column in others),
        "_plain text",
    ]
    execute(f"CREATE TABLE {name} ({', '.join(definitions)})")
    tracking.sync()
    listed = ", ".join(f'"{column}"' for column in [key, *others, "_plain"])
    values = ", ".join(["1", *(TYPES[named[column]] for column in others), "'a'"])
    execute(f"INSERT INTO {name} ({listed}) VALUES ({values})")  # noqa: S608
    first = here()
    drain()
    original = execute(f"SELECT to_jsonb(x.*)::text FROM {name} x")  # noqa: S608

    with isolate_apps("tests.shop"):

        class Meta:
            app_label = "shop"
            db_table = f'{schema}"."{table}'

        fields = {
            "pk_": models.IntegerField(primary_key=True, db_column=key),
            "plain": models.TextField(db_column="_plain"),
        }
        model = type("Named", (models.Model,), {"__module__": __name__, "Meta": Meta, **fields})
    execute(f"UPDATE {name} SET _plain = 'b'")  # noqa: S608
    drain()
    instance = model(pk=1)
    instance._state.db = "default"
    blamed = blame(instance)
    assert set(blamed) == {*named, "_plain"}
    assert blamed["_plain"].previous == "a" and blamed[key].value == 1
    changes = Change.objects.filter(schema=schema, table=table)
    assert changes.updated().revert().is_applied
    assert execute(f"SELECT to_jsonb(x.*)::text FROM {name} x") == original  # noqa: S608
    execute(f"DELETE FROM {name}")  # noqa: S608
    drain()
    assert changes.deleted().revert().is_applied
    assert execute(f"SELECT to_jsonb(x.*)::text FROM {name} x") == original  # noqa: S608
    drain()
    with settled, as_of(first):
        assert execute(f"SELECT _plain FROM {name}") == [("a",)]  # noqa: S608


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(WORDS), st.sampled_from(WORDS), columns)
def random_lives(drain: Drain, schema: str, table: str, named: dict[str, str]) -> None:
    schema = (
        f"s {schema[:40]}" if schema.startswith(("pg_", "_bemi", "public", "information_schema")) else schema
    )
    execute(f'CREATE SCHEMA "{schema}"')
    try:
        a_life(drain, schema, table, named)
    finally:
        execute(f'DROP SCHEMA "{schema}" CASCADE')


def test_tables_whose_names_are_those_in_our_sql(everything: Drain) -> None:
    random_lives(everything)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_column_is_not_a_row(kind: str, everything: Drain) -> None:
    execute("CREATE SCHEMA lab")
    try:
        a_life(everything, "lab", "t", {"id": "int", "t": kind, "r": kind, "k": kind, "row": "jsonb"})
    finally:
        execute("DROP SCHEMA lab CASCADE")


def test_functions_of_others_are_not_ours(everything: Drain) -> None:
    """An exact match of the type wins over the catalog's function for any type."""
    project.BEMI_INCLUDE = ["public.*", "lab.*"]
    execute("CREATE SCHEMA lab")
    try:
        execute("CREATE TABLE lab.t (id int PRIMARY KEY, t text, row jsonb)")
        tracking.sync()
        for name in ("to_jsonb", "jsonb_populate_record"):
            rest = ", jsonb" if name == "jsonb_populate_record" else ""
            returned = "lab.t" if rest else "jsonb"
            execute(
                f"CREATE FUNCTION public.{name}(lab.t{rest}) RETURNS {returned} LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE 'captured'; END $$"
            )
        execute("INSERT INTO lab.t VALUES (1, 'a', '{}')")
        everything()
        execute("UPDATE lab.t SET t = 'b'")
        everything()
        changes = Change.objects.filter(schema="lab", table="t")
        assert changes.updated().revert().is_applied
        everything()
        assert changes.created().revert(on_conflict="force").is_applied
        assert execute("SELECT count(*) FROM lab.t") == [(0,)]
    finally:
        execute("DROP SCHEMA lab CASCADE")
