"""Read what the log says of rows, by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from bemi_django.masking.json_paths import read
from bemi_django.verification import log_queries
from bemi_django.verification.log_queries import LoggedName
from bemi_django.verification.subject import Subject


class Entry(NamedTuple):
    """The last change that the log has of a key.

    Attributes:
        key: The key.
        id: The id of the change.
        xid: The 64-bit id of its transaction.
        schema: The schema under whose name it is recorded.
        table: The table under whose name it is recorded.
        partition: The partition, as ``schema.name``.
        image: The row as JSON text, if it was asked for.
        digest: A digest of the row; None if the row was deleted.
        length: Characters of the row as JSON.
    """

    key: str
    id: str
    xid: int
    schema: str
    table: str
    partition: str | None
    image: str | None
    digest: bytes | None
    length: int | None


def last_entries(
    subject: Subject, keys: Sequence[str], snapshot: str | None = None, *, is_whole: bool = False
) -> dict[str, Entry]:
    """Return the last change of each key that the log has, by key.

    Args:
        subject: The table.
        keys: The keys.
        snapshot: Leave out changes that this snapshot of the source does not show; None for no changes.
        is_whole: Whether to read the rows themselves, too.
    """
    if not keys:
        return {}
    given = {"keys": list(keys), "snapshot": snapshot, "is_whole": is_whole}
    return {
        entry.key: entry._replace(digest=None if entry.digest is None else bytes(entry.digest))
        for entry in map(Entry._make, subject.fetch_log(log_queries.LAST_BY_KEY, given))
    }


def keys_after(subject: Subject, names: list[LoggedName], after: str | None, limit: int) -> list[str]:
    """Return the keys that the log has under some names after a key, in the order of its index."""
    part = {"slice": subject.part.number, "slices": subject.part.of}
    rows = subject.fetch_log(log_queries.KEYS, {**part, "after": after, "limit": limit}, names)
    return [key for (key,) in rows]


def last_image(subject: Subject, key: str, snapshot: str | None) -> str | None:
    """Return the row that is left when each change of the key has removed one image and added another."""
    # What is left of a masked value may be another text each time, such as with another key.
    hidden = frozenset(subject.masks)
    images: list[tuple[str, str]] = []
    given = {"key": key, "snapshot": snapshot}
    for before, after in subject.fetch_log(log_queries.HISTORY_OF_KEY, given):
        if before is not None:
            seen = _without(before, hidden)
            found = next((image for image in images if image[0] == seen), None)
            if found is not None:
                images.remove(found)
        if after is not None:
            images.append((_without(after, hidden), after))
    return images[-1][1] if images else None


def _without(image: str, columns: frozenset[str]) -> str:
    if not columns:
        return image
    row = read(image.encode())
    return orjson.dumps({name: value for name, value in row.items() if name not in columns}).decode()
