"""What a publisher publishes."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.wire.sequence import HistoryStart

#: From which LSN on changes under the name of a table, schema and name, are of it.
NamedSince = MutableMapping[tuple[str, str], int]


class LaneSource(NamedTuple):
    """What is published.

    It has the name of a slot, a number of lanes, and the histories of its log; ``origin`` is what its
    positions belong to now. With ``is_canonical``, JSON is rendered as jsonb prints it. ``division`` is the
    fingerprint of how changes are divided among several destinations. ``named_since`` has the tables whose
    rows a baseline reads; they are taken out of it when the rows are published.
    """

    name: str
    lanes: int
    histories: Sequence[HistoryStart]
    origin: Origin
    is_canonical: bool
    division: str
    named_since: NamedSince
