"""Whether what is published gets into the log: why a log stands still, and what the queue has lost of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from django.db import Error

from bemi_django import destinations
from bemi_django.doctor.finding import Finding
from bemi_django.exceptions import BemiError, QueueUnavailable, ReplicationError, first_line
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.queue.server.stream_info import messages_of
from bemi_django.schema.search_path import closed_cursor
from bemi_django.sinks.configured import sink_address
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.queue_address import QueueAddress
from bemi_django.wire.sequence import sequence_at

_CONFIRMED = """
SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots
WHERE slot_name = %s AND database = current_database() AND confirmed_flush_lsn IS NOT NULL
"""
_TROUBLE = "SELECT coalesce(trouble, '') FROM _bemi.checkpoint WHERE slot = %s"
_GAP = (
    "If somebody has removed messages, go on after a gap: stop consumers and the publisher, drop the slot, "
    "run manage.py bemi run --accept-gap once without a queue, and start both again."
)
_ANEW = (
    "If somebody has removed messages, begin {destination} again in a new database: manage.py bemi consume "
    "--destination {destination} --from a time after that."
)


class Published(NamedTuple):
    """What was published of a slot: up to which LSN, and in which lanes the stream has messages."""

    slot: str
    stream: str
    confirmed: int
    lanes: set[str]


def findings(source: str, slot: str) -> Iterator[Finding]:
    """Yield what is missing in the queue of ``BEMI_SINK``.

    Args:
        source: Alias of the source.
        slot: The name of its slot.
    """
    # Where the queue is away, another finding says so.
    with suppress(QueueUnavailable, ReplicationError):
        address = sink_address()
        if isinstance(address, QueueAddress) and (confirmed := _confirmed(source, slot)) is not None:
            # In this order: what is written meanwhile is removed from the queue after the log has it.
            left = messages_of(address, f"{address.subject(slot, 0)[:-1]}*")
            lanes_left = {subject.rpartition(".")[2] for subject in left}
            published = Published(slot, address.stream, confirmed, lanes_left)
            for destination in destinations.aliases():
                yield from _of_destination(published, destination)


def _confirmed(source: str, slot: str) -> int | None:
    with closed_cursor(source) as cursor:
        cursor.execute(_CONFIRMED, [slot])
        found = cursor.fetchone()
    return None if found is None else int(found[0])


def _of_destination(published: Published, destination: str) -> Iterator[Finding]:
    slot = published.slot
    try:
        trouble, lost = _state_of(published, destination)
    # Parameters may be computed by code of the application, and drivers raise more than errors of databases,
    # whose messages alone are known to hold no secrets.
    except Exception as error:
        reason = first_line(error) if isinstance(error, (BemiError, Error)) else type(error).__name__
        yield Finding(
            "bemi.D023",
            f"The destination {destination} cannot be asked what it lacks: {reason}. The queue keeps what is "
            "for it.",
            "Let this machine reach it, and run manage.py migrate for it.",
        )
        return
    if trouble:
        yield Finding(
            "bemi.D025",
            f"The log {destination} of the slot {slot} stands still: {trouble}.",
            "Do what it says. What writes the log tries again by itself.",
            stops=True,
        )
    if lost:
        is_first = destination == destinations.first()
        yield Finding(
            "bemi.D022",
            f"Changes of the slot {slot} were published that are neither in the log {destination} nor in the "
            f"stream {published.stream}: lanes {', '.join(map(str, lost))} do not get on.",
            _GAP if is_first else _ANEW.format(destination=destination),
            stops=True,
        )


def _state_of(published: Published, destination: str) -> tuple[str, list[int]]:
    """Return why a log stands still, if it does, and the lanes of which it lacks changes."""
    slot = published.slot
    with closed_cursor(destination) as cursor:
        if not lanes.may_read(cursor):
            return "", []
        cursor.execute(_TROUBLE, [slot])
        trouble = cursor.fetchone() or ("",)
        end = LanePosition(sequence_at(Histories(slot).read(cursor), published.confirmed))
        states = lanes.read(cursor, slot)
    lost = [
        lane for lane, state in states.items() if state.position < end and str(lane) not in published.lanes
    ]
    return trouble[0], lost
