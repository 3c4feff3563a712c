"""A project with a schema for each tenant, as django-tenants makes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.support import roles
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE, until

pytest.importorskip("django_tenants", reason="django-tenants 4 needs Django 5.2 or later")
# The project makes its event triggers and its slot.
pytestmark = pytest.mark.administrator

NAME = "bemi_tenants"
EXCLUDED = ("django_migrations", "django_session")
# A session of the process that has just ended may still hold the slot.
_IS_FREE = "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = %s AND active"
_DROP_SLOT = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s
"""


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """What ``tests.tenants.scenario`` has found."""
    roles.drop_database(NAME)
    with roles.administrator() as cursor:
        cursor.execute(f"CREATE DATABASE {NAME}")
    try:
        yield _run()
    finally:
        with roles.administrator() as cursor:
            until(lambda: _answer(cursor, _IS_FREE))
            cursor.execute(_DROP_SLOT, [NAME])
        roles.drop_database(NAME)


def _run() -> dict[str, Any]:
    url = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{NAME}"))
    settings = {"DATABASE_URL": url, "SLOT": NAME, "DJANGO_SETTINGS_MODULE": "tests.tenants.settings"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.tenants.scenario"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _answer(cursor: Any, query: str) -> Any:
    cursor.execute(query, [NAME])
    return cursor.fetchone()[0]


def test_the_tables_of_new_tenants_are_tracked_by_default(found: dict[str, Any]) -> None:
    tracked = found["tracked"]
    assert {"public.customers_customer", "red.notes_note", "blue.notes_note"} <= set(tracked["yes"])
    assert {name.partition(".")[2] for name in tracked["no"]} == set(EXCLUDED)
    # The worker is not running, and before PostgreSQL 15 everybody may create objects in "public".
    assert set(tracked["warnings"]) <= {"bemi.W009", "bemi.W011"}
    assert found["sync"].startswith("nothing to do\n")


def test_there_is_one_log_which_no_tenant_makes_or_takes_away(found: dict[str, Any]) -> None:
    assert found["tracked"]["logs"] == ["public"]
    assert found["zero"]["before"] == found["zero"]["after"] != [0]


@pytest.mark.parametrize("tenant", ["red", "blue"])
def test_a_history_is_of_the_current_tenant(found: dict[str, Any], tenant: str) -> None:
    written = found["written"][tenant]
    note = f"CREATE {tenant}.notes_note 2"
    # The first note is written by a migration, when the tenant is created.
    first, brief = f"CREATE {tenant}.notes_note 1", f"{tenant}.notes_note 3"
    assert written["model"] == [first, note, f"CREATE {brief}", f"DELETE {brief}"]
    assert written["object"] == [note]
    assert written["related"] == [note, f"CREATE {tenant}.notes_tag 1"]
    assert written["by"] == [tenant]


def test_a_table_of_tenants_has_no_history_outside_of_them(found: dict[str, Any]) -> None:
    assert found["written"]["in public"] == []


def test_a_handler_hears_all_tenants_and_runs_in_the_one_of_the_change(found: dict[str, Any]) -> None:
    assert found["written"]["heard"] == [
        ["red", "CREATE", "Welcome", "red"],
        ["blue", "CREATE", "Welcome", "blue"],
        *(
            [tenant, *heard, tenant]
            for tenant in ("red", "blue")
            for heard in (("CREATE", f"Note of {tenant}"), ("CREATE", "None"), ("DELETE", "None"))
        ),
    ]


def test_the_past_is_that_of_the_current_tenant(found: dict[str, Any]) -> None:
    red, blue = ["Note of red", "Welcome"], ["Note of blue", "Welcome"]
    assert found["past"] == {
        "list": red,
        "server-side cursor": red,
        "queryset": red,
        "shared": ["blue", "public", "red"],
        "other tenant": blue,
        "back": red,
        "write": "refused",
        "afterwards": ["changed", "changed"],
        "entered in public": blue,
    }


def test_a_revert_writes_to_the_tenant_of_the_change(found: dict[str, Any]) -> None:
    assert found["undone"]["blamed"] == "UPDATE red.notes_note 2"
    assert (found["undone"]["red"], found["undone"]["blue"]) == (["Note of red"], ["changed"])


def test_an_object_of_another_tenant_is_not_given_out_as_one_of_this(found: dict[str, Any]) -> None:
    assert found["undone"]["object of another tenant"] == (
        "no model of the current tenant has the table red.notes_note: use schema_context('red')"
    )


@pytest.mark.parametrize(("tenant", "other"), [("red", "blue"), ("blue", "red")])
def test_the_site_of_a_tenant_shows_its_own_changes(found: dict[str, Any], tenant: str, other: str) -> None:
    pages = found["pages"][tenant]
    for name in ("list", "activity", "activity of user 1"):
        assert f"Secret of {tenant}" in pages[name]["phrases"], name
    assert not {
        (name, f"Secret of {other}") for name in pages if f"Secret of {other}" in pages[name]["phrases"]
    }
    assert pages["change of red"]["status"] == (200 if tenant == "red" else 404)
    assert ("Secret of red" in pages["timeline"]["phrases"]) == (tenant == "red")


def test_the_public_site_shows_all_and_takes_no_user_for_one_of_its_own(found: dict[str, Any]) -> None:
    pages = found["pages"]["public"]
    assert found["pages"]["context"]["tenant"] == "red"
    assert {"Secret of red", "Secret of blue", "user 1 of red"} <= set(pages["list"]["phrases"])
    assert "user 1 of red" in pages["change of red"]["phrases"]
    assert not {"Secret of red", "user 1 of red"} & set(pages["activity of user 1"]["phrases"])


def test_a_table_of_a_tenant_that_hides_the_log_is_reported(found: dict[str, Any]) -> None:
    assert "bemi.E009" in found["hidden"]


def test_the_examples_of_the_page_work(found: dict[str, Any]) -> None:
    assert found["page"] == {
        "examples": 3,
        "settings": [],
        "engine": "django_tenants.postgresql_backend",
        "indexed": [["blue", "To be found"]],
    }


def test_the_log_outlives_a_tenant(found: dict[str, Any]) -> None:
    dropped = found["dropped"]
    assert dropped["before"] == dropped["after"] > 0
    assert dropped["tracked"] == []
    assert dropped["sync"].startswith("nothing to do\n")


def test_a_tenant_uninstalls_for_the_whole_database(found: dict[str, Any]) -> None:
    assert found["uninstalled"] == {"triggers": [], "migrations": []}
