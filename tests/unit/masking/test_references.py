"""What is generated from masked columns is recognised by the expression."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.masking.references import generated, names_in
from bemi_django.masking.settings import rules_of


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("md5(password)", {"password"}),
        ('md5("Pass ""word""")', {'Pass "word"'}),
        ("((a)::text || ', it''s \"b\" '::text)", {"a"}),
        ("((a > b) AND is_fine(c))", {"a", "b", "and", "c"}),
        ("(A->>'b')", {"a"}),
        ("", set()),
    ],
)  # fmt: skip
def test_names_are_found_in_expressions(expression: str, names: set[str]) -> None:
    assert names_in(expression) - {""} == names


@pytest.mark.parametrize(
    ("mask", "expression", "is_found"),
    [
        ({}, "md5(password)", True),
        ({}, "md5(login)", False),
        ({}, "(login || token)", False),
        ({}, "upper(owner)", True),
        ({"people.login": "drop"}, "md5(login)", True),
        ({"people.seal": "keep"}, "md5(password)", False),
        ({"people.seal": "partial"}, "md5(password)", False),
        ({"people.data->a": "drop"}, "(data ->> 'a'::text)", True),
        ({"*.*->**->a": "drop"}, "(data ->> 'b'::text)", True),
        ({"*.*->**->a": "drop"}, "upper(login)", False),
        ({"*.*->**->a": "drop"}, "md5(password)", True),
    ],
)
def test_what_is_generated_from_masked_columns_is_found(
    mask: dict[str, Any], expression: str, is_found: bool
) -> None:
    """A word that is no column of the table, such as ``token``, says nothing."""
    rules = rules_of(mask, "0123456789abcdef")
    text, jsonb = 25, 3802
    columns = {**dict.fromkeys(("id", "login", "password", "owner", "seal"), text), "data": jsonb}
    found = generated(rules, [("public", "people")], columns, {"seal": expression}, {"owner"})
    assert found == ({"seal"} if is_found else set())
