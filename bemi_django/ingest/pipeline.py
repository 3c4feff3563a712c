"""What the loop needs of both ends of the pipeline: where changes come from, and where they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage


class Source(Protocol):
    """Sends messages in the order of commits, again from the last confirmed position if it is interrupted.

    Attributes:
        position: The position that the stream has come to, in bytes.
        message_lsn: That of the last message, or 0.
    """

    position: int
    message_lsn: int

    def messages(self) -> Iterator[bytes]:
        """Yield the messages that are there now."""

    def wait(self, seconds: float, *others: Any) -> list[Any]:
        """Sleep until a message may be there, or for ``seconds``; return which of ``others`` are readable."""

    def confirm(self, lsn: int) -> None:
        """Tell that everything before ``lsn`` is durable and need not be sent again."""

    def report(self) -> None:
        """Give a sign of life and ask for one, if it is time to; it is called often."""

    def heartbeat(self) -> None:
        """Give a sign of life, if it is time to, while nobody reads answers."""


class Sink(Protocol):
    """Takes rows, transaction by transaction, and makes them durable together with their position.

    Whatever a sink has made durable has a position, which is kept where the data are: who goes on from an
    earlier one writes nothing twice.

    Attributes:
        has_pending: Whether complete transactions wait to be sent.
        checkpoint: Every change committed at or below this LSN is durable.
        committed_at: The commit time of the last durable change, in microseconds since 2000-01-01 UTC; 0
            before one.
        written: The number of durable rows.
        kept: The number of durable dead letters.
    """

    has_pending: bool
    checkpoint: int
    committed_at: int
    written: int
    kept: int

    def add(self, pending: Pending) -> None:
        """Take one row of the open transaction."""

    def add_letter(self, letter: RejectedMessage) -> None:
        """Take a dead letter of the open transaction."""

    def end(self, lsn: int, committed_at: int, transaction: int = 0, is_notable: bool = False) -> None:
        """Complete the open transaction.

        Args:
            lsn: Its end; the checkpoint will move there.
            committed_at: Its commit time, in microseconds since 2000-01-01 UTC.
            transaction: Its 64-bit id.
            is_notable: Move the checkpoint even if the transaction has no rows.
        """

    @property
    def is_full(self) -> bool:
        """Whether the complete transactions should be sent now."""

    @property
    def in_flight(self) -> int:
        """The number of batches on their way."""

    def fileno(self) -> int:
        """Return a file descriptor that is readable when the first of them is done."""

    def send(self) -> None:
        """Begin to make complete transactions durable, after the batches before."""

    def finish(self) -> None:
        """Begin to make durable also what waits for more, before the session ends."""

    def settle(self, in_flight: int = 0) -> None:
        """Wait until at most ``in_flight`` batches are on their way."""

    def keep_alive(self) -> None:
        """Keep what is written to from giving us up while the source is waited for; it is called often."""

    def close(self) -> None:
        """Wait for the batches on their way, and ignore their outcome."""
