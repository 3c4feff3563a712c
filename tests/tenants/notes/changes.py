"""A handler, which writes down what it has heard."""

from __future__ import annotations

from django.db import connection

from bemi_django.handlers import on_change
from bemi_django.models import Change
from tests.tenants.notes.models import Note

#: Schema, operation, the live object, and the schema of the connection, of each change.
heard: list[list[str]] = []


@on_change(Note, since="beginning")
def hear(change: Change) -> None:
    schema = connection.schema_name  # type: ignore[attr-defined]
    heard.append([change.schema, change.operation, str(change.object), schema])
