"""SQL as text. DDL is in frozen files: a released file is never edited, the next version gets a new name."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> str:
    """Return the text of ``sql/<name>.sql``."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")


def quote(identifier: str) -> str:
    """Return an identifier in quotes, whatever it is made of.

    Unlike Django's ``quote_name``, which leaves a name alone that begins and ends with a quote.
    """
    return '"' + identifier.replace('"', '""') + '"'
