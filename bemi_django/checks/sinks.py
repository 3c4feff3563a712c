"""Checks of the settings of what changes are written to."""

from __future__ import annotations

import importlib.util

from django.core.checks import CheckMessage, Error

from bemi_django.exceptions import ReplicationError
from bemi_django.sinks import configured
from bemi_django.sinks.addresses import ExportAddress
from bemi_django.wire.queue_address import QueueAddress

#: The module, its package and the extra that addresses of a kind need.
_NEEDED = {
    "queue": ("nats", "nats-py", "nats"),
    "parquet": ("pyarrow", "pyarrow", "parquet"),
}


def check_sink() -> list[CheckMessage]:
    """Return what is wrong with ``BEMI_SINK``, ``BEMI_SINK_SECRET`` and ``BEMI_SINK_ATTEMPTS``."""
    try:
        address = configured.sink_address()
        configured.attempts()
        if isinstance(address, ExportAddress) and address.kind == "webhook":
            configured.secret()
    except ReplicationError as error:
        # It holds no part of the address, in which a password may be.
        return _wrong(f"BEMI_SINK, BEMI_SINK_SECRET or BEMI_SINK_ATTEMPTS is wrong: {error}")
    module, package, extra = _NEEDED.get(_kind(address), ("", "", ""))
    if module and importlib.util.find_spec(module) is None:
        hint = f"Run pip install 'bemi-django-wal[{extra}]'."
        return [Error(f"BEMI_SINK needs {package}, which is not installed.", hint=hint, id="bemi.E029")]
    return []


def _kind(address: QueueAddress | ExportAddress | None) -> str:
    if isinstance(address, ExportAddress):
        return address.kind
    return "" if address is None else "queue"


def _wrong(message: str) -> list[CheckMessage]:
    hint = "Correct the setting, or remove it: see docs/scaling.md for queues, and docs/sinks.md."
    return [Error(f"{message}.", hint=hint, id="bemi.E029")]
