"""The timelines of a server: which branch of the WAL the log follows (PostgreSQL docs, 26.3.5 and 55.4)."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.ingest.destination.checkpoint import Checkpoint, Origin
from bemi_django.wire.lsn import format_lsn, parse_lsn


class Switch(NamedTuple):
    """The end of a timeline: the server left ``timeline`` at the position ``lsn``, in bytes."""

    timeline: int
    lsn: int


def parse_timeline_history(content: bytes) -> list[Switch]:
    """Return the switches that a timeline history file lists, the oldest first.

    Args:
        content: What ``TIMELINE_HISTORY`` returns: lines of a timeline, the position where it ended and a
            reason, separated by tabs; lines that begin with ``#`` are comments.

    Raises:
        ValueError: A line does not have this form.
    """
    switches = []
    for line in content.decode("utf-8", "replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            timeline, lsn, *_ = line.split(maxsplit=2)
            switches.append(Switch(int(timeline), parse_lsn(lsn)))
    return switches


def find_switch(switches: list[Switch], timeline: int) -> Switch | None:
    """Return where the server left a timeline, or None if its WAL does not descend from that timeline."""
    return next((switch for switch in switches if switch.timeline == timeline), None)


class Branch(NamedTuple):
    """How the WAL of the server continues the WAL that the log has followed.

    Attributes:
        common: The position up to which both are the same, in bytes: the log's end if the server has that.
        left: The timelines that the server has left since the log's, the log's own first.
        reason: Why the server does not continue the log's WAL, in words; None if it does.
        is_older: Whether the server is on the log's timeline, and its WAL ends before the log does.
    """

    common: int
    left: tuple[Switch, ...] = ()
    reason: str | None = None
    is_older: bool = False


def find_branch(
    checkpoint: Checkpoint, origin: Origin, switches: list[Switch], end: int, reached: int = 0
) -> Branch:
    """Find where the log's WAL and the server's part.

    Args:
        checkpoint: How far the log goes, and on which server.
        origin: The server and its timeline now.
        switches: The timeline history of the server; empty if it is on the log's timeline.
        end: Where the server's WAL ends, in bytes.
        reached: Up to where parts of the log go further than all of it, in bytes.
    """
    known = checkpoint.origin
    if known.system_identifier != origin.system_identifier:
        reason = (
            f"the server is another one (system {known.system_identifier}, now {origin.system_identifier})"
        )
        return Branch(checkpoint.lsn, reason=reason)
    if known.timeline != origin.timeline:
        switch = find_switch(switches, known.timeline)
        if switch is None:
            reason = (
                f"the server is on timeline {origin.timeline}, which does not descend from the log's "
                f"timeline {known.timeline}"
            )
            return Branch(checkpoint.lsn, reason=reason)
        return Branch(min(checkpoint.lsn, switch.lsn), tuple(switches[switches.index(switch) :]))
    if end < max(checkpoint.lsn, reached):
        # The same server without a new timeline: a snapshot of its disk.
        reason = f"the server was restored to an older state: its WAL ends at {format_lsn(end)}"
        return Branch(checkpoint.lsn, reason=reason, is_older=True)
    return Branch(checkpoint.lsn)
