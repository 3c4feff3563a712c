"""Values to JSON; the printers of this module are a second, independent account of PostgreSQL's output."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.rows.canonical_json import canonical
from bemi_django.ingest.rows.values import Array, Castable, Composite, Domain, Encoder, Plain, Type
from bemi_django.ingest.rows.values import encoder as encoder_of

OIDS = {
    "bool": 16,
    "int8": 20,
    "int2vector": 22,
    "int4": 23,
    "text": 25,
    "oid": 26,
    "oidvector": 30,
    "json": 114,
    "box": 603,
    "float8": 701,
    "_int4": 1007,
    "_text": 1009,
    "_box": 1020,
    "timestamp": 1114,
    "timestamptz": 1184,
    "numeric": 1700,
    "jsonb": 3802,
    "user-defined": 50_000,
    "pair": 50_001,
    "_pair": 50_002,
    "single": 50_003,
    "empty": 50_004,
    "positive": 50_005,
    "hstore": 50_006,
}
TYPES: dict[int, Type] = {
    OIDS["_int4"]: Array(OIDS["int4"], ","),
    OIDS["_text"]: Array(OIDS["text"], ","),
    OIDS["_box"]: Array(OIDS["box"], ";"),
    OIDS["pair"]: Composite((('first "1"', OIDS["text"]), ("more", OIDS["_text"]), ("last", OIDS["text"]))),
    OIDS["_pair"]: Array(OIDS["pair"], ","),
    OIDS["single"]: Composite((("a", OIDS["int4"]),)),
    OIDS["empty"]: Composite(()),
    OIDS["positive"]: Domain(OIDS["int4"]),
    OIDS["hstore"]: Castable(50_006, 60_006),
    OIDS["user-defined"]: Plain(),
}


def encoder(name: str) -> Encoder:
    return encoder_of(OIDS[name], TYPES, lambda type_, value: b"%d(%s)" % (type_.function, value))


@pytest.mark.parametrize(
    ("name", "printed", "expected"),
    [
        ("bool", "t", "true"),
        ("bool", "f", "false"),
        ("int8", "-9223372036854775808", "-9223372036854775808"),
        ("numeric", "1.10", "1.10"),
        ("numeric", "NaN", '"NaN"'),
        ("float8", "1e+300", "1e+300"),
        ("float8", "-Infinity", '"-Infinity"'),
        ("json", '{"a" : 1.0}', '{"a" : 1.0}'),
        ("jsonb", "null", "null"),
        ("text", "t", '"t"'),
        ("text", "", '""'),
        ("text", 'a"b\\c\td', '"a\\"b\\\\c\\td"'),
        ("timestamp", "2026-01-02 03:04:05.6", '"2026-01-02T03:04:05.6"'),
        ("timestamp", "0044-03-15 00:00:00 BC", '"0044-03-15T00:00:00 BC"'),
        ("timestamp", "-infinity", '"-infinity"'),
        ("timestamptz", "2026-01-02 03:04:05+00", '"2026-01-02T03:04:05+00:00"'),
        ("timestamptz", "0044-03-15 00:00:00+00 BC", '"0044-03-15T00:00:00+00:00 BC"'),
        ("timestamptz", "infinity", '"infinity"'),
        ("int2vector", "1 2", "[1,2]"),
        ("int2vector", "", "[]"),
        ("oidvector", "1 2", '["1","2"]'),
        ("oid", "42", '"42"'),
        ("user-defined", "{1}", '"{1}"'),
    ],
)
def test_a_scalar_is_rendered_by_its_type(name: str, printed: str, expected: str) -> None:
    assert encoder(name)(printed.encode()).decode() == expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("{}", []),
        ("{1,NULL}", [1, None]),
        ("{{1,2},{3,4}}", [[1, 2], [3, 4]]),
        ("[0:1]={1,2}", [1, 2]),
        ("[1:1][-2:-1]={{1,2}}", [[1, 2]]),
    ],
)
def test_an_array_of_any_shape_is_a_json_array(printed: str, expected: object) -> None:
    assert json.loads(encoder("_int4")(printed.encode())) == expected


def test_the_delimiter_is_that_of_the_type() -> None:
    assert json.loads(encoder("_box")(b"{(1,2),(3,4);(5,6),(7,8)}")) == ["(1,2),(3,4)", "(5,6),(7,8)"]


def test_only_the_word_null_without_quotes_is_null() -> None:
    assert json.loads(encoder("_text")(b'{NULL,"NULL"}')) == [None, "NULL"]


def printed_array(value: list[Any]) -> str:
    """What array_out() prints: everything quoted that need be, and some that need not."""
    return "{" + ",".join(printed_element(item) for item in value) + "}"


def printed_element(item: str | list[Any] | None) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return printed_array(item)
    plain = item and item.isascii() and item.isalnum() and item.upper() != "NULL"
    return item if plain else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'


def printed_record(fields: list[Any]) -> str:
    """What record_out() prints: quotes and backslashes doubled inside quotes."""
    return "(" + ",".join(printed_field(field) for field in fields) + ")"


def printed_field(field: str | list[Any] | None) -> str:
    if field is None:
        return ""
    text = field if isinstance(field, str) else printed_array(field)
    plain = text and text.isascii() and text.isalnum()
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def nullable(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | alphabet


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text('a,{}()"\\ N')
elements = nullable(texts)
arrays = st.lists(elements) | st.lists(st.lists(elements, min_size=2, max_size=2), min_size=1)
records = st.tuples(elements, arrays, elements)


@given(arrays)
def test_any_array_of_texts_comes_back(value: list[Any]) -> None:
    assert json.loads(encoder("_text")(printed_array(value).encode())) == value


@given(records)
def test_any_composite_comes_back(fields: tuple[Any, ...]) -> None:
    found = json.loads(encoder("pair")(printed_record(list(fields)).encode()))
    assert found == dict(zip(('first "1"', "more", "last"), fields, strict=True))


@given(st.lists(st.none() | records))
def test_any_array_of_composites_comes_back(value: list[Any]) -> None:
    printed = printed_array([item and printed_record(list(item)) for item in value])
    found = json.loads(encoder("_pair")(printed.encode()))
    assert found == [item and dict(zip(('first "1"', "more", "last"), item, strict=True)) for item in value]


def test_a_composite_of_one_null_is_not_empty() -> None:
    assert json.loads(encoder("single")(b"()")) == {"a": None}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_comes_back(value: str) -> None:
    assert json.loads(encoder("text")(value.encode())) == value


def test_a_composite_without_fields_is_empty() -> None:
    assert encoder("empty")(b"()") == b"{}"


def test_a_composite_of_another_number_of_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        encoder("pair")(b"(1,2)")


@pytest.mark.parametrize(("vector", "element", "expected"), [(22, 21, b"[1,-2]"), (30, 26, b'["1","-2"]')])
def test_a_vector_is_an_array_that_is_printed_in_another_way(
    vector: int, element: int, expected: bytes
) -> None:
    encode = encoder_of(vector, {vector: Array(element, ",")}, lambda type_, value: b"")
    assert encode(b"1 -2") == expected and encode(b"") == b"[]"


def test_a_domain_is_rendered_as_its_base() -> None:
    assert encoder("positive")(b"7") == b"7"


def test_a_type_with_a_cast_is_rendered_by_the_server() -> None:
    assert encoder("hstore")(b"a") == b"60006(a)"


def test_a_value_of_a_type_that_is_gone_is_not_guessed() -> None:
    gone = encoder_of(99_999, TYPES, lambda type_, value: value)
    with pytest.raises(LookupError, match="the type no longer exists"):
        gone(b"{1,2}")


@pytest.mark.parametrize(
    ("rendered", "printed"),
    [
        ("[1,null,true]", "[1, null, true]"),
        ('{"bb":1,"a":{"é":[]},"B":2}', '{"B": 2, "a": {"é": []}, "bb": 1}'),
        ('"a\\"b\\n\\u001f"', '"a\\"b\\n\\u001f"'),
        ("1.50", "1.50"),
        ("1e+21", "1000000000000000000000"),
        ("1.5e-07", "0.00000015"),
        ("-0.0", "0.0"),
        ("9007199254740993", "9007199254740993"),
        pytest.param("7" * 5_000, "7" * 5_000, id="more digits than Python reads"),
        pytest.param("-1e131071", "-1" + "0" * 131_071, id="the largest numeric"),
        ("-0", "0"),
        ('{"a":1,"\\u0061":2}', '{"a": 2}'),
        ('["{},:[", {"]": "\\\\"}]', '["{},:[", {"]": "\\\\"}]'),
        pytest.param("[" * 5_000 + "]" * 5_000, "[" * 5_000 + "]" * 5_000, id="deep"),
    ],
)
def test_json_is_printed_as_the_server_prints_jsonb(rendered: str, printed: str) -> None:
    assert canonical(rendered.encode()).decode() == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[1]]",
        "[}",
        '{"a"}',
        "{0 0, 1 1}",
        "1 2",
        "NaN",
        "1e999999999999999999999",
        "1e9999999",
        "x",
        '"',
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        canonical(text.encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
)


@given(json_values)
def test_printing_json_keeps_its_value_and_is_stable(value: Any) -> None:
    text = json.dumps(value).encode()
    printed = canonical(text)
    exact, expected = (json.loads(part, parse_int=Decimal, parse_float=Decimal) for part in (printed, text))
    assert exact == expected
    assert canonical(printed) == printed


def test_types_may_be_nested_deeply() -> None:
    last = 55_000
    domains: dict[int, Type] = {number: Domain(number + 1) for number in range(50_000, last)}
    domains[last] = Domain(OIDS["int4"])
    assert encoder_of(50_000, domains, lambda type_, value: value)(b"7") == b"7"
    rows: dict[int, Type] = {number: Composite((("a", number + 1),)) for number in domains}
    assert encoder_of(50_000, rows, lambda type_, value: value)(b"()") == b'{"a":null}'


def test_types_may_have_others_in_them_many_times() -> None:
    # Without the encoders of before, each level would double what is made.
    rows: dict[int, Type] = {
        number: Composite((("a", number + 1), ("b", number + 1))) for number in range(50_000, 50_090)
    }
    rows[50_090] = Composite(tuple((f"c{number}", 50_091 + number) for number in range(9)))
    # Each of these is at many depths.
    rows |= {
        50_091 + level: Composite(
            tuple((f"d{number}", 50_092 + level + number % 90) for number in range(1_600))
        )
        for level in range(200)
    }
    for oid in (50_000, 50_091):
        encode = encoder_of(oid, rows, lambda type_, value: value)
        fields = rows[oid].fields  # type: ignore[union-attr]
        printed = b"(" + b"," * (len(fields) - 1) + b")"
        assert json.loads(encode(printed)) == dict.fromkeys(name for name, _ in fields)


def test_beyond_a_limit_nested_types_are_unavailable() -> None:
    arrays: dict[int, Type] = {number: Array(number + 1, ",") for number in range(50_000, 50_101)}
    arrays[50_101] = Array(OIDS["int4"], ",")
    with pytest.raises(LookupError, match="nested too deeply"):
        encoder_of(50_000, arrays, lambda type_, value: value)(b"{1}")


@pytest.mark.parametrize("value", [b"(" + b'"' * 1_001, b'("' + b"\\" * 1_001, b'"' * 1_001], ids=repr)
def test_a_value_of_another_type_is_refused_in_linear_time(value: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        encoder("pair")(value)


@pytest.mark.parametrize("name", ["_text", "pair"])
def test_bytes_that_are_no_text_are_refused_beside_escapes(name: str) -> None:
    printed = rb'{"\\\xff"}'.replace(rb"\xff", b"\xff") if name == "_text" else b'("\\\\\xff",,)'
    with pytest.raises(ValueError):
        encoder(name)(printed)
