"""What changes can be exported to, and what is written to it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from bemi_django.ingest.destination.dead_letters import RejectedMessage


class ExportPart(NamedTuple):
    """The next changes of a transaction, at least one; it is cut at the same places in every attempt.

    Attributes:
        rows: What :meth:`ExportTarget.render` has made of the changes.
        sequence: The sequence number of the transaction's commit.
        ordinal: The number of the first of these changes in its transaction.
        committed_at: The commit time, in microseconds since 2000-01-01 UTC.
        transaction: The 64-bit id of the transaction; 0 while it is not complete.
        end: The sequence number where the transaction ends; None if more parts follow.
    """

    rows: list[Any]
    sequence: int
    ordinal: int
    committed_at: int
    transaction: int = 0
    end: int | None = None


class ExportTarget(Protocol):
    """Takes parts in order; everything but ``render`` and ``interrupt`` is called in one thread.

    Attributes:
        name: Its address for messages, without secrets.
        position: The sequence number up to which it has all changes by its own account; None if it keeps
            none. What came after it was removed when the target was opened.
    """

    name: str
    position: int | None

    def render(self, row: bytes) -> Any:
        """Return what is kept of a row of COPY until it is written.

        Raises:
            UnicodeDecodeError: A value is not text.
        """

    def write(self, part: ExportPart) -> RejectedMessage | None:
        """Write changes; return a dead letter if they are given up.

        Raises:
            SinkUnavailable: They cannot be written now.
            ReplicationError: An administrator has to do something.
        """

    def keep(self, *, is_last: bool) -> bool:
        """Make what was written durable; return whether all of it is.

        Args:
            is_last: Do not wait for more that is to be kept together.

        Raises:
            SinkUnavailable, ReplicationError: As :meth:`write`.
        """

    @property
    def is_due(self) -> bool:
        """Whether what waits for more has waited long enough."""

    def interrupt(self) -> None:
        """Give up to wait, in the thread that writes."""

    def close(self) -> None:
        """Release what is open."""
