"""What gets the rows of a baseline: the slot whose worker writes them, and what the source knows it by."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django import conf
from bemi_django.schema.replication.slots import identity_of, slot_of
from bemi_django.sinks.addresses import ExportAddress
from bemi_django.wire.queue_address import QueueAddress
from bemi_django.wire.slot_name import sink_of_queue


class NamedSink(NamedTuple):
    """``sink`` is empty for the log, whose worker asks it which rows it has."""

    slot: str
    sink: str


def sink_of(database: str, address: ExportAddress | QueueAddress | None) -> NamedSink:
    """Return what gets the rows of a database.

    Args:
        database: Alias of the source.
        address: A sink, or a queue, which carries all rows to all logs; None for the log.
    """
    slot = slot_of(database)
    if isinstance(address, ExportAddress):
        return NamedSink(address.slot(slot), address.slot(slot))
    if address is None:
        return NamedSink(slot, "")
    # Processes with logs of their own may all call them the same.
    log = identity_of(conf.destination())
    return NamedSink(slot, sink_of_queue(slot, f"{log.system_identifier}/{log.oid}"))
