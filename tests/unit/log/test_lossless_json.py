from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from bemi_django.log.lossless_json import Number, dumps, hstore, loads, spans, with_value

numbers = st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:f}")
KEYS = st.sampled_from(["a", "b", 'b"a', '"a":', "a\\", ".a", "ü"])
digits = st.integers(1, 9).map(lambda digit: str(digit) * 5000)


@given(numbers | digits)
def test_a_number_is_printed_as_it_was_written(number: str) -> None:
    assert dumps(loads(f'{{"a": [{number}, null]}}')) == f'{{"a": [{number}, null]}}'


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_all_else_is_json(value: Any) -> None:
    assert json.loads(dumps(value)) == loads(json.dumps(value)) == value


nested = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=4),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(KEYS, parts, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(KEYS, nested, max_size=4), st.sampled_from([orjson.dumps, dumps]))
@settings(max_examples=50, deadline=None)
def test_the_values_of_an_object_are_found_in_its_text(values: dict[str, Any], write: Any) -> None:
    written = write(values)
    text = written if isinstance(written, str) else written.decode()
    found = {key: loads(text[begin:end]) for key, (begin, end) in spans(text).items()}
    assert found == values
    for key in ("a", "b"):
        given: list[str] = []

        def put(value: str, given: list[str] = given) -> str:
            given.append(value)
            return '"new"'

        changed = with_value(text, key, put)
        assert loads(changed) == values | ({key: "new"} if key in values else {})
        assert list(map(loads, given)) == ([values[key]] if key in values else [])


def test_numbers_that_are_the_same_float_are_told_apart() -> None:
    one, other = loads("[12345678901234567.8901, 12345678901234567.8902]")
    assert float(one) == float(other) and one != other
    assert (str(one), f"{one!r}", json.dumps(one)) == (
        *["12345678901234567.8901"] * 2,
        "1.2345678901234568e+16",
    )


def test_a_number_is_a_float_to_everybody_else() -> None:
    number = loads("1.50")
    assert number == 1.5 == loads("1.5") and number + 1 == 2.5 and hash(number) == hash(1.5)
    assert number != 2 and number != "1.50"


def test_a_number_survives_pickling_and_copying() -> None:
    number = Number("1.10")
    assert dumps([pickle.loads(pickle.dumps(number)), copy.deepcopy(number)]) == "[1.10, 1.10]"


def test_decimals_are_printed_as_numbers() -> None:
    assert dumps({"price": Decimal("1E+2"), "more": (1, "é")}) == '{"price": 100, "more": [1, "é"]}'


def test_an_hstore_is_spelled_as_its_type_reads_it() -> None:
    assert hstore([{'q"\\': "x,y", "n": None}, None]) == [r'"q\"\\"=>"x,y", "n"=>NULL', None]
