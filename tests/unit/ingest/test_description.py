"""Which description of a table holds for a row."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.ingest.protocol.messages import Column, Relation
from bemi_django.ingest.rows import description
from bemi_django.ingest.rows.description import END, Description, Version
from bemi_django.ingest.rows.values import Array, Castable, Composite, Domain, Plain

MINE, OTHER = 7, 8
STORED: dict[str, Any] = {
    "name": ["s", "leaf"],
    "root": ["s", "t"],
    "named_by": [1, 2],
    "columns": {"id": 23, "a": 25, "made": 25},
    "key": ["id"],
    "generated": [["made", "text", "upper(a)"]],
    "types": {
        "1": {"base": 23},
        "2": {"element": 1, "delimiter": ","},
        "3": {"fields": [["x", 1]]},
        "4": {"cast": 9, "source": "a1"},
        "5": {},
    },
}
DESCRIBED = description.parse(STORED)


def relation(**columns: int) -> Relation:
    return Relation(1, "s", "leaf", tuple(Column(name, oid, True) for name, oid in columns.items()))


def described(key: str = "id", **columns: int) -> Description:
    return DESCRIBED._replace(key=(key,), columns=columns, generated=())


def test_what_the_database_says_is_read() -> None:
    assert (DESCRIBED.name, DESCRIBED.root, DESCRIBED.key) == (("s", "leaf"), ("s", "t"), ("id",))
    assert DESCRIBED.named_by == {1, 2}
    assert DESCRIBED.types == {
        1: Domain(23),
        2: Array(1, ","),
        3: Composite((("x", 1),)),
        4: Castable(4, 9, "a1"),
        5: Plain(),
    }


@pytest.mark.parametrize(
    ("columns", "is_the_same"),
    [
        pytest.param({"id": 23, "a": 25, "made": 25}, True, id="all"),
        pytest.param({"id": 23, "a": 25}, True, id="what is computed is left out"),
        pytest.param({"id": 23, "made": 25}, False, id="another column is missing"),
        pytest.param({"id": 23, "a": 23}, False, id="another type"),
        pytest.param({"id": 23, "a": 25, "b": 25}, False, id="one more"),
    ],
)
def test_the_columns_of_the_stream_tell_whether_a_description_is_of_then(
    columns: dict[str, int], is_the_same: bool
) -> None:
    assert DESCRIBED.matches(relation(**columns)) is is_the_same


def chosen(lsn: int, xid: int, *versions: Version, **columns: int) -> tuple[list[str], int, int]:
    found = description.choose(versions, relation(**columns), lsn, xid)
    return [one.key[0] for one in found.descriptions], found.since, found.until


@pytest.mark.parametrize(
    ("lsn", "xid", "expected"),
    [
        pytest.param(5, MINE, (["one", "two", "three"], 0, 10), id="before all"),
        pytest.param(10, MINE, (["one", "two", "three"], 10, 20), id="the first"),
        pytest.param(25, MINE, (["two", "three", "one"], 20, 50), id="in the transaction at once"),
        pytest.param(25, OTHER, (["one", "two", "three"], 10, 40), id="elsewhere not before the commit"),
        pytest.param(45, OTHER, (["two", "three", "one"], 40, 50), id="elsewhere after the commit"),
        pytest.param(60, OTHER, (["three", "two", "one"], 50, END), id="the last"),
    ],
)
def test_the_place_of_the_row_decides(lsn: int, xid: int, expected: tuple[list[str], int, int]) -> None:
    one = Version(described("one", id=23), 1, 10, 10)
    two = Version(described("two", id=23), MINE, 20, 40)
    three = Version(described("three", id=23), 2, 50, 50)
    assert chosen(lsn, xid, one, two, three, id=23) == expected


def test_ddl_that_nobody_noticed_is_what_the_next_description_knows() -> None:
    old = Version(described("id", id=23), 1, 10, 10)
    older = Version(described("other", id=23, a=25), 1, 5, 5)
    noticed = Version(described("a", id=23, a=25), 1, 90, 90)
    assert chosen(50, MINE, older, old, noticed, id=23, a=25) == (["a", "other", "id"], 10, 90)


def test_where_none_matches_one_with_the_key_is_better() -> None:
    without = Version(described("gone", gone=23), 1, 90, 90)
    with_key = Version(described("id", id=20), 1, 95, 95)
    assert chosen(50, MINE, without, with_key, id=23) == (["id", "gone"], 0, 90)


def test_nothing_is_known_of_a_table_that_was_never_described() -> None:
    assert chosen(50, MINE, id=23) == ([], 0, END)


def test_a_table_of_which_only_the_stream_tells() -> None:
    table = Relation(7, "s", "t", (Column("id", 23, True), Column("body", 25, False)))
    found = description.of_columns(table)
    assert found.name == found.root == ("s", "t") and found.named_by == frozenset({7})
    assert found.columns == {"id": 23, "body": 25} and found.matches(table) and found.has_key(table)
