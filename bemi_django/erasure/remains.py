"""What is left of a change: keys that mean nothing, hashes of others, and no values."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import orjson

from bemi_django.erasure.half import with_other_sides
from bemi_django.erasure.rewriting import StoredChange
from bemi_django.erasure.targets.target import Target, looks_like_number
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
    r"hmac:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII
)


class Remains:
    """Takes the values out of the changes of one erasure.

    Args:
        targets: The changes.
        key: The key of hashes; needed if keys of rows mean something.
    """

    def __init__(self, targets: Iterable[Target], key: bytes | None) -> None:
        self._key = key
        texts = {text for target in targets for text in _texts_of(target)}
        #: Texts of keys that mean something, and what stands for them.
        self.hashes = {text: self._hash(text) for text in texts}

    def of_key(self, key: str | None, texts: Collection[str] = ()) -> str | None:
        """Return what stands for a key of the log.

        Args:
            key: The key.
            texts: Values of columns of the key that are texts, also those that look like numbers.
        """
        if key is None or _MEANINGLESS.fullmatch(key):
            return key
        if looks_like_number(key):
            return self._hash(key) if key in texts else key
        if key in self.hashes:
            return self.hashes[key]
        if key in texts:
            return self._hash(key)
        parts = _parts(key)
        if parts is not None:
            return dumps([part if (text := _meant(part)) is None else self._hash(text) for part in parts])
        return self._hash(key)

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
        texts = [target.texts_of_key([loads(change.before), loads(change.after)]) for change in changes]
        for change, own in zip(changes, texts, strict=True):
            for key in filter(None, (change.primary_key, change.previous_primary_key)):
                known |= {text: self._hash(text) for text in _texts_of_key(key, own)}
        sides = [[getattr(change, name) for change in changes] for name in ("before", "after", "unavailable")]
        cursor.execute(_ERASE, [*sides, list(target.kept), json.dumps(known)])
        found = cursor.fetchall()
        pairs = [
            (
                change,
                change._replace(
                    before=before,
                    after=after,
                    unavailable=unavailable,
                    primary_key=self.of_key(change.primary_key, own),
                    previous_primary_key=self.of_key(change.previous_primary_key, own),
                ),
            )
            for change, own, (before, after, unavailable, _) in zip(changes, texts, found, strict=True)
        ]
        left = with_other_sides(cursor, target, pairs)
        return [(change, list(erased)) for change, (*_, erased) in zip(left, found, strict=True)]

    def _hash(self, text: str) -> str:
        if self._key is None:
            raise BemiError(
                "the key of a row has to be hashed, because it is neither a number nor a UUID: set "
                "BEMI_MASK_KEY"
            )
        return hashed(orjson.dumps(text), self._key)[1:-1].decode()


def _texts_of(target: Target) -> Iterator[str]:
    """Yield the texts that mean something in the keys of a target's rows, and in what refers to others."""
    for span in target.spans:
        yield from _texts_of_key(span.key, target.texts)
    values = [value for row in target.values for value in row.values()]
    for text in filter(None, map(_meant, values)):
        if text in target.texts or not looks_like_number(text):
            yield text


def _texts_of_key(key: str, texts: Collection[str]) -> Iterator[str]:
    if key in texts or (parts := _parts(key)) is None:
        if not _MEANINGLESS.fullmatch(key) and (key in texts or not looks_like_number(key)):
            yield key
    else:
        yield from filter(None, map(_meant, parts))


def _meant(value: Any) -> str | None:
    """Return a part of a key as text, if it may mean something; None for numbers and the like."""
    if isinstance(value, (dict, list)):
        return dumps(value)
    return value if isinstance(value, str) and not _MEANINGLESS.fullmatch(value) else None


def _parts(key: str) -> list[Any] | None:
    """Return the values of a key of several columns, which is a JSON array; None for one of one column."""
    if key.startswith("["):
        try:
            found: list[Any] = loads(key)
        except ValueError:
            return None
        return found
    return None
