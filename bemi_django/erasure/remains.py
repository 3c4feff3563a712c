"""What is left of a change: keys that mean nothing, hashes of others, and no values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from bemi_django.erasure.rewriting import StoredChange
from bemi_django.erasure.target import Target
from bemi_django.exceptions import BemiError
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.masking.actions import hashed

_ERASE = """
SELECT e.before::text, e.after::text, e.unavailable::text, e.erased
FROM unnest(%s::text[]::jsonb[], %s::text[]::jsonb[], %s::text[]::jsonb[]) WITH ORDINALITY
    n (before, after, unavailable, place)
CROSS JOIN LATERAL _bemi.erased_change_v1(n.before, n.after, n.unavailable, %s::text[], %s::jsonb) e
ORDER BY n.place
"""
_MEANINGLESS = re.compile(
    r"-?\d+(?:\.\d+)?|hmac:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII,
)


class Remains:
    """Takes the values out of the changes of one erasure.

    Args:
        targets: The changes.
        key: The key of hashes; needed if keys of rows mean something.
    """

    def __init__(self, targets: Iterable[Target], key: bytes | None) -> None:
        keys = {span.key for target in targets for span in target.spans}
        keys |= {_text(value) for target in targets for each in target.values for value in each.values()}
        self._key = key
        #: Texts of keys that mean something, and what stands for them.
        self.hashes = {
            text: self._hash(text) for key in keys for text in _parts(key) if not _MEANINGLESS.fullmatch(text)
        }

    def of_key(self, key: str | None) -> str | None:
        """Return what stands for a key of the log."""
        if key is None or _MEANINGLESS.fullmatch(key):
            return key
        if key in self.hashes:
            return self.hashes[key]
        parts = _parts(key)
        if parts == [key]:
            return self._hash(key)
        return dumps([self._of_part(value) for value in loads(key)])

    def of_changes(
        self, cursor: Any, target: Target, changes: Sequence[StoredChange]
    ) -> list[tuple[StoredChange, list[str]]]:
        """Return what is left of changes, and the columns whose values are erased.

        Args:
            cursor: A cursor of the log, with a closed search path.
            target: What they are changes of.
            changes: The changes.
        """
        # Keys of other rows: those that refer to the object have keys of their own.
        known = dict(self.hashes)
        for change in changes:
            for key in filter(None, (change.primary_key, change.previous_primary_key)):
                texts = (text for text in _parts(key) if not _MEANINGLESS.fullmatch(text))
                known |= {text: self._hash(text) for text in texts}
        sides = [[getattr(change, name) for change in changes] for name in ("before", "after", "unavailable")]
        cursor.execute(_ERASE, [*sides, list(target.kept), json.dumps(known)])
        return [
            (
                change._replace(
                    before=before,
                    after=after,
                    unavailable=unavailable,
                    primary_key=self.of_key(change.primary_key),
                    previous_primary_key=self.of_key(change.previous_primary_key),
                ),
                list(erased),
            )
            for change, (before, after, unavailable, erased) in zip(changes, cursor.fetchall(), strict=True)
        ]

    def _of_part(self, value: Any) -> Any:
        text = value if isinstance(value, str) else None
        return value if text is None or _MEANINGLESS.fullmatch(text) else self._hash(text)

    def _hash(self, text: str) -> str:
        if self._key is None:
            raise BemiError(
                "the key of a row has to be hashed, because it is neither a number nor a UUID: set "
                "BEMI_MASK_KEY"
            )
        return hashed(orjson.dumps(text), self._key)[1:-1].decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def _parts(key: str) -> list[str]:
    """Return the values of a key, as text: a JSON array has several."""
    if key.startswith("["):
        try:
            found = loads(key)
        except ValueError:
            return [key]
        return [_text(value) for value in found]
    return [key]
