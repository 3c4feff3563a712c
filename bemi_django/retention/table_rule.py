"""``TableRule``: how long the changes of a table are kept."""

from __future__ import annotations

from typing import NamedTuple


class TableRule(NamedTuple):
    """A rule for a table; without a table it is for all others, without a schema for those of any schema."""

    schema: str | None
    table: str | None
    period: str | None
    held: bool

    def is_for(self, schema: str, table: str) -> bool:
        """Return whether it is a rule for a table."""
        return self.table in (None, table) and self.schema in (None, schema)
