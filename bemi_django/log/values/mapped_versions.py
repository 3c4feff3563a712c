"""The versions that SQLAlchemy keeps of rows: ``version_id_col`` of the classes mapped in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

#: Returns the version after another one, or False if the application or the database gives it.
Generator = Callable[[Any], Any] | bool


def mapped_versions(schema: str, table: str) -> dict[str, Generator]:
    """Return the columns of a table in which mapped classes keep a version, with what gives the next one.

    Args:
        schema: The schema of the table. A class that names none is mapped to a table of any schema.
        table: The name of the table.
    """
    found: dict[str, Generator] = {}
    for mapper in _mappers():
        column = mapper.version_id_col
        owner = getattr(column, "table", None)
        if getattr(owner, "name", None) == table and getattr(owner, "schema", None) in (None, schema):
            found[str(column.name)] = mapper.version_id_generator
    return found


def _mappers() -> Iterator[Any]:
    # Whoever has mapped classes has imported this. There is no public way to all of them.
    loaded = sys.modules.get("sqlalchemy.orm.mapper")
    for registry in getattr(loaded, "_all_registries", list)():
        # A class whose table is to be reflected later has a manager, and no mapper yet.
        yield from (manager.mapper for manager in list(registry._managers) if manager.is_mapped)
