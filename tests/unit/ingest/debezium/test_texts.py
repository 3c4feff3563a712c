from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bemi_django.ingest.debezium.printing.column_types import UNKNOWN, ColumnType
from bemi_django.ingest.debezium.printing.texts import Texts
from bemi_django.ingest.debezium.reading.record import PLACEHOLDER, Modes, WrittenNumber
from bemi_django.ingest.protocol.messages import UNAVAILABLE
from bemi_django.ingest.rows.values import Array, encoder

_TEXTS = Texts(lambda query, value: f"asked for {value}")
_NUMERIC_12_2 = ColumnType("numeric", (12 << 16 | 2) + 4)


def _schema(name: str) -> dict[str, Any]:
    return {"name": f"io.debezium.time.{name}"}


def printed(value: Any, name: str, schema: dict[str, Any] | None = None, modifier: int = -1) -> str | None:
    text = _TEXTS.text(value, ColumnType(name, modifier), schema or {})
    return None if text is None else text.decode()


@settings(max_examples=50)
@given(st.integers(-(10**12), 10**12))
def test_a_precise_decimal_has_the_scale_of_its_column(unscaled: int) -> None:
    data = unscaled.to_bytes(8, "big", signed=True)
    text = _TEXTS.text(b64encode(data).decode(), _NUMERIC_12_2, {})
    assert text is not None and Decimal(text.decode()) == Decimal(unscaled) / 100
    assert text[-3:-2] == b"."


@pytest.mark.parametrize(
    ("value", "name", "schema", "text"),
    [
        (None, "int4", None, None),
        (True, "bool", None, "t"),
        (1 << 80, "int8", None, str(1 << 80)),
        (WrittenNumber("1.0"), "float8", None, "1"),
        (WrittenNumber("1E10"), "float8", None, "10000000000"),
        (WrittenNumber("1e-7"), "float4", None, "1e-07"),
        ("NaN", "float8", None, "NaN"),
        (WrittenNumber("-Infinity"), "float8", None, "-Infinity"),
        ("NAN", "numeric", None, "NaN"),
        ({"scale": 1, "value": "Dw=="}, "numeric", None, "1.5"),
        ({"scale": -2, "value": "AQ=="}, "numeric", None, "100"),
        ("AQ==", "numeric", {"type": "bytes", "parameters": {"scale": "3"}}, "0.001"),
        ("1E+3", "numeric", {"type": "string"}, "1000"),
        (WrittenNumber("12.30"), "numeric", {"type": "double"}, "12.30"),
        (1_704_164_645_678, "timestamp", _schema("Timestamp"), "2024-01-02 03:04:05.678"),
        (
            1_704_164_645_678_901_234,
            "timestamp",
            {"name": "io.debezium.time.NanoTimestamp"},
            "2024-01-02 03:04:05.678901",
        ),
        (
            1_704_164_645_678,
            "timestamp",
            {"name": "org.apache.kafka.connect.data.Timestamp"},
            "2024-01-02 03:04:05.678",
        ),
        ("2024-01-02T03:04:05.500000Z", "timestamptz", None, "2024-01-02 03:04:05.5+00"),
        ("-0043-03-15T12:00:00Z", "timestamptz", None, "0044-03-15 12:00:00+00 BC"),
        ("infinity", "timestamptz", None, "infinity"),
        (3_723_500, "time", _schema("Time"), "01:02:03.5"),
        ("AP8=", "bytea", None, "\\x00ff"),
        ("BQ==", "varbit", None, "101"),
        (True, "bit", None, "1"),
        ('{"a":"1","b":null}', "hstore", None, '"a"=>"1", "b"=>NULL'),
        ({'q"': "\\"}, "hstore", None, r'"q\""=>"\\"'),
        ({"x": WrittenNumber("1.5"), "y": 2, "wkb": ""}, "point", None, "(1.5,2)"),
        ({"wkb": "AQE=", "srid": 4326}, "geometry", None, "0101"),
        ({"a": [WrittenNumber("1.10"), 1 << 70]}, "jsonb", None, f'{{"a":[1.10,{1 << 70}]}}'),
        (
            [WrittenNumber(one) for one in ("1.0", "-0.1", "1.2345679E8", "1.0E-5", "100000.0", "-0.0")],
            "vector",
            None,
            "[1,-0.1,1.2345679e+08,1e-05,100000,-0]",
        ),
        (
            {"dimensions": 5, "vector": {"1": WrittenNumber("1.5"), "3": 2}},
            "sparsevec",
            None,
            "{1:1.5,3:2}/5",
        ),
        ({"dimensions": 5, "vector": [[1, WrittenNumber("1E6")]]}, "sparsevec", None, "{1:1e+06}/5"),
        ("+y4=", "numeric", {"type": "bytes", "parameters": {"scale": "2"}}, "-12.34"),
        ("POSITIVE_INFINITY", "numeric", {"type": "string"}, "Infinity"),
        (60, "interval", None, "asked for 60 microseconds"),
        ("P1D", "interval", None, "asked for P1D"),
        ("BNI=", "money", None, "asked for 12.34"),
        ("+y4=", "money", None, "asked for -12.34"),
    ],
)
def test_values_are_printed(value: Any, name: str, schema: dict[str, Any] | None, text: str | None) -> None:
    assert printed(value, name, schema) == text


def test_a_negative_scale_is_a_large_one_to_the_connector() -> None:
    type_ = ColumnType("numeric", 4 + (5 << 16) + 2046)
    sent = b64encode((12300 * 10**2046).to_bytes(900, "big", signed=True)).decode()
    for value in (sent, f"12300.{'0' * 2046}"):
        assert _TEXTS.text(value, type_, {}) == b"12300"


def test_text_of_types_that_the_connector_does_not_know_comes_as_bytes() -> None:
    texts, hexadecimal = _TEXTS, Texts(lambda query, value: value, Modes(binaries="hex"))
    for name, said in {"pg_lsn": "0/16B3748", "cube": "(1, 2)", "box": "(1.0,2.0),(0.0,0.0)"}.items():
        type_, data = ColumnType(name, is_opaque=True), said.encode()
        printed = f"asked for {said}" if name == "box" else said
        assert texts.text(b64encode(data).decode(), type_, {"type": "bytes"}) == printed.encode()
        assert hexadecimal.text(data.hex(), type_, {}) == data
        # One that knows it, or that is no base64.
        assert texts.text(said, type_, {}) == printed.encode()
    percents = ColumnType("_percent", -1, ColumnType("numeric", (5 << 16 | 2) + 4, is_opaque=True))
    assert texts.text([b64encode(b"1.50").decode(), None], percents, {}) == b"{1.50,NULL}"


def test_a_type_whose_values_are_never_sent_is_unavailable() -> None:
    for type_ in (ColumnType("name"), ColumnType("_bit", -1, ColumnType("bit", 5))):
        assert _TEXTS.text(None, type_, {}) is UNAVAILABLE
    assert _TEXTS.text(None, ColumnType("_name", -1, ColumnType("name")), {}) is None
    with pytest.raises(ValueError):
        _TEXTS.text(["{}"], ColumnType("int2vector", -1, ColumnType("int2")), {})


def test_the_precision_of_a_column_tells_milliseconds_from_microseconds() -> None:
    assert printed(1500, "timestamp", modifier=3) == "1970-01-01 00:00:01.5"
    assert printed(1500, "timestamp", modifier=6) == "1970-01-01 00:00:00.0015"
    assert printed("BQ==", "bit", modifier=5) == "00101"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("x", "bool"),
        ("1.5", "int4"),
        (True, "int4"),
        ({}, "float8"),
        (WrittenNumber("1e999"), "float8"),
        ("%%", "numeric"),
        ("AQ==", "numeric"),
        ({"scale": 1 << 40, "value": "AQ=="}, "numeric"),
        ("2024-99-01", "date"),
        (-1, "time"),
        ("A", "bytea"),
        ([1], "bytea"),
        ("[]", "hstore"),
        ({}, "geometry"),
        ({"x": 1.5, "y": 0.5, "radius": 2.5}, "circle"),
        ({"wkb": "AQE=", "extensions": {"type": "box"}}, "box"),
        ([[1, 2]], "pair"),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(value: Any, name: str) -> None:
    with pytest.raises(ValueError):
        printed(value, name)


def _placeholders(data: bytes, name: str, uuid: str) -> list[Any]:
    encoded = [b64encode(data).decode(), urlsafe_b64encode(data).decode(), data.hex()]
    in_java = [byte - 256 if byte > 127 else byte for byte in data]
    return [
        name,
        *encoded,
        {name: name},
        f'{{"{name}":"{name}"}}',
        in_java,
        [name],
        [uuid],
        *([one] for one in encoded),
    ]


@pytest.mark.parametrize(
    ("placeholder", "forms"),
    [
        (
            PLACEHOLDER,
            _placeholders(PLACEHOLDER.encode(), PLACEHOLDER, "b68a35a7-17ad-35b3-af2a-ae46edb4545a"),
        ),
        (
            "\u00a1n/a?",
            _placeholders("\u00a1n/a?".encode(), "\u00a1n/a?", "ad9faa75-5f26-3bf9-8119-d54308ed0da9"),
        ),
        ("hex:616263", _placeholders(b"abc", "abc", "90015098-3cd2-3fb0-9696-3f7d28e17f72")),
    ],
)
def test_an_unchanged_toast_value_is_unavailable(placeholder: str, forms: list[Any]) -> None:
    texts = Texts(lambda query, value: value, Modes(placeholder=placeholder))
    for value in forms:
        assert texts.text(value, ColumnType("text"), {}) is UNAVAILABLE
    for value in ("other", ["other"], {"other": "other"}, [1, 2], 1, WrittenNumber("1.5")):
        assert texts.text(value, UNKNOWN, {}) is not UNAVAILABLE


@settings(max_examples=50)
@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_an_array_of_texts_is_read_as_the_server_prints_it(values: list[str | None]) -> None:
    text = _TEXTS.text(values, ColumnType("_text", -1, ColumnType("text")), {})
    assert text is not None
    if text is not UNAVAILABLE:
        rendered = encoder(1009, {1009: Array(25, ",")}, lambda type_, value: value)(text)
        assert orjson.loads(rendered) == values


def test_times_of_the_day_are_microseconds_in_one_mode() -> None:
    texts = Texts(lambda query, value: value, Modes(times="adaptive_time_microseconds"))
    for modifier in (0, 3, 6, -1):
        assert texts.text(1_500_000, ColumnType("time", modifier), {}) == b"00:00:01.5"
    array = ColumnType("_time", 0, ColumnType("time", 0))
    assert texts.text([1_000_000], array, {}) == b"{00:00:01}"
    # Of other times, it depends on the column.
    assert texts.text(1500, ColumnType("timestamp", 3), {}) == b"1970-01-01 00:00:01.5"


def test_modes_of_the_connector() -> None:
    texts = Texts(lambda query, value: value, Modes("string", "hex"))
    assert (
        Texts(lambda query, value: value, Modes("double")).text("Infinity", _NUMERIC_12_2, {}) == b"Infinity"
    )
    assert texts.text("1234", _NUMERIC_12_2, {}) == b"1234"
    assert texts.text("00ff", ColumnType("bytea"), {}) == b"\\x00ff"


@pytest.mark.parametrize(
    ("mode", "value"), [("connect", 1500), ("microseconds", 1_500_000), ("nanoseconds", 1_500_000_000)]
)
def test_times_of_all_columns_have_one_unit_in_some_modes(mode: str, value: int) -> None:
    texts = Texts(lambda query, value: value, Modes(times=mode))
    for modifier in (3, 6, -1):
        assert texts.text(value, ColumnType("timestamp", modifier), {}) == b"1970-01-01 00:00:01.5"
        assert texts.text(value, ColumnType("time", modifier), {}) == b"00:00:01.5"
    array = ColumnType("_timestamp", 6, ColumnType("timestamp", 6))
    assert texts.text([value], array, {}) == b'{"1970-01-01 00:00:01.5"}'
    # What a schema says goes before it.
    schema = {"name": "io.debezium.time.MicroTimestamp"}
    assert texts.text(1_500_000, ColumnType("timestamp", 3), schema) == b"1970-01-01 00:00:01.5"
    assert texts.text("AQ==", _NUMERIC_12_2, {}) == b"0.01"
