"""Decide which values of contexts are masked (patterns ``context->key``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from bemi_django.log.lossless_json import dumps, loads, with_value
from bemi_django.masking.actions import DROP, Action
from bemi_django.masking.contexts import MASK, ContextMasks
from bemi_django.masking.patterns import Pattern, path_matches
from bemi_django.masking.rules import Rule, Rules
from bemi_django.wire import SQL_KEY

_MASKED = dumps(MASK)
#: A key that JSON prints as it is, and no pattern.
_PLAIN = re.compile(r"\w+", re.ASCII)


class ContextKeys:
    """The keys of contexts whose values are masked.

    Args:
        patterns: The patterns of them.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._paths = [pattern.path for pattern in patterns if pattern.path]
        names = [path[0] for path in self._paths if len(path) == 1 and _PLAIN.fullmatch(path[0])]
        is_plain = len(names) == len(patterns) and SQL_KEY not in names
        #: The keys, if none is inside of another one: these are found in a text without parsing it.
        self._names = names if is_plain else None
        rules = [Rule(pattern, Action(DROP)) for pattern in patterns]
        self._masks = ContextMasks(Rules(rules, has_defaults=False))

    def __bool__(self) -> bool:
        return self._masks.has_rules

    def visible(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return a context without the values under masked keys."""
        if not self:
            return dict(context)
        values: dict[str, Any] = loads(self.visible_text(dumps(context)))
        return values

    def visible_text(self, context: str) -> str:
        """Return a context, given as JSON, without the values under masked keys; the same text without any.

        Raises:
            RecursionError: The context is nested too deeply.
        """
        if self._names is None:
            return self._masks.masked(context.encode()).decode()
        for name in self._names:
            context = with_value(context, name, _starred)
        return context

    def hidden_in(self, part: dict[str, Any]) -> list[str]:
        """Return the outermost keys of a part of a context that must not be compared with contexts.

        A pattern of keys inside a value hides the whole value.
        """
        if not self._paths:
            return []
        return [name for name, value in part.items() if any(map(self._hide, _keys_in(name, value)))]

    def _hide(self, keys: tuple[str, ...]) -> bool:
        return any(path[0] == keys[0] or path_matches(path, keys) for path in self._paths)


def _starred(value: str) -> str:
    return value if value == "null" else _MASKED


def _keys_in(name: str, value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the keys of a value and of all values in it; arrays have none of their own."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((name,), value)]
    yield (name,)
    while waiting:
        keys, value = waiting.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                yield (*keys, key)
                waiting.append(((*keys, key), item))
        elif isinstance(value, list):
            waiting += [(keys, item) for item in value]
