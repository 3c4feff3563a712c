"""What a publisher publishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.wire.sequence import HistoryStart


class LaneSource(NamedTuple):
    """What is published.

    It has the name of a slot, a number of lanes, and the histories of its log; ``origin`` is what its
    positions belong to now. With ``is_canonical``, JSON is rendered as jsonb prints it. ``division`` is the
    fingerprint of how changes are divided among several destinations.
    """

    name: str
    lanes: int
    histories: Sequence[HistoryStart]
    origin: Origin
    is_canonical: bool = False
    division: str = ""
