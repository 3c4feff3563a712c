"""A receiver of webhooks: a POST for each transaction, signed, with an id that stays the same."""

from __future__ import annotations

import logging
import threading

import orjson

from bemi_django.alerts.webhook import AlertFailed, deliver
from bemi_django.exceptions import SinkUnavailable
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.export.row_json import moment_json, position_json, row_json
from bemi_django.ingest.export.target import ExportPart
from bemi_django.sinks import configured
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import history_of, lsn_of

logger = logging.getLogger(__name__)

VERSION = 1
#: Statuses of answers that refuse what was sent, and not the moment at which it came.
_REFUSALS = range(400, 500)
_MOMENTARY = (401, 403, 404, 407, 408, 421, 423, 425, 429)


class Refusals:
    """How often the delivery that is due was refused, while a process runs."""

    def __init__(self) -> None:
        self._delivery, self._number = "", 0

    def count(self, delivery: str) -> int:
        """Count a refusal of a delivery, and return how many there were."""
        self._number = self._number + 1 if delivery == self._delivery else 1
        self._delivery = delivery
        return self._number


class Receiver:
    """Sends each transaction to a URL; the checkpoint of the slot tells what was accepted: at least once.

    Args:
        url: The URL; no message names it.
        name: What messages name.
        slot: The slot whose changes are sent.
        refusals: Counts what is refused.

    Raises:
        ReplicationError: A setting is missing, or not valid.
    """

    position = None
    is_due = False

    def __init__(self, url: str, name: str, slot: str, refusals: Refusals) -> None:
        self.name = name
        self._url, self._slot, self._refusals = url, slot, refusals
        self._secret, self._attempts = configured.secret(), configured.attempts()
        self._is_over = threading.Event()

    def render(self, row: bytes) -> bytes:
        """Return a row as JSON."""
        return row_json(row)

    def write(self, part: ExportPart) -> RejectedMessage | None:
        """Send a part; return a dead letter if it was refused too often."""
        if self._is_over.is_set():
            raise SinkUnavailable("stopped before everything was sent")
        delivery, body = self._delivery(part), self._body(part)
        try:
            deliver(self._url, body, self._secret, delivery)
        except AlertFailed as error:
            reason = f"{self.name} has not accepted changes: {error}"
            if not self._is_given_up(error, delivery):
                raise SinkUnavailable(reason) from error
            logger.error("%s; the delivery %s is kept in _bemi.dead_letters", reason, delivery)
            return RejectedMessage(lsn_of(part.sequence), None, body, {"delivery": delivery}, reason)
        return None

    def keep(self, *, is_last: bool) -> bool:
        """Return that everything was accepted."""
        return True

    def interrupt(self) -> None:
        """Send nothing more."""
        self._is_over.set()

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _is_given_up(self, error: AlertFailed, delivery: str) -> bool:
        if error.status is None or not self._attempts:
            return False
        if error.status not in _REFUSALS or error.status in _MOMENTARY:
            return False
        return self._refusals.count(delivery) >= self._attempts

    def _delivery(self, part: ExportPart) -> str:
        lsn = format_lsn(lsn_of(part.sequence))
        return f"{self._slot}:{history_of(part.sequence)}:{lsn}:{part.ordinal}"

    def _body(self, part: ExportPart) -> bytes:
        head = {
            "version": VERSION,
            "delivery": self._delivery(part),
            **position_json(part.sequence),
            "committed_at": moment_json(part.committed_at),
            "first": part.ordinal,
            "is_last": part.end is not None,
        }
        return orjson.dumps(head)[:-1] + b',"changes":[' + b",".join(part.rows) + b"]}"
