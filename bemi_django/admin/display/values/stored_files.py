"""Link the file that a value names, by the storage of its field only: the value itself is hostile."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from django.db import models

_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif"}


def file_url(field: models.FileField, name: str) -> str | None:
    """Return where a browser finds a file, or None if the storage does not say or it is no safe address.

    Args:
        field: The field that has the storage.
        name: The name of the file, which anybody may have written.
    """
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        return None
    try:
        url = str(field.storage.url(name))
        scheme = urlsplit(url).scheme
    except Exception:
        # Storages without addresses, names that they refuse, settings that are missing.
        return None
    # No javascript: or data: address, and nothing that is relative to this page.
    is_safe = scheme in ("http", "https") or (not scheme and url.startswith("/"))
    return url if is_safe else None


def is_picture(field: models.FileField, name: str) -> bool:
    """Tell whether a browser can show a file as a picture, by its name."""
    return PurePosixPath(name).suffix.lower() in _PICTURES
