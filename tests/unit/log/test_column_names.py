"""What columns are called now, from what a server has noted of their names."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from bemi_django.log.live.column_names import ColumnNames, Layout
from bemi_django.models import Change
from bemi_django.wire.ids import change_id, source_of

FORMER, HERE = "1", "2"
EXCHANGED = [{"1": "id", "2": "a", "3": "b"}, {"1": "id", "2": "b", "3": "a"}]


def layouts(*found: tuple[int, str, dict[str, str]]) -> list[Layout]:
    return [Layout(position, position, system, True, names) for position, system, names in found]


def change(position: int, system: str = HERE, **row: Any) -> Change:
    identifier = change_id(position, 0, source_of(system, "shop"))
    return Change(id=UUID(bytes=identifier), database="shop", transaction_id=9, before={}, after=row)


def test_declared_names_are_followed_to_the_present_ones() -> None:
    names = ColumnNames({"oldest": "old"}, layouts((8, HERE, {"1": "old"}), (80, HERE, {"1": "new"})), HERE)
    assert names.former("new") == {"oldest", "old", "new"}
    assert names.of(change(16, old=1)).renamed({"oldest": 1, "other": 2}) == {"new": 1, "other": 2}
    assert list(names.renamed()) == [{"oldest", "old", "new"}]
    assert names.own("new") == ["new", "old", "oldest"]
    assert names.alike("old") == {"oldest", "old", "new"} and names.alike("other") == {"other"}


def test_positions_count_on_their_own_server() -> None:
    names = ColumnNames({}, layouts((800, FORMER, EXCHANGED[0]), (8, HERE, EXCHANGED[1])), HERE)
    assert names.of(change(8000, FORMER, a=1, b=2, id=3)).now("a") == "b"
    assert names.of(change(80, HERE, a=1, b=2, id=3)).now("a") == "a"
    # It was altered on the former server, and nothing was since.
    names = ColumnNames({}, layouts((8, FORMER, EXCHANGED[0]), (800, FORMER, EXCHANGED[1])), HERE)
    assert names.of(change(80, HERE, a=1, b=2, id=3)).now("a") == "a"


def test_what_a_server_without_layouts_has_sent_cannot_be_told() -> None:
    names = ColumnNames({}, layouts((8, HERE, EXCHANGED[0]), (800, HERE, EXCHANGED[1])), HERE)
    found = names.of(change(80, "3", a=1, b=2, id=3))
    assert sorted(found.untold) == sorted(found.gone) == ["a", "b"]
    assert found.now("id") == "id" and found.then("a", ["a", "b"]) is None


def test_a_dropped_column_keeps_a_name_that_no_other_has_taken() -> None:
    first, second = {"1": "a", "2": "b"}, {"3": "a"}
    names = ColumnNames({}, layouts((8, HERE, first), (80, HERE, second)), HERE)
    found = names.of(change(16, a=1, b=2))
    assert found.renamed({"a": 1, "b": 2}) == {"a (dropped)": 1, "b": 2}
    assert names.former("a (dropped)") == {"a (dropped)", "a"} and sorted(found.gone) == ["a", "b"]
    assert names.present("a") == {"a", "a (dropped)"} and names.present("none") == {"none"}
    assert names.own("a (dropped)") == ["a (dropped)"]
    # No row has the name that tells the two apart.
    assert list(names.renamed()) == []
