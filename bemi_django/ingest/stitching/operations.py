"""What can happen to a row or a table, by the names that the log uses."""

from __future__ import annotations

CREATE = "CREATE"
UPDATE = "UPDATE"
DELETE = "DELETE"
TRUNCATE = "TRUNCATE"
SKIPPED = "SKIPPED"
#: A row as it was when 'bemi baseline' read it.
BASELINE = "BASELINE"
#: What the application says that happened, such as that somebody has viewed a row.
EVENT = "EVENT"

#: What the worker writes.
ALL = (CREATE, UPDATE, DELETE, TRUNCATE, SKIPPED, BASELINE, EVENT)
