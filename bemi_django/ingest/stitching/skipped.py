"""Count changes that are not recorded, because their context asks for it."""

from __future__ import annotations

import json
from collections import Counter

import orjson

from bemi_django.ingest.stitching.operations import SKIPPED
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.wire import SKIP_KEY, SQL_KEY

_SKIP = f'"{SKIP_KEY}"'.encode()


class Skipped:
    """Counts the changes of one transaction that are not recorded, by table, context and operation.

    At most ``limit`` counts with ``max_bytes`` of contexts are kept; if there are more, they are reported
    before the transaction ends.
    """

    def __init__(self, limit: int = 1000, max_bytes: int = 4 * 1024 * 1024) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._counts: dict[tuple[int, bytes], tuple[Stitched, Counter[str]]] = {}
        self._context = b""
        self._remark: bytes | None = None

    def follow(self, context: bytes) -> bool:
        """Take the context of the changes that follow; return whether they are only counted."""
        if context is not self._context:
            self._context, self._remark = context, _remark(context)
        return self._remark is not None

    def sift(self, changes: list[Stitched]) -> list[Stitched]:
        """Return the changes that are to be recorded."""
        if self._remark is None:
            return changes
        recorded = []
        for change in changes:
            if change.context is not self._context:
                # Of a table that no message named.
                recorded.append(change)
                continue
            key = change.relation.oid, self._remark
            if key not in self._counts:
                summary = change._replace(operation=SKIPPED, before=None, after=None)
                self._counts[key] = summary, Counter()
                self._bytes += len(self._remark)
            self._counts[key][1][change.operation] += 1
        is_full = len(self._counts) >= self._limit or self._bytes >= self._max_bytes
        return recorded + self.take() if is_full else recorded

    def take(self) -> list[Stitched]:
        """Return the counts as changes, each at the place of the first change it counts, and forget them."""
        if not self._counts:
            return []
        taken = [
            summary._replace(context=_with_rows(remark, count))
            for (_, remark), (summary, count) in self._counts.items()
        ]
        self._counts, self._bytes = {}, 0
        return taken


def _with_rows(remark: bytes, count: Counter[str]) -> bytes:
    comma = b"," if len(remark) > len(b"{}") else b""
    return remark[:-1] + comma + b'"rows":' + orjson.dumps(count) + b"}"


def _remark(context: bytes) -> bytes | None:
    """Return what is recorded of a context whose rows are skipped, or None for any other context."""
    # ``not in`` would try these bytes as a number first.
    if context.find(_SKIP) < 0:
        return None
    # Numbers are copied as they are written.
    values = json.loads(context, parse_int=_as_written, parse_float=_as_written)
    if values.pop(SKIP_KEY, None) is not True:
        return None
    # The counts are of many statements.
    values.pop(SQL_KEY, None)
    return orjson.dumps(values)


def _as_written(literal: str) -> orjson.Fragment:
    return orjson.Fragment(literal)
