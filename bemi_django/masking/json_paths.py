"""Apply actions to values inside JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from bemi_django.masking import words
from bemi_django.masking.actions import NULL, Masker
from bemi_django.masking.patterns import SECRET, path_matches

_WILDCARDS = frozenset("*?[")
_TELLING = re.compile("|".join(words.TELLING).encode())


class PathMask(NamedTuple):
    """A pattern of keys, and what is done to values under them: None removes the key."""

    path: tuple[str, ...]
    mask: Masker | None


#: Finds the mask for the value under some keys: whether there is one, and the mask.
Find = Callable[[tuple[str, ...]], tuple[bool, Masker | None]]


def masker_of_paths(masks: Sequence[PathMask], failed: Callable[[], None] = lambda: None) -> Masker:
    """Return what applies masks to values inside a JSON text; the first that matches applies.

    Args:
        masks: The masks.
        failed: Called for a text that cannot be read; nothing is kept of it then.
    """
    needles = _needles([mask.path for mask in masks])

    def find(keys: tuple[str, ...]) -> tuple[bool, Masker | None]:
        for path, mask in masks:
            if path_matches(path, keys):
                return True, mask
        return False, None

    def mask(value: bytes) -> bytes:
        # A key may be written with escapes.
        if value[:1] not in (b"{", b"[") and value[:1].strip():
            return value
        if needles is not None and b"\\" not in value and not needles.may_be_in(value):
            return value
        try:
            return orjson.dumps(mask_values(read(value), find))
        except (ValueError, TypeError, RecursionError):
            failed()
            return NULL

    return mask


def read(value: bytes) -> Any:
    """Return the value of a JSON text, with numbers as they are written."""
    return json.loads(value, parse_int=_as_written, parse_float=_as_written)


def mask_values(value: Any, find: Find, keys: tuple[str, ...] = ()) -> Any:
    """Return a value of JSON with the values masked for which ``find`` has a mask."""
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            is_masked, mask = find((*keys, key))
            if not is_masked:
                found[key] = mask_values(item, find, (*keys, key))
            elif item is None:
                found[key] = None
            elif mask is not None:
                found[key] = orjson.Fragment(mask(orjson.dumps(item)))
        return found
    if isinstance(value, list):
        return [mask_values(item, find, keys) for item in value]
    return value


def _as_written(literal: str) -> orjson.Fragment:
    return orjson.Fragment(literal)


class _Needles(NamedTuple):
    """What is in a text that has something to mask: one of some keys, or a part of words for secrets."""

    keys: tuple[bytes, ...]
    has_secrets: bool

    def may_be_in(self, value: bytes) -> bool:
        """Return whether a text has one of them."""
        if any(key in value for key in self.keys):
            return True
        return self.has_secrets and _TELLING.search(value.lower()) is not None


def _needles(paths: Sequence[tuple[str, ...]]) -> _Needles | None:
    """Return what tells texts by the last keys of paths; None if these can be any."""
    last = {path[-1] for path in paths}
    if any(_WILDCARDS.intersection(key) for key in last):
        return None
    return _Needles(tuple(orjson.dumps(key) for key in last - {SECRET}), SECRET in last)
