"""The setting of the status."""

from __future__ import annotations

from django.conf import settings


def wal_disk() -> int | None:
    """Return ``BEMI_WAL_DISK``: the bytes that WAL may take on the disk of the server; None if not known."""
    disk = getattr(settings, "BEMI_WAL_DISK", None)
    return None if disk is None else int(disk)
