"""The configuration of a worker: two databases, a slot and a publication."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bemi_django.ingest.selection.rules import EVERYTHING, Selection
from bemi_django.ingest.stitching.provenance import NO_PROVENANCE, Provenance
from bemi_django.masking.rules import DEFAULT, Rules
from bemi_django.wire.defaults import LARGEST_DEAD_LETTER
from bemi_django.wire.division import Division
from bemi_django.wire.queue_address import QueueAddress


class Export(NamedTuple):
    """Where changes go, if not to the log.

    ``name`` is its address for messages, without secrets. ``open`` opens it for the changes of a slot, as a
    :class:`bemi_django.ingest.export.target.ExportTarget`.
    """

    name: str
    open: Callable[[str], Any]


class Divided(NamedTuple):
    """The part of the changes that a consumer writes, where several destinations share them.

    ``division`` says which changes are those of its destination ``name``. ``others`` return the parameters of
    libpq of the other destinations by their names.
    """

    name: str
    division: Division
    others: Mapping[str, Callable[[], dict[str, Any]]]

    @property
    def is_first(self) -> bool:
        """Whether the publisher begins the log of this destination; the others begin with the queue."""
        return self.name == self.division.rest


class WorkerConfig(NamedTuple):
    """Where a worker reads from and writes to.

    ``source`` and ``destination`` are parameters of libpq. ``ask`` returns both anew for each connection,
    because a password may be a token that expires; without it they stay as they are. ``accept_gap`` records
    lost history as a gap instead of stopping, and ``operator`` returns who decided that. ``publish`` makes
    the publication where it is missing. ``failover`` lets standbys synchronise the slot, from PostgreSQL 17
    on. ``largest_letter`` is the size in bytes of the largest message that is kept whole as a dead letter.
    ``name_slot`` finds the name of the slot, in place of ``slot``, with a cursor of the source and one of
    the destination.
    ``selection`` says what is left out of the log, and ``masking`` which values are masked in it.
    ``is_sealed`` tells whether changes are sealed against tampering, and ``provenance`` what is recorded of
    where contexts come from. ``queue`` is where changes are published, instead of being
    written to the destination, and from where a consumer takes them. ``export`` is where changes are
    written instead; the destination has the checkpoint only. ``divided`` is the part of the changes that a
    consumer writes, None for all, and ``ask_destination`` returns the parameters of libpq of any destination
    by its name.
    """

    source: dict[str, Any]
    destination: dict[str, Any]
    slot: str
    publication: str
    accept_gap: bool = False
    operator: Callable[[], Mapping[str, Any]] = dict
    publish: Callable[[], None] | None = None
    failover: bool = True
    ask: Callable[[], tuple[dict[str, Any], dict[str, Any]]] | None = None
    largest_letter: int = LARGEST_DEAD_LETTER
    name_slot: Callable[[Any, Any], str] | None = None
    selection: Selection = EVERYTHING
    masking: Rules = DEFAULT
    is_sealed: bool = False
    provenance: Provenance = NO_PROVENANCE
    queue: QueueAddress | None = None
    export: Export | None = None
    divided: Divided | None = None
    ask_destination: Callable[[str], dict[str, Any]] | None = None

    @property
    def division(self) -> str:
        """The fingerprint of the division of the changes; empty if there is one destination."""
        return self.divided.division.fingerprint if self.divided else ""

    def addresses(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the present parameters of the source and of the destination."""
        return self.ask() if self.ask else (self.source, self.destination)
