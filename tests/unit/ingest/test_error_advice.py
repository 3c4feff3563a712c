"""What is said of errors that pass as soon as somebody does something about them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg2
import pytest

from bemi_django.exceptions import LogBehind
from bemi_django.ingest.error_advice import _right, names_in, of_connection, told
from bemi_django.ingest.libpq import error_of
from bemi_django.schema import sql

#: What somebody meets who runs a server for years, and a word of the advice.
PASSING = {
    "25006": "default_transaction_read_only",
    "53100": "free space",
    "53200": "no memory",
    "53300": "max_connections",
    "55000": "ALLOW_CONNECTIONS",
    "57P01": "is running",
    "57P03": "is running",
    "58030": "server's log",
    "XX001": "amcheck",
    "XX002": "amcheck",
}


@pytest.mark.parametrize(("state", "words"), PASSING.items())
def test_an_error_that_passes_says_who_ends_it(state: str, words: str) -> None:
    error = error_of(state, "nicht m\u00f6glich\nDETAIL: (7, secret)")
    assert told(error).startswith("nicht m\u00f6glich: ") and words in told(error)
    assert "secret" not in told(error)
    assert of_connection(error, {}) is None


def test_other_errors_are_told_as_they_are() -> None:
    assert told(error_of("40001", "could not serialize access")) == "could not serialize access"
    assert told(LogBehind("wait")) == "wait"
    assert "renew" in told(psycopg2.OperationalError("SSL error: certificate verify failed"))
    assert told(error_of("55P03", 'the relation "certificate"')) == 'the relation "certificate"'


def test_a_table_of_the_project_is_none_of_ours() -> None:
    assert names_in("permission denied for table customers", sql.names()) == []


def test_a_service_that_the_server_asks_may_answer_again() -> None:
    assert (
        of_connection(error_of("28000", 'RADIUS-Authentifizierung f\u00fcr "ann" fehlgeschlagen'), {}) is None
    )
    assert of_connection(error_of("28000", "Rolle darf sich nicht einloggen"), {}) is not None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("FATAL:  password authentication failed", "correct USER"),
        ("FATAL:  no such database: shop", "correct NAME"),
        ('first: Connection refused\nsecond: FATAL:  database "shop" does not exist', "correct NAME"),
        ("FATAL:  query_wait_timeout", ""),
    ],
)
def test_a_pooler_is_understood_by_its_words(said: str, words: str) -> None:
    for error in (error_of("08P01", said), psycopg2.OperationalError(said)):
        refused = of_connection(error, {})
        assert (words in str(refused)) if words else refused is None


@pytest.mark.parametrize(
    "text",
    ["permission denied for table lanes", "\u30c6\u30fc\u30d6\u30eblanes\u3078\u306e", "\u00bblanes\u00ab"],
)
def test_a_name_is_found_in_any_language(text: str) -> None:
    assert names_in(text, ["lanes", "lane", "plane"]) == ["lanes"]
    assert names_in("lanes_2, my_lanes, 2lanes", ["lanes"]) == []


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("function partition_v1", "EXECUTE ON FUNCTION _bemi.partition_v1"),
        ("table audit_v2", "INSERT ON audit_v2"),
        ("table shop_v1", None),
        ("schema _bemi", "USAGE ON SCHEMA _bemi"),
        ("table omitted_changes", "SELECT, INSERT, UPDATE ON _bemi.omitted_changes"),
    ],
)
def test_a_right_is_that_on_the_object_which_is_denied(name: str, right: str | None) -> None:
    cursor = SimpleNamespace(connection=SimpleNamespace(log="public.audit_v2"))
    error = cast(Any, SimpleNamespace(cursor=cursor))
    assert _right(error, f"permission denied for {name}") == right
