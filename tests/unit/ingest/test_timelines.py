from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.destination.checkpoint import Checkpoint, Origin
from bemi_django.ingest.stream.timelines import (
    Branch,
    Switch,
    find_branch,
    find_switch,
    parse_timeline_history,
)
from bemi_django.wire.ids import change_id, sequence_in
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import MAX_HISTORY, history_of, lsn_of, sequence_of

LSNS = st.integers(0, (1 << 51) - 1)
HISTORIES = st.integers(0, MAX_HISTORY)


@given(st.lists(st.builds(Switch, st.integers(1, 1 << 31), LSNS)), st.text("\t abc\n#é"))
def test_a_history_file_is_read_as_the_server_writes_it(switches: list[Switch], reason: str) -> None:
    lines = [f"{one.timeline}\t{format_lsn(one.lsn)}\t{reason.partition(chr(10))[0]}" for one in switches]
    content = "\n".join(["# a comment", "", *lines, ""]).encode()
    assert parse_timeline_history(content) == switches


def test_a_timeline_that_the_server_never_was_on_has_no_switch() -> None:
    content = b"1\t0/3000148\tno recovery target specified\n\n3\t1/0\tbefore 2000-01-01\n"
    switches = parse_timeline_history(content)
    assert find_switch(switches, 1) == Switch(1, 0x3000148)
    assert find_switch(switches, 3) == Switch(3, 1 << 32)
    assert find_switch(switches, 2) is None


@pytest.mark.parametrize(
    ("known", "end_of_log", "found"),
    [
        (1, 50, Branch(50, (Switch(1, 100), Switch(2, 200)))),
        (1, 150, Branch(100, (Switch(1, 100), Switch(2, 200)))),
        (2, 150, Branch(150, (Switch(2, 200),))),
        (3, 250, Branch(250)),
        (
            4,
            150,
            Branch(
                150, reason="the server is on timeline 3, which does not descend from the log's timeline 4"
            ),
        ),
    ],
    ids=["before", "past", "later", "the same", "another branch"],
)
def test_the_log_goes_on_where_the_server_has_left_its_timeline(
    known: int, end_of_log: int, found: Branch
) -> None:
    checkpoint = Checkpoint(end_of_log, None, 0, Origin("7", known, 1))
    switches = [] if known == 3 else [Switch(1, 100), Switch(2, 200)]
    assert find_branch(checkpoint, Origin("7", 3, 1), switches, 1000) == found


@given(HISTORIES, LSNS)
def test_a_sequence_number_holds_history_and_position(history: int, lsn: int) -> None:
    sequence = sequence_of(history, lsn)
    assert (history_of(sequence), lsn_of(sequence)) == (history, lsn)
    assert sequence < 1 << 63


@pytest.mark.parametrize(("history", "lsn"), [(-1, 0), (MAX_HISTORY + 1, 0), (0, -1), (0, 1 << 51)])
def test_what_does_not_fit_into_a_sequence_number_is_refused(history: int, lsn: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        sequence_of(history, lsn)


@given(st.tuples(HISTORIES, LSNS), st.tuples(HISTORIES, LSNS))
def test_ids_sort_by_history_and_then_by_position(one: tuple[int, int], two: tuple[int, int]) -> None:
    (first, second) = sorted([one, two])
    ids = [change_id(sequence_of(history, lsn & ~7), 0, 0) for history, lsn in (first, second)]
    assert ids == sorted(ids)


@given(LSNS)
def test_ids_of_the_first_history_are_made_of_the_position_alone(lsn: int) -> None:
    assert change_id(sequence_of(0, lsn), 7, 9) == change_id(lsn, 7, 9)


@given(HISTORIES, LSNS)
def test_an_id_tells_its_sequence_number(history: int, lsn: int) -> None:
    sequence = sequence_of(history, lsn & ~7)
    assert sequence_in(change_id(sequence, 3, 9)) == sequence
