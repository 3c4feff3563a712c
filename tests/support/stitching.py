"""Feed a stitcher decoded messages, contexts included."""

from __future__ import annotations

from bemi_django.ingest.protocol.messages import Decoded, Message
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.ingest.stitching.stitcher import PREFIX, Stitcher


def stitcher() -> Stitcher:
    """Return a stitcher of tables without partitions and descendants."""
    return Stitcher(lambda header: {header.relation.oid})


def feed(stitcher: Stitcher, message: Decoded, lsn: int = 0) -> list[Stitched]:
    """Return the changes that the message makes; a context is followed."""
    if isinstance(message, Message) and message.prefix == PREFIX:
        stitcher.follow(message.content)
        return []
    return stitcher.feed(message, lsn)
