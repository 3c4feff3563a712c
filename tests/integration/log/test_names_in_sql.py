"""Nothing that a user can name is taken for what our SQL means: columns, types, tables, functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.conf import settings as configured
from django.db import connection, models
from django.test import Client
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from bemi_django.verification.verify import Options, verify
from tests.support import roles
from tests.support.audit import LIST
from tests.support.paths import ROOT
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.project_database import execute
from tests.support.travel import here, settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


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


class Project(NamedTuple):
    """Brings the log to the present, and shows pages to an administrator."""

    drain: Drain
    client: Client


@pytest.fixture
def project(drain: Drain, admin_client: Client, settings: Any) -> Iterator[Project]:
    settings.BEMI_SLOT = "bemi_test"
    yield Project(drain, admin_client)
    settings.BEMI_INCLUDE = ["public.*"]
    tracking.sync()


def a_life(project: Project, schema: str, table: str, named: dict[str, str]) -> None:
    """Insert, update and delete a row; blame and revert each; look back; compare with the log."""
    drain = project.drain
    configured.BEMI_INCLUDE = ["public.*", f"{schema}.*"]
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
    check_timeline(project.client, model)
    with Pipeline.of_project("bemi_test").worker():
        chosen = Options(only=[f"{schema}.{table}"])
        (result,) = verify(worker_config("bemi_test", role=roles.OWNER), chosen)
    assert str(result).endswith(": 1 rows, as in the log")


def check_timeline(client: Client, model: type[models.Model]) -> None:
    """The page shows the row and each of its changes."""
    apps.all_models["shop"]["named"] = model
    apps.clear_cache()
    try:
        response = client.get(f"{LIST}timeline/shop/named/1/")
        assert response.status_code == 200
        operations = [step.row.change.operation for step in response.context["steps"]]
        assert operations == ["CREATE", "DELETE", "UPDATE", "UPDATE", "CREATE"]
    finally:
        del apps.all_models["shop"]["named"]
        apps.clear_cache()


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@example("lab", "u", {"is_due": "int", "c1": "text", "c3": "jsonb", "_bemi_is_due": "text"})
@given(st.sampled_from(WORDS), st.sampled_from(WORDS), columns)
def random_lives(project: Project, schema: str, table: str, named: dict[str, str]) -> None:
    schema = (
        f"s {schema[:40]}" if schema.startswith(("pg_", "_bemi", "public", "information_schema")) else schema
    )
    # Another life may have been of the same names.
    execute("DELETE FROM changes")
    execute(f'CREATE SCHEMA "{schema}"')
    try:
        a_life(project, schema, table, named)
    finally:
        execute(f'DROP SCHEMA "{schema}" CASCADE')


def test_tables_whose_names_are_those_in_our_sql(project: Project) -> None:
    random_lives(project)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_column_is_not_a_row(kind: str, project: Project) -> None:
    execute("CREATE SCHEMA lab")
    try:
        a_life(project, "lab", "t", {"id": "int", "t": kind, "r": kind, "k": kind, "row": "jsonb"})
    finally:
        execute("DROP SCHEMA lab CASCADE")


def test_functions_of_others_are_not_ours(project: Project) -> None:
    """An exact match of the type wins over the catalog's function for any type."""
    configured.BEMI_INCLUDE = ["public.*", "lab.*"]
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
        project.drain()
        execute("UPDATE lab.t SET t = 'b'")
        project.drain()
        changes = Change.objects.filter(schema="lab", table="t")
        assert changes.updated().revert().is_applied
        project.drain()
        assert changes.created().revert(on_conflict="force").is_applied
        assert execute("SELECT count(*) FROM lab.t") == [(0,)]
    finally:
        execute("DROP SCHEMA lab CASCADE")
