"""The links of a chain: how each is hashed, and how they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from bemi_django.ingest.destination.sealing import DIGEST, ID, SALT, TRANSACTION

#: The chain of what was removed from the log or replaced in it.
OPERATIONS = ""
#: The greatest number of links that are read at once, and about the number of changes.
READ, CHANGES = 500, 20_000

_INT64 = Struct(">q").pack
_READ = """
SELECT number, kind, details, timestamptz_send(sealed_at), transactions, ids, replaced, digests, salts, hash,
    replace(first::text, '-', '') IS NOT DISTINCT FROM nullif(encode(substr(ids, 1, 16), 'hex'), '')
    AND replace(last::text, '-', '')
        IS NOT DISTINCT FROM nullif(encode(substr(ids, greatest(length(ids) - 15, 1), 16), 'hex'), '')
FROM (
    SELECT l.*, sum(length(l.ids)) OVER (ORDER BY l.number) - length(l.ids) AS size_before FROM (
        SELECT * FROM _bemi.links WHERE chain = %s AND number > %s ORDER BY number LIMIT %s) l) l
WHERE size_before < %s ORDER BY number
"""


class SealedChange(NamedTuple):
    """What a link says of a change; the position and the commit time are those of its transaction."""

    id: bytes
    digest: bytes
    salt: bytes
    position: int
    committed_at: int


class Link(NamedTuple):
    """A link as it is stored; ``sealed_at`` is in microseconds since 2000-01-01 UTC.

    ``is_findable`` tells whether it is found by the ids of its changes.
    """

    number: int
    kind: str
    details: str
    sealed_at: int
    transactions: bytes
    ids: bytes
    replaced: bytes
    digests: bytes
    salts: bytes
    hash: bytes
    is_findable: bool = True

    def hash_after(self, chain: str, previous: bytes) -> bytes:
        """Return the hash that the link must have in a chain after another hash."""
        parts = (
            chain.encode(),
            self.kind.encode(),
            self.details.encode(),
            self.transactions,
            self.ids,
            self.replaced,
            self.digests,
        )
        hashed = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hashlib.sha256(previous + _INT64(self.number) + _INT64(self.sealed_at) + hashed).digest()

    @property
    def says(self) -> dict[str, Any]:
        """The details as an object; empty if they are none."""
        try:
            found = json.loads(self.details)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def changes(self) -> Iterator[SealedChange]:
        """Yield the changes of the link. If it is damaged, some of them may be missing."""
        whole = len(self.transactions) // TRANSACTION.size * TRANSACTION.size
        places = (
            (position, committed_at)
            for position, committed_at, count in TRANSACTION.iter_unpack(self.transactions[:whole])
            for _ in range(min(count, len(self.ids)))
        )
        for number, (position, committed_at) in zip(range(len(self.ids) // ID), places, strict=False):
            yield SealedChange(*self.sealed(number), position, committed_at)

    def sealed(self, number: int) -> tuple[bytes, bytes, bytes]:
        """Return the id, the digest and the salt of a change of the link by its number."""
        return (
            self.ids[ID * number : ID * (number + 1)],
            self.digests[DIGEST * number : DIGEST * (number + 1)],
            self.salts[SALT * number : SALT * (number + 1)],
        )


def read_links(cursor: Any, chain: str, after: int, limit: int = READ, changes: int = CHANGES) -> list[Link]:
    """Return the links of a chain after a number, in their order.

    Args:
        cursor: A cursor of psycopg2.
        chain: The name of the chain.
        after: The number of the link before.
        limit: The greatest number of links.
        changes: About the greatest number of changes.
    """
    cursor.execute(_READ, [chain, after, limit, ID * changes])
    return [_link(found) for found in cursor.fetchall()]


def _link(found: tuple[Any, ...]) -> Link:
    number, kind, details, sealed_at, *packed, is_findable = found
    transactions, ids, replaced, digests, salts, link_hash = map(bytes, packed)
    moment = int.from_bytes(sealed_at, "big", signed=True)
    of_changes = transactions, ids, replaced, digests, salts
    return Link(number, kind, details, moment, *of_changes, link_hash, is_findable)
