"""Link the file that a value names, by the storage of its field only: the value itself is hostile."""

from __future__ import annotations

from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from django.db import models


class StoredFile:
    """A file whose address the storage is asked for when a page shows it: to make one may take time.

    Args:
        field: The field that has the storage.
        name: The name of the file, which anybody may have written.
    """

    def __init__(self, field: models.FileField, name: str) -> None:
        self._field = field
        self._name = name

    @cached_property
    def url(self) -> str | None:
        """Where a browser finds the file, or None."""
        return file_url(self._field, self._name)

    @property
    def is_picture(self) -> bool:
        """Whether a browser can show the file as a picture, by its name."""
        return PurePosixPath(self._name).suffix.lower() in _PICTURES and self.url is not None


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
        # Browsers read \\ as /, so this may name another host, too.
        parts = urlsplit(url.replace("\\", "/"))
    except Exception:
        # Storages without addresses, names that they refuse, settings that are missing.
        return None
    # No javascript: or data: address, nothing relative to this page, and no host without a scheme.
    is_safe = parts.scheme in ("http", "https") or (
        not (parts.scheme or parts.netloc) and url.startswith("/")
    )
    return url if is_safe else None
