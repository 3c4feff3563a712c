"""``BEMI_TABLE``: which names it accepts, and how they are written in SQL and in Django."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from bemi_django import conf
from bemi_django.checks import check_settings
from bemi_django.models import Change
from bemi_django.schema import sql
from bemi_django.wire.table_name import TableName, of_db_table, parse, split

PARTS = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]), min_size=1, max_size=13)


@pytest.mark.parametrize(
    ("value", "schema", "name"),
    [
        ("changes", None, "changes"),
        ("audit.log", "audit", "log"),
        ("Audit.Log", "Audit", "Log"),
        ('we"ird', None, 'we"ird'),
        ('"we""ird"', None, 'we"ird'),
        ('"a.b"', None, "a.b"),
        ('"a.b"."c.d"', "a.b", "c.d"),
        ('audit."a.b"', "audit", "a.b"),
        ("über.ändérung", "über", "ändérung"),
        ("n" * 55, None, "n" * 55),
        ("ä" * 27, None, "ä" * 27),
        (f"{'s' * 63}.log", "s" * 63, "log"),
        ("100%.{0}", "100%", "{0}"),
        ("two words", None, "two words"),
    ],
)
def test_a_name_has_one_part_or_two(value: str, schema: str | None, name: str) -> None:
    assert parse(value) == (schema, name)


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("", "use 'name' or 'schema.name'"),
        (" ", "use 'name' or 'schema.name'"),
        (".", "use 'name' or 'schema.name'"),
        ("audit.", "use 'name' or 'schema.name'"),
        (".log", "use 'name' or 'schema.name'"),
        ("a.b.c", "use 'name' or 'schema.name'"),
        ('""', "use 'name' or 'schema.name'"),
        ('"a', "use 'name' or 'schema.name'"),
        ('"a"b', "use 'name' or 'schema.name'"),
        ("a\0b", "NUL"),
        ("a$b", "dollar"),
        ("n" * 56, "shorten 'n+' to 55 bytes"),
        ("ä" * 28, "shorten 'ä+' to 55 bytes"),
        (f"{'s' * 64}.log", "shorten 's+' to 63 bytes"),
        ("_bemi.log", "choose another schema"),
        ("_bemi_past_public.log", "choose another schema"),
        ("pg_catalog.log", "choose another schema"),
        ("information_schema.log", "choose another schema"),
        (None, "must be a string"),
        (("audit", "log"), "must be a string"),
    ],
)
def test_another_name_is_a_check_error_that_says_what_to_do(value: Any, advice: str) -> None:
    with override_settings(BEMI_TABLE=value):
        (found,) = [message for message in check_settings() if message.id == "bemi.E007"]
        assert found.is_serious() and found.hint is not None and "BEMI_TABLE" in found.hint
        # Where no check runs.
        for use in (conf.table, Change.objects.all, Change.objects.count):
            with pytest.raises(ImproperlyConfigured, match=f"BEMI_TABLE is .*{advice}"):
                use()


@given(st.none() | PARTS, PARTS)
def test_every_name_can_be_given_in_quotes(schema: str | None, name: str) -> None:
    given_name = TableName(schema, name)
    assert split(given_name.quoted) == given_name


@given(st.none() | PARTS, PARTS)
def test_django_writes_it_as_we_do(schema: str | None, name: str) -> None:
    given_name = TableName(schema, name)
    assert connection.ops.quote_name(given_name.db_table) % () == given_name.quoted
    assert given_name.in_query % () == given_name.quoted


@given(st.none() | st.text("$bemi'\\{}"), st.text("$bemi'\\{}"))
def test_no_name_ends_the_block_that_installs(schema: str | None, name: str) -> None:
    tags = sql.install("bemi", "schema_v1", log=TableName(None, "changes")).count("$bemi$")
    assert sql.install("bemi", "schema_v1", log=TableName(schema, name)).count("$bemi$") == tags


def test_the_default_is_the_name_without_quotes() -> None:
    assert conf.table() == (None, "changes")
    assert conf.db_table() == Change._meta.db_table == "changes"


@pytest.mark.parametrize(
    ("db_table", "schema", "name"),
    [
        ("shop_order", None, "shop_order"),
        ("odd Table", None, "odd Table"),
        ('"odd Table"', None, "odd Table"),
        ("a.b", None, "a.b"),
        ('audit"."log', "audit", "log"),
        ('"audit"."log"', "audit", "log"),
        ('"we""ird"."x"', 'we"ird', "x"),
        ("n" * 70, None, "n" * 63),
        ('s"."' + "ü" * 40, "s", "ü" * 31),
        # No table: PostgreSQL cannot read what Django makes of them.
        ('we"ird', None, 'we"ird'),
        ("", None, ""),
    ],
)
def test_the_table_of_a_model_is_the_one_that_postgresql_knows(
    db_table: str, schema: str | None, name: str
) -> None:
    assert of_db_table(db_table) == (schema, name)
