"""Whether the queue has lost messages that are not in the log yet, of which nobody sends more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.db import DatabaseError

from bemi_django import destinations
from bemi_django.doctor.finding import Finding
from bemi_django.exceptions import QueueUnavailable, ReplicationError, first_line
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
_GAP = (
    "If somebody has removed messages, go on after a gap: stop consumers and the publisher, drop the slot, "
    "run manage.py bemi run --accept-gap once without a queue, and start both again."
)
_ANEW = (
    "If somebody has removed messages, begin {destination} again in a new database: manage.py bemi consume "
    "--destination {destination} --from a time after that."
)


def findings(source: str, slot: str) -> Iterator[Finding]:
    """Yield what is missing in the queue of ``BEMI_SINK``.

    Args:
        source: Alias of the source.
        slot: The name of its slot.
    """
    # Where the queue is away, another finding says so.
    with suppress(QueueUnavailable, ReplicationError):
        address = sink_address()
        if isinstance(address, QueueAddress):
            for destination in destinations.aliases():
                yield from _of_destination(source, slot, address, destination)


def _of_destination(source: str, slot: str, address: QueueAddress, destination: str) -> Iterator[Finding]:
    try:
        lost = _lost(source, slot, address, destination)
    except DatabaseError as error:
        yield Finding(
            "bemi.D023",
            f"The destination {destination} cannot be asked what it lacks: {first_line(error)}. The queue "
            "keeps what is for it.",
            "Let this machine reach it, and run manage.py migrate for it.",
        )
        return
    if lost:
        is_first = destination == destinations.first()
        yield Finding(
            "bemi.D022",
            f"Changes of the slot {slot} were published that are neither in the log {destination} nor in the "
            f"stream {address.stream}: lanes {', '.join(map(str, lost))} do not get on.",
            _GAP if is_first else _ANEW.format(destination=destination),
            stops=True,
        )


def _lost(source: str, slot: str, address: QueueAddress, destination: str) -> list[int]:
    # In this order: what is written meanwhile is removed from the queue after the log has it.
    with closed_cursor(source) as cursor:
        cursor.execute(_CONFIRMED, [slot])
        confirmed = cursor.fetchone()
    if confirmed is None:
        return []
    left = messages_of(address, f"{address.subject(slot, 0)[:-1]}*")
    with closed_cursor(destination) as cursor:
        if not lanes.may_read(cursor):
            return []
        end = LanePosition(sequence_at(Histories(slot).read(cursor), confirmed[0]))
        states = lanes.read(cursor, slot)
    return [
        lane
        for lane, state in states.items()
        if state.position < end and address.subject(slot, lane) not in left
    ]
