"""Mask values of contexts before they are written to the WAL.

What a function of the project makes of a value, only the worker computes: applied twice, it could make
something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bemi_django.masking.actions import CALL, KEEP
from bemi_django.masking.contexts import MASK
from bemi_django.masking.rules import DEFAULT, Rules

_PLAIN = (str, int, bool, float)
_WORD = re.compile(r"\w+")

_read_rules: Callable[[], Rules] = lambda: DEFAULT  # noqa: E731 - replaced by use()
_rules: Rules | None = None


def use(read: Callable[[], Rules]) -> None:
    """Mask by other rules than the default ones.

    Args:
        read: Returns the rules; called at the first context after this.
    """
    global _read_rules, _rules
    _read_rules, _rules = read, None


def masked(key: object, value: Any) -> Any:
    """Return the value of a context under a key, without what is masked in it. This never raises."""
    global _rules
    rules = _rules
    if rules is None:
        rules = _rules = _read_rules()
    if type(key) is str and (value is None or type(value) in _PLAIN) and rules.context_rule((key,)) is None:
        return value
    try:
        return _masked(rules, (key if isinstance(key, str) else str(key),), value)
    # A key that is no text, or a container that contains itself.
    except Exception:
        return _unread(rules, value)


def _masked(rules: Rules, keys: tuple[str, ...], value: Any) -> Any:
    rule = rules.context_rule(keys)
    if rule is not None and rule.action.name not in (KEEP, CALL):
        return _replaced(rules, rule, value)
    if isinstance(value, Mapping):
        return {key: _masked(rules, (*keys, str(key)), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(rules, keys, item) for item in value] if rule is None else list(value)
    return value


def _unread(rules: Rules, value: Any) -> Any:
    """Return a value that is stored as text, unless its text mentions what is masked."""
    try:
        mentioned = any(rules.is_mentioned(word) for word in _WORD.findall(str(value)))
    except Exception:
        # It is stored as the name of its type.
        return value
    return MASK if mentioned else value


def _replaced(rules: Rules, rule: Any, value: Any) -> Any:
    if value is None:
        return None
    mask = rules.mask_of_context(rule)
    if mask is None:
        return MASK
    try:
        return json.loads(mask(json.dumps(value, default=str, ensure_ascii=False).encode()))
    except (ValueError, TypeError, RecursionError):
        return MASK
