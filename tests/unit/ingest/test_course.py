"""Where lanes go when the log of a source has gone on after a gap, a promotion, or on another server."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest

from bemi_django.ingest.destination.histories import LoggedHistory
from bemi_django.ingest.queue.course.course import Course, course_of
from bemi_django.ingest.queue.message.row_values import CONTEXT, ID, Values
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.wire.ids import change_id
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import FIRST_HISTORY, HistoryStart, sequence_of

FIRST = LoggedHistory(0, 0, "7", 1, "the log begins")
PROMOTED = LoggedHistory(1, 800, "7", 2, "promoted")
OTHER = LoggedHistory(2, 160, "8", 1, "the server is another one")


def gap(history: int, begin: int, end: int) -> Values:
    texts = {"database": "", "schema": "", "table": "", "operation": "GAP", "before": "{}", "after": "{}"}
    values: Values = [texts.get(name) for name in COLUMNS]
    values[ID] = str(UUID(bytes=change_id(sequence_of(history, end) - 8, 0xFFFFFFFF, 5)))
    values[CONTEXT] = orjson.dumps({"from_lsn": format_lsn(begin), "to_lsn": format_lsn(end)}).decode()
    for name in ("committed_at", "queued_at", "transaction_id", "position"):
        values[COLUMNS.index(name)] = 0
    return values


def moved(course: Course, *positions: LanePosition) -> list[LanePosition] | None:
    found = dict(enumerate(positions))
    for turn in course.turns([FIRST_HISTORY], min(positions)):
        after = turn.moved(found)
        if after is None:
            return None
        found = after
    return [*found.values()]


def test_lanes_go_to_a_new_timeline_where_they_have_come_to_it() -> None:
    course = Course(5, [FIRST, PROMOTED], [])
    new = LanePosition(sequence_of(1, 800))
    assert moved(course, LanePosition(800), LanePosition(960, 3)) == [new, new]
    # What the lanes lack comes again from the new server.
    assert moved(course, LanePosition(640), LanePosition(808)) == [LanePosition(640), new]


def test_lanes_go_past_a_gap_together() -> None:
    course = Course(5, [FIRST], [gap(0, 640, 960)])
    assert moved(course, LanePosition(640), LanePosition(720, 1)) == [LanePosition(960)] * 2
    # Only the transactions before this one are in the log.
    assert moved(course, LanePosition(640, 2), LanePosition(640)) is None
    assert moved(course, LanePosition(632), LanePosition(960)) is None
    assert course.is_known([FIRST_HISTORY], LanePosition(960))


def test_another_server_begins_anew_after_a_gap() -> None:
    course = Course(5, [FIRST, PROMOTED, OTHER], [gap(2, 880, 160)])
    at = LanePosition(sequence_of(1, 880))
    (turn,) = course.turns([FIRST_HISTORY, HistoryStart(1, 800)], at)
    assert (turn.history, turn.gap) == (OTHER, course.gaps[0])
    assert turn.moved({0: at}) == {0: LanePosition(sequence_of(2, 160))}
    assert moved(course, LanePosition(800)) is None


def test_a_course_is_the_same_on_the_other_side() -> None:
    course = Course(5, [FIRST, PROMOTED], [gap(1, 808, 960)])
    assert course.has_turns and not Course(5, [FIRST], []).has_turns
    sent = orjson.loads(orjson.dumps(course.sent()))
    assert course_of(sent) == course
    assert course_of(None) is None
    wrong: tuple[Any, ...] = (
        {**sent, "source": "5"},
        {**sent, "histories": []},
        {**sent, "histories": [[0, 0, 7, 1, "begins"]]},
        {**sent, "histories": [[0, 0, "7", None, "begins"]]},
        {**sent, "histories": [[0, -1, "7", 1, "begins"]]},
        {**sent, "gaps": [sent["gaps"][0][:-1]]},
        {**sent, "gaps": [["x", *sent["gaps"][0][1:]]]},
        {**sent, "gaps": [[*sent["gaps"][0][:CONTEXT], "{}", *sent["gaps"][0][CONTEXT + 1 :]]]},
        {},
        [],
    )
    for one in wrong:
        with pytest.raises((KeyError, TypeError, ValueError)):
            course_of(one)
