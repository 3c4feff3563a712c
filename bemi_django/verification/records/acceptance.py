"""Differences that somebody has looked at and accepted: they are no failure until they change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_KNOWN = "SELECT digest FROM _bemi.accepted WHERE slot = %s AND name = %s AND digest = ANY (%s)"
_ADD = """
INSERT INTO _bemi.accepted (slot, name, digest, kind, context)
SELECT %s, %s, digest, kind, %s FROM unnest(%s::bytea[], %s::text[]) x (digest, kind)
ON CONFLICT (slot, name, digest) DO NOTHING
"""


class Acceptance(NamedTuple):
    """What is accepted of the differences of a slot; with ``context`` (who, and why) whatever is found."""

    destination: Any
    slot: str
    context: Mapping[str, Any] | None = None

    def accepted(self, name: str, differences: Sequence[tuple[bytes, str]]) -> set[bytes]:
        """Return the digests of those differences that are accepted.

        Args:
            name: The table as ``schema.name``.
            differences: The digest and the kind of each difference.
        """
        if not differences:
            return set()
        digests = [digest for digest, _ in differences]
        with self.destination.cursor() as cursor:
            if self.context is not None:
                kinds = [kind for _, kind in differences]
                cursor.execute(_ADD, [self.slot, name, json.dumps(dict(self.context)), digests, kinds])
                return set(digests)
            cursor.execute(_KNOWN, [self.slot, name, digests])
            return {bytes(digest) for (digest,) in cursor.fetchall()}
