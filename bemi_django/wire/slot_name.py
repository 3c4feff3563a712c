"""Names of replication slots, which are unique in a server."""

from __future__ import annotations

import hashlib
import re

#: How all names begin that are made here.
PREFIX = "bemi"
#: Bytes of the longest name (``NAMEDATALEN`` - 1), and hexadecimal digits of the hash.
LONGEST, _DIGITS = 63, 8
_OTHERS = re.compile("[^a-z0-9]+")


def slot_name(database: str, alias: str = "default") -> str:
    """Return the name of a new slot, ``bemi_<database>_<hash>``.

    Args:
        database: The name of the database.
        alias: The alias of the database. It is a part of the hash, since databases of several servers may
            have the same name and write to one log.

    Returns:
        At most 63 letters from a to z, digits and underscores, which are all that the server accepts. The
        hash tells apart what is the same without the other characters.
    """
    hashed = database if alias == "default" else f"{database}\0{alias}"
    digest = hashlib.sha256(hashed.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    room = LONGEST - len(PREFIX) - len(digest) - 2
    cleaned = _OTHERS.sub("_", database.lower()).strip("_")[:room].rstrip("_")
    return "_".join(filter(None, [PREFIX, cleaned, digest]))


def sink_of_queue(slot: str, log: str = "") -> str:
    """Return what a source knows a queue by, which carries rows of a baseline to all logs.

    Args:
        slot: The slot of the publisher.
        log: The log that the command waits for. Without it, the beginning of all names is returned.
    """
    return f"{slot}@{log}"


def is_of_queue(sink: str) -> bool:
    """Tell whether a source knows a queue by this; slots, by which it knows sinks, have no such letter."""
    return "@" in sink
