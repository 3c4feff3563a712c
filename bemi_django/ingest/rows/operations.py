"""What can happen to a row or a table, by the names that the log uses."""

from __future__ import annotations

from bemi_django.ingest.rows.copy_format import field

CREATE = "CREATE"
UPDATE = "UPDATE"
DELETE = "DELETE"
TRUNCATE = "TRUNCATE"
SKIPPED = "SKIPPED"

#: Each operation as a field of COPY.
FIELDS = {operation: field(operation.encode()) for operation in (CREATE, UPDATE, DELETE, TRUNCATE, SKIPPED)}
