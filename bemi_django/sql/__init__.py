"""DDL in frozen files: a released file is never edited, the next version gets a new name."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> str:
    """Return the text of ``sql/<name>.sql``."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")
