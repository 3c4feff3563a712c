"""Which columns and changes the rules leave out, on both paths of a row, compared with a model of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Begin, Column, Relation, Row
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.rendering import NOTHING, unavailable_field
from bemi_django.ingest.rows.row_layout import RowLayout, head, template, with_reader
from bemi_django.ingest.rows.row_writer import OMITTED, RowWriter
from bemi_django.ingest.selection.condition import FAILED, Condition
from bemi_django.ingest.selection.rules import Selection
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, read_again
from bemi_django.ingest.stitching.stitcher import Stitcher
from bemi_django.wire.name_pattern import ColumnPattern, column_pattern, table_pattern
from tests.support.copied import read
from tests.support.pgoutput import change
from tests.support.stitching import feed

OID = 7
NAMES = ("a", "b", "c", "d")
RELATION = Relation(OID, "public", "t", tuple(Column(name, 25, True) for name in NAMES))


def layout(selection: Selection, *key: int) -> RowLayout:
    chosen = selection.of_table(("public", "t"), ("public", "t"), NAMES, [NAMES[number] for number in key])
    ignored = chosen.ignored if chosen else ()
    made = RowLayout(
        head("db", "public", "t"),
        NAMES,
        template(None if name in ignored else name for name in NAMES),
        tuple(chosen.encoder(name, values.text) if chosen else values.text for name in NAMES),
        key,
        named_by=frozenset({OID}),
        selection=chosen,
        unavailable=unavailable_field((), (), ignored),
    )
    return with_reader(made)


class Path:
    """One of the paths of a row, in one transaction of a table that is known."""

    def __init__(self, known: RowLayout) -> None:
        def layouts(change: ChangeHeader | Stitched) -> Iterator[RowLayout]:
            yield known

        self.decoder = Decoder()
        self.decoder.know(RELATION)
        self.writer = RowWriter(ChangeIds("1", "db", 5 << 32), layouts)
        self.stitcher = Stitcher(self.writer.named_by)
        self.writer.known[OID] = RELATION, known
        self.fast_path = FastPath(self.decoder, self.stitcher, self.writer)
        feed(self.stitcher, Begin(0x1_0000_0008, 1234, 1))

    def fast(self, data: bytes) -> bytes | None:
        taken = self.fast_path.take(data, 8)
        if taken is None:
            return None
        row, header = taken
        if row is not OMITTED:
            # What is kept of it, for a row that the destination refuses.
            assert image(self.writer.row(read_again(header, data), NOTHING)) == image(row)
        return row

    def long(self, data: bytes) -> bytes:
        message = self.decoder.decode(data)
        assert message is not None
        (stitched,) = feed(self.stitcher, message, 8)
        return self.writer.row(stitched)


def image(row: bytes | None) -> dict[str, Any] | None:
    """A row without the time at which it was written, which differs."""
    if row is None or row is OMITTED:
        return None
    fields: dict[str, Any] = dict(read(row))
    del fields["queued_at"]
    return fields


def plain(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def by_model(
    before: Row | None, after: Row | None, ignored: set[str], unchanged: bool, refused: bytes | None
) -> tuple[Any, Any] | None:
    """What is recorded, or None."""
    old, new = ({} if row is None else dict(zip(NAMES, row, strict=True)) for row in (before, after))
    touched = {name for name in NAMES if old.get(name) != new.get(name)}
    is_idle = touched <= ignored if touched else unchanged
    if before is not None and after is not None and is_idle:
        return None
    kept = [{name: plain(row[name]) for name in row if name not in ignored} for row in (old, new)]
    if refused is not None and refused.decode() in (*kept[0].values(), *kept[1].values()):
        return None
    return kept[0], kept[1]


VALUE = st.sampled_from([None, b"", b"x", b"y", b'"\\'])
ROWS = st.lists(VALUE, min_size=4, max_size=4)


@given(
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from([(), (0,), (1, 0)]),
    st.booleans(),
    st.sampled_from([None, b"y"]),
    st.lists(st.tuples(st.sampled_from("IUD"), ROWS, ROWS), min_size=1, max_size=5),
)
def test_both_paths_record_what_a_model_says(
    ignored: set[str],
    key: tuple[int, ...],
    unchanged: bool,
    refused: bytes | None,
    writes: list[tuple[str, Row, Row]],
) -> None:
    def condition(table: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
        assert table == "public.t"
        found = *before.values(), *after.values()
        # What it does with its rows is nobody else's business.
        before.clear()
        return refused is None or refused.decode() not in found

    selection = Selection(
        [ColumnPattern("*", "t", name) for name in sorted(ignored)],
        unchanged,
        [(table_pattern("t"), Condition("c", condition))] if refused else [],
    )
    known = layout(selection, *key)
    fast, long = Path(known), Path(known)
    left_out = 0
    recorded = ignored - {NAMES[number] for number in key}
    for kind, old, new in writes:
        data = {
            "I": change(b"I", OID, (b"N", new)),
            "U": change(b"U", OID, (b"O", old), (b"N", new)),
            "D": change(b"D", OID, (b"O", old)),
        }[kind]
        expected = by_model(
            None if kind == "I" else old, None if kind == "D" else new, recorded, unchanged, refused
        )
        left_out += expected is None
        found = image(long.long(data))
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert tuple(json.loads(found[side][1:]) for side in ("before", "after")) == expected
        if known.reader is not None:
            assert image(fast.fast(data)) == found
    counted = sum(number for number, _ in long.writer.omissions.changes.values())
    assert counted == left_out
    if known.reader is not None:
        assert fast.writer.omissions == long.writer.omissions


def test_a_table_without_rules_has_none() -> None:
    selection = Selection([column_pattern("other.*")], False, [])
    assert selection.of_table(("public", "t"), ("public", "t"), NAMES, ()) is None
    assert layout(selection, 0).selection is None


def test_a_pattern_may_name_the_partitioned_table_or_the_partition() -> None:
    for pattern in ("root.a", "part.a"):
        chosen = Selection([column_pattern(pattern)]).of_table(("s", "root"), ("s", "part"), NAMES, ())
        assert chosen is not None and (chosen.table, chosen.ignored) == (("s", "root"), ("a",))


def test_a_condition_that_does_not_return_is_not_asked_again() -> None:
    released, calls = Event(), []

    def hang(*arguments: Any) -> bool:
        calls.append(arguments)
        released.wait()
        return False

    condition = Condition("shop.hang", hang, seconds=0.01)
    try:
        assert all(condition.is_met(("s", "t"), b"{}", b"{}") for _ in range(3))
        # On a busy machine its thread begins later than that.
        assert len(calls) <= 1 and condition.counts == {FAILED: 1}
    finally:
        released.set()


class Hostile:
    """An answer that cannot be used as one."""

    def __bool__(self) -> bool:
        raise SystemExit(1)


@pytest.mark.parametrize("answer", [Hostile(), RecursionError(), TimeoutError(), SystemExit(0)])
def test_a_condition_that_fails_is_met(answer: object) -> None:
    def fail(*arguments: Any) -> object:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    condition = Condition("shop.fail", fail)
    assert [condition.is_met(("s", "t"), b"{}", b"[1") for _ in range(2)] == [True, True]
    assert [condition.is_met(("s", "t"), b"{}", b"{}") for _ in range(2)] == [True, True]
    assert condition.counts == {FAILED: 4}
