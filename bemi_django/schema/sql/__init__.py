"""The SQL of the objects in the database: one file up and one file down for each part."""

from __future__ import annotations

from importlib.resources import files

#: The parts of a database whose changes are recorded, in order.
SOURCE = ("schema_v1", "capture_v1", "descriptions_v1", "tracking_v1", "event_triggers_v1")

# With this path no name in a file can mean an object that somebody put into a schema of the caller's path.
# The log goes where the caller would create a table.
_BEGIN = """
SELECT pg_catalog.set_config('_bemi.path', pg_catalog.current_setting('search_path'), true),
       pg_catalog.set_config('_bemi.home', pg_catalog.current_schema()::pg_catalog.text, true);
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
"""
_END = """
SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('_bemi.path'), true);
"""


def read(name: str) -> str:
    """Return the text of ``sql/<name>.sql``."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")


def up(*names: str) -> str:
    """Return a script that runs ``sql/<name>_up.sql`` for each name, in this order."""
    return _BEGIN + "\n".join(read(f"{name}_up") for name in names) + _END


def down(*names: str) -> str:
    """Return the inverse of :func:`up` for the same names: the last one is removed first."""
    return _BEGIN + "\n".join(read(f"{name}_down") for name in reversed(names)) + _END


def quote(identifier: str) -> str:
    """Return an identifier in quotes, whatever it is made of.

    Unlike Django's ``quote_name``, which leaves a name alone that begins and ends with a quote.
    """
    return '"' + identifier.replace('"', '""') + '"'
