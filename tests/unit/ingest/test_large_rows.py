"""Rows of many megabytes are rendered piece by piece, and are the same as others."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.ingest.protocol.messages import UNAVAILABLE, LargeRow, Row
from bemi_django.ingest.rows import jsonb_limits, nested_values, values
from bemi_django.ingest.rows.canonical_json import canonical
from bemi_django.ingest.rows.copy_format import jsonb
from bemi_django.ingest.rows.jsonb_limits import NotJsonb, is_jsonb, require_jsonb
from bemi_django.ingest.rows.large_rows import LargeObject, large_row
from bemi_django.ingest.rows.rendering import complete, json_object
from bemi_django.ingest.rows.row_layout import Computed, RowLayout, template
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.patterns import possessive

NAMES = ("a", "text", "b", "json", "none")
LAYOUT = RowLayout(
    b"",
    NAMES,
    template((*NAMES[:4], None)),
    (values.number, values.text, values.boolean, values.raw, None),
    (),
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(str.encode)
ROWS = st.tuples(
    st.sampled_from([b"1", None]),
    TEXTS | st.sampled_from([None, UNAVAILABLE]),
    st.sampled_from([b"t", UNAVAILABLE]),
    TEXTS.map(lambda text: json.dumps(text.decode()).encode()),
    st.sampled_from([b"x", None, UNAVAILABLE]),
).map(list)


@given(ROWS, st.frozensets(st.integers(0, 4)), st.integers(1, 5))
@example([b"1", "é𝄞".encode(), b"t", b"{}", None], frozenset(), 1)
@example([None, UNAVAILABLE, UNAVAILABLE, b"1", None], frozenset([0, 1, 2, 3, 4]), 1)
def test_a_large_row_is_rendered_as_any_other(row: Row, lost: frozenset[int], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(values, "PIECE", piece)
        expected, lacking = json_object(LAYOUT, row, lost)
        found, missing = json_object(LAYOUT, LargeRow(row), lost)
        assert isinstance(expected, bytes) and isinstance(found, LargeObject)
        assert (bytes(found), missing) == (expected, lacking)
        assert large_row([b"<", found, b"|", found, b">"]) == b"<%b|%b>" % (jsonb(expected), jsonb(expected))


def test_columns_that_are_computed_get_values_and_not_views() -> None:
    found: list[Row] = []

    def compute(row: Row) -> Row:
        found.append(row)
        return [b"c"]

    row = LargeRow([memoryview(b"x"), None])  # type: ignore[list-item]
    layout = LAYOUT._replace(computed=Computed(1, compute))
    assert complete(layout, row) == [b"x", None, b"c"]
    assert found == [[b"x", None]] and type(found[0][0]) is bytes


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('\\u0"1dDe{}\0\ud800\udc00')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(JSON.map(lambda value: json.dumps(value).encode()))
@example(rb'"\\u0000"')
@example(rb'"\\\u0000"')
@example(rb'"\ud834\udd1e"')
@example(rb'"\udd1e\ud834"')
@example(rb'"\ud834x"')
@example(rb'"\\ud834"')
@example(b'["1e999999", 1]')
@example(b"[1e131072]")
@example(b"-1.5e-16383")
@example(b"1e-99999999999999999999")
@example(b"1" + b"0" * 131_072)
@example(b"1" + b"0" * 131_071)
def test_a_large_json_is_judged_as_any_other(text: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        expected = is_jsonb(text)
        patched.setattr(jsonb_limits, "_LARGE", 0)
        assert is_jsonb(text) == expected
        assert is_jsonb(memoryview(text)) == expected  # type: ignore[arg-type]


def test_what_a_large_json_holds_that_jsonb_does_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonb_limits, "_LARGE", 0)
    with pytest.raises(NotJsonb):
        require_jsonb(b'{"a": 1e999999}')
    assert require_jsonb(b'{"a": "1e999999"}') == b'{"a": "1e999999"}'


@pytest.mark.parametrize(
    "value",
    [
        b"{1,NULL,23456}",
        b'[0:1][2:2]={{"a,b"},{NULL}}',
        b'{"\\"long\\\\ \xc3\xa4\xc3\xa4",NULL,"",short}',
        b"{}",
        b'{plainly,"quoted and long"}',
        b'(1,"a ""long"" b",)',
        b'(1,"a long b",)',
        b"(1,unquoted,)",
        b'(,,"{""x y"",z}")',
    ],
)
def test_nested_values_are_the_same_in_pieces_of_any_size(
    value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = (("n", 23), ("t", 25), ("l", 1009))
    types: dict[int, values.Type] = {9: values.Composite(fields), 1009: values.Array(25, ",")}
    encode = values.encoder(9 if value[:1] == b"(" else 1009, types, lambda *_: b"")
    whole = encode(value)
    json.loads(whole)
    for size in range(4, 12):
        monkeypatch.setattr(nested_values, "PIECE", size)
        monkeypatch.setattr(values, "PIECE", size)
        view: Any = memoryview(value)
        pieces = [*values.in_pieces(encode)(view)]
        assert b"".join(pieces) == whole == encode(value)
    assert len(pieces) < len(value) + 3


@pytest.mark.parametrize("value", [b"(unquoted,)", b'("with a blank",)'])
def test_a_large_field_without_escapes_is_not_copied(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def field(piece: bytes) -> Iterator[bytes]:
        given.append(piece)
        yield b"1"

    monkeypatch.setattr(nested_values, "PIECE", 4)
    view: Any = memoryview(value)
    assert b"".join(nested_values.CompositeEncoder([(b'"f"', field), (b'"g"', field)]).pieces(view))
    assert [type(piece) for piece in given] == [memoryview]
    assert given == [value.strip(b'(,)"')]


TURNS = 100_000


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python before 3.11 has no possessive loops")
@pytest.mark.parametrize(
    ("read", "value"),
    [
        (
            values.encoder(1009, {1009: values.Array(25, ",")}, lambda *_: b""),
            rb'{"' + rb"\"" * TURNS + b'"}',
        ),
        (
            values.encoder(9, {9: values.Composite((("a", 25),))}, lambda *_: b""),
            b'("' + b'""' * TURNS + b'")',
        ),
        (canonical, b'"' + rb"\n" * TURNS + b'"'),
        (is_jsonb, b'"' + rb"\\" * TURNS + b'"'),
        (lambda value: redact_literals(value.decode(), "?").encode(), b"SELECT '" + b"x" * TURNS + b"'"),
        (lambda value: redact_literals(value.decode(), "?").encode(), b"SELECT e'" + rb"\n" * TURNS + b"'"),
        (lambda value: redact_literals(value.decode(), "?").encode(), b'SELECT "' + b'""' * TURNS + b'"'),
    ],
)
def test_a_loop_over_escapes_takes_no_memory(read: Callable[[bytes], object], value: bytes) -> None:
    tracemalloc.start()
    try:
        read(value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A loop that could be taken back keeps 100 bytes for each turn.
    assert peak < 40 * TURNS


@pytest.mark.parametrize("pattern", [b"(a*+)b", "(a*+)b"])
def test_older_versions_of_python_get_loops_of_the_usual_kind(
    pattern: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(possessive, "_SINCE", (4, 0))
    compiled = possessive.compiled(pattern, re.DOTALL)
    assert compiled.pattern in (b"(a*)b", "(a*)b") and compiled.flags & re.DOTALL
