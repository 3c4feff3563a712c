"""Contexts without the values of a person."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.erasure.contexts import ContextEraser

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
VALUES = st.lists(st.text("abcd", min_size=4, max_size=6), min_size=1, max_size=3)


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@given(VALUES, st.dictionaries(TEXT, JSON | VALUES, max_size=4))
def test_no_value_is_left(values: list[str], context: dict[str, object]) -> None:
    given_text = json.dumps(context, ensure_ascii=False)
    left = ContextEraser(values).erased(given_text)
    found = json.loads(left)
    assert len(found) == len(context)
    # A value can come about only where one was taken out, and the marks are no letters.
    assert not any(value in text for text in texts(found) for value in values if "*" not in text)
    assert ContextEraser(values).erased(left) == left
    if not any(value in text for text in texts(context) for value in values):
        assert left == given_text


@pytest.mark.parametrize(
    ("context", "left"),
    [
        ({"user_id": "annie"}, {"user_id": "annie"}),
        ({"a": {"b": ["x annie y", 1]}}, {"a": {"b": ["x *** y", 1]}}),
        ({"to": {"annie": 1, "bob": [{"Annie annie": 2}]}}, {"to": {"***": 1, "bob": [{"Annie ***": 2}]}}),
        ({"annie": 1, "annieannie": 2, "***": 3}, {"***": 3, "*** 2": 1, "******": 2}),
        ({"user_id": 1, "4711001": 2}, {"user_id": 1, "***": 2}),
        ({"phone": 4711001}, {"phone": "***"}),
        ({"SQL": "UPDATE x SET a = 'annie' WHERE b = 2"}, {"SQL": "UPDATE x SET a = *** WHERE b = ***"}),
        ({"SQL": "SELECT 1"}, {"SQL": "SELECT 1"}),
        ({"_bemi_invalid": "annie?"}, {"_bemi_invalid": "***"}),
        ({"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}),
    ],
)
def test_who_and_how_stays(context: dict[str, object], left: dict[str, object]) -> None:
    eraser = ContextEraser(["annie", "4711001"])
    assert json.loads(eraser.erased(json.dumps(context))) == left


def test_the_connection_of_the_person_loses_its_address_and_that_of_others_only_what_is_theirs() -> None:
    connection = {"role": "annie", "application_name": "psql", "address": "192.0.2.1", "pid": 4711}
    context = json.dumps({"connection": connection})
    eraser = ContextEraser(["annie", "4711"])
    assert json.loads(eraser.erased(context)) == {"connection": connection}
    theirs = json.loads(eraser.erased(context, is_theirs=True))
    assert theirs == {"connection": {**connection, "address": "***"}}
    found = json.loads(ContextEraser(["192.0.2.1"]).erased(context))
    assert found == {"connection": {**connection, "address": "***"}}


def test_a_statement_that_wrote_the_values_has_no_literals() -> None:
    context = json.dumps({"SQL": "INSERT INTO x VALUES (E'\\x61nn')"})
    eraser = ContextEraser(["annie"])
    assert eraser.erased(context) == context
    assert "61nn" not in eraser.erased(context, ["INSERT INTO x VALUES (E'\\x61nn')"])


def test_the_address_of_somebody_goes_with_what_they_did() -> None:
    eraser = ContextEraser([])
    assert json.loads(eraser.erased('{"ip": "192.0.2.1", "user_id": 7}', is_theirs=True)) == {
        "ip": "***",
        "user_id": 7,
    }


def test_a_context_that_cannot_be_read_is_kept_only_without_values() -> None:
    deep = '{"a": ' + "[" * 100_000 + '"annie"' + "]" * 100_000 + "}"
    assert ContextEraser(["annie"]).erased(deep) == '{"_bemi_invalid": "***"}'
    assert ContextEraser(["bobby"]).erased(deep) == deep


@pytest.mark.parametrize(
    ("value", "statement"),
    [
        ("Liam O'Brien", "INSERT INTO mail VALUES ('Liam O''Brien')"),
        ("Liam O'Brien", r"INSERT INTO mail VALUES (E'Liam O\'Brien')"),
        ("Liam O'Brien", r"INSERT INTO mail VALUES (E'Liam O\x27Brien')"),
        ("Zoë Miller", r"INSERT INTO mail VALUES (E'Zo\xc3\xab Miller')"),
        ("Zoë Miller", r"INSERT INTO mail VALUES (E'Zo\303\253 Miller')"),
        ("Zoë Miller", r"""INSERT INTO mail VALUES ('{"name": "Zo\u00eb Miller"}')"""),
        ("Zoë Miller", r"INSERT INTO mail VALUES (U&'Zo!00eb Miller' UESCAPE '!')"),
        ("Ann 😀", r"""INSERT INTO mail VALUES ('{"name": "Ann \ud83d\ude00"}')"""),
        ("Ann 😀", r"INSERT INTO mail VALUES (E'Ann \U0001F600')"),
        ('Ann "Nan" Lee', r"""INSERT INTO mail VALUES ('{"name": "Ann \"Nan\" Lee"}')"""),
        ('Ann "Nan" Lee', r"""INSERT INTO mail VALUES (E'{"name": "Ann \\"Nan\\" Lee"}')"""),
        (r"CORP\ann", r"INSERT INTO mail VALUES (E'CORP\\ann')"),
        ("1 Road\nTown", r"INSERT INTO mail VALUES (E'1 Road\nTown')"),
        ("100% Ann", "INSERT INTO mail VALUES ('100%% Ann')"),
    ],
)
def test_a_value_is_found_in_sql_however_it_is_escaped(value: str, statement: str) -> None:
    left = json.loads(ContextEraser([value]).erased(json.dumps({"SQL": statement})))
    assert left["SQL"].startswith("INSERT INTO mail VALUES (***")
    assert json.loads(ContextEraser(["Bob O'Hara"]).erased(json.dumps({"SQL": "SELECT 'it''s'"}))) == {
        "SQL": "SELECT 'it''s'"
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=4, max_size=9))
def test_no_quoted_value_stays_in_sql(value: str) -> None:
    doubled, plain = value.replace("'", "''"), json.dumps(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    for literal in (f"'{doubled}'", f"E'{escaped}'", "'" + plain.replace("'", "''") + "'"):
        assert ContextEraser([value]).mentions(f"SELECT {literal}")


def test_findings_keep_their_shape() -> None:
    found = {"rows": 471100, "different": {"count": 1, "examples": ["471100 (rows)"]}}
    left = {"rows": 471100, "different": {"count": 1, "examples": ["*** (***)"]}}
    assert ContextEraser(["471100", "rows", "count"]).of_texts(found) == left
