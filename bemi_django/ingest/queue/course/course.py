"""The course of a log: its histories and its gaps, for destinations that have to follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from bemi_django.ingest.destination.histories import LoggedHistory
from bemi_django.ingest.queue.message.row_values import CONTEXT, ID, JSON, Values
from bemi_django.ingest.queue.message.soundness import (
    BEYOND_SOURCES,
    BEYOND_TIMELINES,
    are_changes,
    sound_name,
    sound_number,
    sound_object,
    sound_text,
)
from bemi_django.wire.ids import sequence_in
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.lsn import parse_lsn
from bemi_django.wire.sequence import HistoryStart, history_of, lsn_of, sequence_of

Positions = Mapping[int, LanePosition]


class Turn(NamedTuple):
    """A place where a log goes on otherwise: with a history, after a gap, or both.

    ``place`` is the sequence number where it goes on, and ``gap`` the row of the gap.
    """

    place: int
    history: LoggedHistory | None = None
    gap: Values | None = None

    def moved(self, positions: Positions) -> dict[int, LanePosition] | None:
        """Return where lanes are after the turn; None if they lack changes that come before it.

        Args:
            positions: Where they have come to with all that the queue has before it.
        """
        target = LanePosition(self.place)
        if self.gap is None:
            # What was before the end of the former timeline comes again if it is not in the log yet.
            return {
                lane: target
                if position >= LanePosition(sequence_of(history_of(position.sequence), lsn_of(self.place)))
                else position
                for lane, position in positions.items()
            }
        begin = parse_lsn(orjson.loads(self.gap[CONTEXT])["from_lsn"])
        # In the middle of a transaction, only those before it are in the log.
        if any(lsn_of(sequence - (ordinal > 0)) < begin for sequence, ordinal in positions.values()):
            return None
        return {lane: max(position, target) for lane, position in positions.items()}


class Course(NamedTuple):
    """How the log of a source has come to where a publisher goes on.

    Attributes:
        source: The number of the source in the ids of its changes.
        histories: The histories of its log, the oldest first.
        gaps: The rows of its gaps.
    """

    source: int
    histories: Sequence[LoggedHistory]
    gaps: Sequence[Values]

    @property
    def has_turns(self) -> bool:
        """Whether there is anything to follow."""
        return len(self.histories) > 1 or bool(self.gaps)

    def is_known(self, histories: Sequence[HistoryStart], position: LanePosition) -> bool:
        """Return whether a log has followed it, given its histories and the position of a lane."""
        return not self.turns(histories, position)

    def turns(self, histories: Sequence[HistoryStart], position: LanePosition) -> list[Turn]:
        """Return what a log has not followed yet, in order.

        Args:
            histories: The histories of the log.
            position: Where its slowest lane is. Lanes go past a gap together.
        """
        turns = {
            place: Turn(place, history)
            for history in self.histories
            if history.number > histories[-1].number
            for place in [sequence_of(history.number, history.lsn)]
        }
        for gap in self.gaps:
            place = place_of_gap(gap)
            if position < LanePosition(place):
                turns[place] = turns.get(place, Turn(place))._replace(gap=gap)
        return [turns[place] for place in sorted(turns)]

    def sent(self) -> dict[str, Any]:
        """Return it as what a message has of it."""
        histories = [[*history] for history in self.histories]
        return {"source": self.source, "histories": histories, "gaps": [*self.gaps]}


def course_of(sent: Any) -> Course | None:
    """Return what :meth:`Course.sent` has returned; None of None.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    if sent is None:
        return None
    histories = [LoggedHistory(*one) for one in sent["histories"]]
    for number, lsn, server, timeline, reason in histories:
        sequence_of(number, lsn)
        sound_text(server), sound_text(reason), sound_number(timeline, BEYOND_TIMELINES)
    numbers = [history.number for history in histories]
    if not numbers or numbers != sorted(set(numbers)) or not are_changes(sent["gaps"]):
        raise ValueError
    for gap in sent["gaps"]:
        place_of_gap(gap)
        _require_writable(gap)
        parse_lsn(orjson.loads(gap[CONTEXT])["from_lsn"])
    return Course(sound_number(sent["source"], BEYOND_SOURCES), histories, sent["gaps"])


def _require_writable(gap: Values) -> None:
    """Check that the log takes the row of a gap, without which a history would not begin.

    Raises:
        TypeError, ValueError: It does not.
    """
    for number, value in enumerate(gap):
        if number in JSON and value is not None:
            sound_object(orjson.loads(value))
        elif type(value) is str:
            sound_name(value)


def place_of_gap(gap: Values) -> int:
    """Return the sequence number where a log goes on after a gap, whose row sorts just before it."""
    history = history_of(sequence_in(UUID(gap[ID]).bytes) + 8)
    return sequence_of(history, parse_lsn(orjson.loads(gap[CONTEXT])["to_lsn"]))
