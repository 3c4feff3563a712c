"""Values and contexts of sealed rows are rendered so that jsonb gives them back as they are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.canonical_json import canonical, canonical_context, canonical_encoder

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "encode", [values.text, values.boolean, values.number, values.timestamp, values.timestamptz]
)
def test_most_encoders_are_used_as_they_are(encode: values.Encoder) -> None:
    assert canonical_encoder(encode, is_unicode=False) is encode


def test_jsonb_of_a_source_in_another_encoding_is_sorted_again() -> None:
    assert canonical_encoder(None, is_unicode=True) is None
    assert canonical_encoder(values.raw, is_unicode=True) is values.raw
    encode = canonical_encoder(values.raw, is_unicode=False)
    assert encode is not None and encode(b'{"bb": 1, "a": 2}') == b'{"a": 2, "bb": 1}'


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (b"1.5", b"1.5"),
        (b"NaN", b'"NaN"'),
        (b"-Infinity", b'"-Infinity"'),
        (b"1e+20", b"100000000000000000000"),
        (b"1.5e-07", b"0.00000015"),
        (b"-0", b"0"),
        (b"-0.5", b"-0.5"),
    ],
)
def test_fractions_are_printed_as_numeric(value: bytes, printed: bytes) -> None:
    encode = canonical_encoder(values.fraction, is_unicode=True)
    assert encode is not None and encode(value) == printed


@pytest.mark.parametrize(
    ("context", "printed"),
    [
        (b'{"b": 1, "a": [1, {"d": null, "c": "\\u00e9"}]}', '{"a":[1,{"c":"é","d":null}],"b":1}'.encode()),
        (b'{"b": 1e2, "a": 1}', b'{"a":1,"b":100}'),
        (b'{"bb": 1.50, "a": 1}', b'{"a": 1, "bb": 1.50}'),
        (b'{"a": [[{"b": 0.5}]]}', b'{"a": [[{"b": 0.5}]]}'),
        (b"7", b"7"),
        (b"{nothing", b"{nothing"),
    ],
)
def test_contexts_have_one_form(context: bytes, printed: bytes) -> None:
    assert canonical_context(context) == printed


@given(JSON)
def test_the_form_does_not_depend_on_how_the_context_is_written(value: object) -> None:
    # Beyond 64 bits, too, which orjson does not write.
    written = json.dumps([value], ensure_ascii=False).encode()
    printed = canonical(written)
    assert canonical_context(written) == canonical_context(printed)
    assert canonical_context(canonical_context(written)) == canonical_context(written)
