"""The names of new replication slots, for any name of a database."""

from __future__ import annotations

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from bemi_django.wire.slot_name import LONGEST, slot_name

# PostgreSQL's names have 1 to 63 bytes, and no NUL.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)
ALIKE = st.tuples(NAMES, NAMES) | st.lists(
    st.text("aA_-. \xe4\u0416", min_size=1, max_size=63), min_size=2, max_size=2
).map(lambda names: (names[0], names[1]))


@given(NAMES)
@example("x" * 63)
@example("Shop-Производство")
@example("___")
@example("\U0001f4a5" * 15)
@example("İ")
def test_a_name_is_one_that_the_server_accepts(database: str) -> None:
    for name in (slot_name(database), slot_name(database, "other")):
        assert re.fullmatch("bemi_([a-z0-9]+_)*[0-9a-f]{8}", name)
        assert len(name.encode()) <= LONGEST


@given(ALIKE)
@example(("Shop", "shop"))
@example(("a-b", "a_b"))
@example(("x" * 62 + "y", "x" * 63))
@example(("магазин", "контора"))
def test_databases_have_different_names(names: tuple[str, str]) -> None:
    one, two = names
    assume(one != two)
    assert slot_name(one) != slot_name(two)


@given(NAMES, NAMES)
def test_so_have_databases_of_the_same_name_on_several_servers(database: str, alias: str) -> None:
    assert (slot_name(database, alias) == slot_name(database)) == (alias == "default")


def test_a_name_does_not_change() -> None:
    assert (slot_name("shop"), slot_name("Shop 2")) == ("bemi_shop_8d9001d3", "bemi_shop_2_f58cd829")
