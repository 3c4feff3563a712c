"""Which changes have to be sealed: from where to where the chains of a slot are open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from bemi_django.ingest.destination.sealing import chain_of_lane
from bemi_django.wire.ids import source_in

#: Lanes that a slot can have; more are not looked for.
_MOST = 10_000


@dataclass(slots=True)
class SealedSpan:
    """A chain has the changes of a source after one id, up to another one if it has ended.

    ``lanes`` is the number of lanes that the changes are divided into; 0 for a chain that has all of them.
    """

    source: int
    lanes: int
    after: bytes
    last: bytes | None = None

    def has(self, source: int, change: bytes) -> bool:
        """Return whether a change of a source is one of the span, if it is one of the lane."""
        return source == self.source and self.after < change and (self.last is None or change <= self.last)


class Spans:
    """Collects where the chains of a slot begin and end.

    Args:
        slot: The name of the slot.
    """

    def __init__(self, slot: str) -> None:
        self._slot = slot
        self._spans: dict[str, list[SealedSpan]] = {}

    def begin(self, chain: str, says: Mapping[str, Any]) -> None:
        """Note that a chain begins.

        Raises:
            LookupError, TypeError, ValueError: The details of the link say nothing of the kind.
        """
        span = _span_of(says)
        if chain not in self._names(span.lanes):
            raise ValueError(f"{chain} is no chain of {span.lanes} lanes")
        # Another source takes the place of the one before, which must not have any more changes.
        self._end(chain, span.source, span.after)
        self._spans.setdefault(chain, []).append(span)

    def end(self, chain: str, says: Mapping[str, Any]) -> None:
        """Note that a chain ends; as :meth:`begin`."""
        span = _span_of(says)
        if not self._end(chain, span.source, span.after):
            span.last = span.after
            self._spans.setdefault(chain, []).append(span)

    def cover(self, source: int, change: bytes) -> bool:
        """Return whether a change has to be sealed: it may be one of any lane."""
        numbers = {span.lanes for span in self._all() if span.source == source}
        return any(
            all(
                any(span.lanes == number and span.has(source, change) for span in self._spans.get(name, ()))
                for name in self._names(number)
            )
            for number in numbers
        )

    def are_open(self, chain: str, change: bytes) -> bool:
        """Return whether a change may be sealed by the next link of a chain."""
        source = source_in(change)
        return any(span.last is None and span.has(source, change) for span in self._spans.get(chain, ()))

    def contradict(self, change: bytes) -> bool:
        """Return whether a change is one of chains that cannot be open at once."""
        source = source_in(change)
        return len({span.lanes for span in self._all() if span.has(source, change)}) > 1

    @property
    def are_mixed(self) -> bool:
        """Whether there are chains for several numbers of lanes."""
        return len({span.lanes for span in self._all()}) > 1

    @property
    def sources(self) -> set[int]:
        """The sources whose changes are sealed."""
        return {span.source for span in self._all()}

    @property
    def first(self) -> bytes | None:
        """The id after which the first of them begins; None if none has begun."""
        return min((span.after for span in self._all()), default=None)

    @property
    def chains(self) -> set[str]:
        """The chains that there must be."""
        return {name for span in self._all() for name in self._names(span.lanes)}

    @property
    def place(self) -> dict[str, Any]:
        """What was collected, as JSON has it."""
        return {
            chain: [[one.hex() if isinstance(one, bytes) else one for one in astuple(span)] for span in spans]
            for chain, spans in self._spans.items()
        }

    @place.setter
    def place(self, place: Mapping[str, Sequence[Any]]) -> None:
        self._spans = {
            chain: [
                SealedSpan(source, lanes, bytes.fromhex(after), last and bytes.fromhex(last))
                for source, lanes, after, last in spans
            ]
            for chain, spans in place.items()
        }

    def _end(self, chain: str, source: int, last: bytes) -> bool:
        for span in self._spans.get(chain, ()):
            if span.source == source and span.last is None:
                span.last = last
                return True
        return False

    def _all(self) -> Iterator[SealedSpan]:
        for spans in self._spans.values():
            yield from spans

    def _names(self, lanes: int) -> Iterator[str]:
        if not lanes:
            yield self._slot
        for lane in range(min(lanes, _MOST)):
            yield chain_of_lane(self._slot, lane)


def _span_of(says: Mapping[str, Any]) -> SealedSpan:
    return SealedSpan(int(says["source"]), int(says.get("lanes", 0)), bytes.fromhex(says["last"]))
