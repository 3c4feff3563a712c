"""Functions of the public API, which import Django only when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.models import Model


def record(event: str, instance: Model | None = None, /, **details: Any) -> None:
    """Record that something has happened, as a change with the operation EVENT and the present context.

    In a transaction that has written, the event is one of its changes: it comes after the rows that were
    written before, and a rollback takes it back. Otherwise, and always for ``"viewed"``, it stays whatever
    becomes of the transaction. Example: ``record("sent", invoice, to="billing@example.com")``.

    Args:
        event: What happened: a name of at most 100 bytes.
        instance: The object that it happened to, saved or deleted.
        details: Whatever else is known. Values that JSON cannot hold are stored as their ``str()``.

    Raises:
        ValueError: The name is empty or too long, or the object has no primary key.
        BemiError: The database is a standby, and no other entry of DATABASES is its primary.
        django.db.Error: The event could not be written.
    """
    from bemi_django.events import recording

    recording.emit(event, instance, details)


async def arecord(event: str, instance: Model | None = None, /, **details: Any) -> None:
    """Do the same as :func:`record` in a coroutine."""
    from asgiref.sync import sync_to_async

    await sync_to_async(record)(event, instance, **details)
