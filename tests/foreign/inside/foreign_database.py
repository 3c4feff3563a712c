"""The database of a foreign suite, as ``DATABASES`` names it."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit


def database(name: str, engine: str = "django.db.backends.postgresql") -> dict[str, Any]:
    """Return the entry of ``DATABASES`` for a database of the suite's server."""
    parts = urlsplit(os.environ["FOREIGN_URL"])
    return {
        "ENGINE": engine,
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port),
    }
