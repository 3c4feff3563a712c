"""Rows of many megabytes are rendered piece by piece, and are the same as others."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.ingest.protocol.messages import UNAVAILABLE, LargeRow, Row
from bemi_django.ingest.rows import jsonb_limits, large_rows, values
from bemi_django.ingest.rows.canonical_json import canonical
from bemi_django.ingest.rows.copy_format import jsonb
from bemi_django.ingest.rows.jsonb_limits import NotJsonb, is_jsonb, require_jsonb
from bemi_django.ingest.rows.large_rows import LargeCopyRow, LargeObject
from bemi_django.ingest.rows.nested import hstore_values, nested_values, window
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
        patched.setattr(window, "PIECE", piece)
        patched.setattr(large_rows, "PIECE", piece)
        expected, lacking = json_object(LAYOUT, row, lost)
        found, missing = json_object(LAYOUT, LargeRow(row), lost)
        assert isinstance(expected, bytes) and isinstance(found, LargeObject)
        assert (bytes(found), missing) == (expected, lacking)
        row_of_copy = LargeCopyRow(b"<", (found, found), b">")
        written = b"<%b%b>" % (jsonb(expected), jsonb(expected))
        assert bytes(row_of_copy) == written and len(row_of_copy) == len(written)
        assert row_of_copy.digest(b"a", b"b") == hashlib.sha256(b"a%bb" % written).digest()


def test_who_must_not_be_silent_is_called_while_a_large_row_is_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[int] = []
    monkeypatch.setattr(window, "PIECE", 2)
    monkeypatch.setattr(large_rows, "PIECE", 2)
    former = window.meanwhile.set(lambda: called.append(threading.get_ident()))
    try:
        found, _ = json_object(LAYOUT, LargeRow([b"1", b"x" * 20, b"t", b"1", None]), frozenset())
        # A row is sent by another thread, while this one has nothing else to do.
        with ThreadPoolExecutor(1) as pool:
            assert b"x" * 20 in pool.submit(bytes, found).result()
    finally:
        window.meanwhile.reset(former)
    assert called == [threading.get_ident()] * 10


def test_a_large_row_with_computed_columns_is_a_large_row() -> None:
    found: list[Row] = []

    def compute(row: Row) -> Row:
        found.append(row)
        return [b"c"]

    row = LargeRow([memoryview(b"x"), None])  # type: ignore[list-item]
    layout = LAYOUT._replace(computed=Computed(1, compute))
    whole = complete(layout, row)
    assert isinstance(whole, LargeRow) and whole == [b"x", None, b"c"] and found == [row]


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


#: What needs quotes and escapes, and what needs many bytes.
HARD = st.text(st.sampled_from('"\\\\,(){} é𝄞\nNULL'), max_size=12)


def printed(texts: list[str | None], quote: str, null: str, around: str) -> str:
    """Print an array or a composite value as PostgreSQL does."""
    parts = [
        null if text is None else '"' + text.replace("\\", "\\\\").replace('"', quote) + '"' for text in texts
    ]
    return around[0] + ",".join(parts) + around[1]


def printed_array(texts: list[str | None]) -> str:
    return printed(texts, '\\"', "NULL", "{}")


def printed_row(texts: list[str | None]) -> str:
    return printed(texts, '""', "", "()")


NESTED: dict[int, values.Type] = {
    1009: values.Array(25, ","),
    91: values.Composite((("n", 25), ("t", 25))),
    92: values.Composite((("l", 1009), ("c", 91))),
    93: values.Array(92, ","),
    94: values.Array(3802, ";"),
    95: values.Castable(95, 1, hstore_values.SOURCE),
    96: values.Array(95, ","),
}


def without(value: Any, field: str) -> Any:
    if isinstance(value, list):
        return [without(item, field) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without(item, field) for name, item in value.items() if name != field}


@given(st.lists(HARD | st.none(), max_size=3), HARD, HARD | st.none(), st.integers(5, 12))
@example(['"' * 20, None], "\\" * 20, '\\"' * 20, 5)
def test_nested_values_are_the_same_in_pieces_of_any_size(
    texts: list[str | None], one: str, other: str | None, size: int
) -> None:
    pair, inner = printed_row([one, other]), printed_array(texts)
    deep = printed_array([printed_row([inner, pair]), None, printed_row([None, pair])])
    document = json.dumps({one: other})
    pairs = "=>".join((printed_array([one])[1:-1], printed_array([other])[1:-1]))
    pairs = '""=>NULL, ' + pairs if one else pairs
    hashed = {"": None, one: other} if one else {one: other}
    cases: list[tuple[int, str, Any]] = [
        (1009, inner, texts),
        (1009, "[0:2]=" + inner, texts),
        (91, pair, {"n": one, "t": other}),
        (
            93,
            deep,
            [
                {"l": texts, "c": {"n": one, "t": other}},
                None,
                {"l": None, "c": {"n": one, "t": other}},
            ],
        ),
        (94, printed_array([document]), [{one: other}]),
        (95, pairs, hashed),
        (96, printed_array([pairs, None, ""]), [hashed, None, {}]),
    ]
    with pytest.MonkeyPatch.context() as patched:
        for module in (nested_values, window):
            patched.setattr(module, "PIECE", size)
        for oid, value, expected in cases:
            for omitted in ("none", "n", "t", "l", "c"):
                encode = values.Encoders(NESTED, lambda *_: b"", omitted.__eq__).of(oid)
                view: Any = memoryview(value.encode())
                whole = encode(value.encode())
                assert json.loads(whole) == (without(expected, omitted) if oid in (91, 93) else expected)
                assert b"".join(large_rows.rendered_pieces(encode, view)) == whole


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (1009, b"{1,NULL,23456}"),
        (1009, b'[0:1][2:2]={{"a,b"},{NULL}}'),
        (1009, b"{}"),
        (1009, b'{plainly,"quoted and long"}'),
        (1009, b"{plainly-and-longer-than-any-window,b}"),
        (91, b"(,)"),
        (91, b"(1,unquoted)"),
        (90, b"()"),
    ],
)
def test_unquoted_values_are_the_same_in_pieces(
    oid: int, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = values.encoder(oid, {**NESTED, 90: values.Composite(())}, lambda *_: b"")
    whole = encode(value)
    json.loads(whole)
    for size in range(5, 12):
        for module in (nested_values, window):
            monkeypatch.setattr(module, "PIECE", size)
        assert b"".join(large_rows.rendered_pieces(encode, value)) == whole


@pytest.mark.parametrize(
    "value", [b"(alpha,beta,c)", b"(alphabet)", b'(alpha,"beta', b'(alpha,"beta"', b"", b"{alpha}"]
)
def test_a_large_composite_of_another_type_is_refused(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = values.encoder(91, NESTED, lambda *_: b"")
    for size in (5, 9):
        for module in (nested_values, window):
            monkeypatch.setattr(module, "PIECE", size)
        with pytest.raises(ValueError):
            list(large_rows.rendered_pieces(encode, value))


def test_a_large_element_that_goes_on_after_its_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = values.encoder(97, {**NESTED, 97: values.Array(91, ",")}, lambda *_: b"")
    monkeypatch.setattr(window, "PIECE", 5)
    with pytest.raises(ValueError, match="a part that"):
        list(large_rows.rendered_pieces(encode, b'{"(alpha,beta) and what goes on after it"}'))


def test_values_that_the_server_renders_are_rendered_once() -> None:
    asked: list[bytes] = []

    def cast(_: values.Castable, value: bytes) -> bytes:
        asked.append(value)
        return b'{"a": 1}'

    types: dict[int, values.Type] = {95: values.Castable(95, 1), 96: values.Array(95, ",")}
    encoders = [values.encoder(96, types, cast), values.encoder(95, types, cast)]
    large: Any = memoryview(b"x" * (window.PIECE + 1))
    row = LargeRow([b"{x,y}", large, b"{%b}" % bytes(large)])
    layout = LAYOUT._replace(names=("a", "b", "c"))
    found = LargeObject(row, layout, [*encoders, encoders[0]], (0, 1, 2))
    assert bytes(found) == bytes(found) == b'{"a": [{"a": 1},{"a": 1}], "b": {"a": 1}, "c": [{"a": 1}]}'
    assert asked == [b"x", b"y", large, bytes(large)]
    assert b"".join(large_rows.rendered_pieces(encoders[1], large)) == b'{"a": 1}'


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
