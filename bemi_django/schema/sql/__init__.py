"""The SQL of the objects in the database: one file up and one file down for each part."""

from __future__ import annotations

from importlib.resources import files

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


def script(*names: str) -> str:
    """Return one script of several files, in which every name resolves to PostgreSQL's own or to ours."""
    return _BEGIN + "\n".join(read(name) for name in names) + _END


def quote(identifier: str) -> str:
    """Return an identifier in quotes, whatever it is made of.

    Unlike Django's ``quote_name``, which leaves a name alone that begins and ends with a quote.
    """
    return '"' + identifier.replace('"', '""') + '"'
