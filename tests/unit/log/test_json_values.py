"""Values that are asked for, as JSON."""

from __future__ import annotations

import json

import pytest

from bemi_django.log.values.json_values import contained


@pytest.mark.parametrize(
    ("leading", "rest", "expected"),
    [
        (1, 0, "1.000E+131073"),
        (10005, 0, "1.000E+131077"),
        (10005, 1, "1.001E+131077"),
        (10015, 0, "1.002E+131077"),
        (10015, -1, "1.001E+131077"),
        (99995, 0, "1.000E+131078"),
    ],
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_that_postgresql_cannot_hold_is_rounded(
    sign: str, leading: int, rest: int, expected: str
) -> None:
    value = leading * 10**131_073 + rest
    assert json.loads(contained({"x": -value if sign else value})) == {"x": sign + expected}
