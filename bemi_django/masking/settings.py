"""Read rules and keys as settings have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from bemi_django.masking.actions import CALL, ENCRYPT, HASH, NAMES, Action, Encryption
from bemi_django.masking.patterns import parse
from bemi_django.masking.rules import Rule, Rules
from bemi_django.secrecy.hidden import HiddenBytes

_SHORTEST_KEY = 16
#: The methods of a store of keys.
_STORE = ("create", "get", "forget")
_NAMED = ", ".join(repr(name) for name in NAMES)


def rules_of(
    mask: object,
    key: object,
    derived: bytes | None = None,
    encryption: object = None,
    store: object = None,
) -> Rules:
    """Return the rules of ``BEMI_MASK`` and ``BEMI_MASK_KEY``, and the default ones.

    Args:
        mask: Actions by patterns.
        key: The key of hashes, as :func:`key_of` takes it.
        derived: The key that hashes of default rules have otherwise.
        encryption: ``BEMI_ENCRYPTION_KEY``: such a key, or a list of them; who only reads rules needs none.
        store: ``BEMI_KEY_STORE``, as :func:`store_of` takes it.

    Raises:
        ValueError: A pattern, an action or a key is wrong, or a hash has no key.
        ImportError: A function cannot be imported.
    """
    if not isinstance(mask, Mapping):
        raise ValueError(f"BEMI_MASK is a {type(mask).__name__}: it must be {{pattern: action}}")
    rules = []
    for text, value in mask.items():
        try:
            rules.append(rule_of(text, value))
        except (ValueError, ImportError) as error:
            raise ValueError(f"BEMI_MASK: {error}") from error
    try:
        own = key_of(key)
    except (ValueError, ImportError) as error:
        raise ValueError(f"BEMI_MASK_KEY {error}") from error
    if own is None and any(rule.action.name == HASH for rule in rules):
        raise ValueError("BEMI_MASK has the action 'hash', which needs BEMI_MASK_KEY")
    try:
        keys = keys_of(encryption)
    except (ValueError, ImportError) as error:
        raise ValueError(f"BEMI_ENCRYPTION_KEY {error}") from error
    try:
        make = store_of(store)
    except (ValueError, ImportError) as error:
        raise ValueError(f"BEMI_KEY_STORE: {error}") from error
    return Rules(rules, own or derived, encryption_keys=keys, key_store=make)


def rule_of(text: object, value: object) -> Rule:
    """Return the rule for a pattern and an action: a name, a function, or the dotted path of one.

    Raises:
        ValueError: The pattern or the action is none.
        ImportError: The function cannot be imported.
    """
    pattern = parse(text)
    if value == ENCRYPT or isinstance(value, Mapping):
        if pattern.is_of_context or pattern.path:
            raise ValueError(f"{text!r} is no column: only whole columns can be encrypted")
        return Rule(pattern, Action(ENCRYPT, encryption=_encryption(text, value)))
    if isinstance(value, str) and value in NAMES:
        return Rule(pattern, Action(value))
    path = value if isinstance(value, str) else getattr(value, "__qualname__", type(value).__name__)
    function = _imported(value) if isinstance(value, str) and "." in value else value
    if not callable(function):
        raise ValueError(f"{value!r}, of {text!r}, is no action: use {_NAMED}, or a function")
    return Rule(pattern, Action(CALL, function, path))


def _encryption(text: object, value: object) -> Encryption:
    if not isinstance(value, Mapping):
        return Encryption()
    table, by = value.get(ENCRYPT), value.get("by")
    if not (value.keys() == {ENCRYPT, "by"} and isinstance(table, str) and isinstance(by, str)):
        raise ValueError(
            f"{value!r}, of {text!r}, is no action: use {{'encrypt': 'table', 'by': 'column'}}; the column "
            "holds the key of a row of the table"
        )
    if not (table and by) or table.count(".") > 1 or "*" in table:
        raise ValueError(f"{value!r}, of {text!r}, must name a table, or schema.table, and a column")
    return Encryption(table, by)


def store_of(value: object) -> Callable[[], Any] | None:
    """Return what makes a store of keys: a class, or a function, or the dotted path of one; None for None.

    Raises:
        ValueError: It cannot be called, or the class lacks a method.
        ImportError: It cannot be imported.
    """
    if value is None:
        return None
    make: Any = _imported(value) if isinstance(value, str) and "." in value else value
    if not callable(make):
        raise ValueError(f"{type(value).__name__} is no class or function")
    missing = [name for name in _STORE if isinstance(make, type) and not callable(getattr(make, name, None))]
    if missing:
        raise ValueError(f"{make.__qualname__} has no method {missing[0]}()")
    found: Callable[[], Any] = make
    return found


def key_of(value: object) -> bytes | None:
    """Return a key from a text, from bytes, or from a function that returns one of them.

    Raises:
        ValueError: It is none of them, or too short.
        ImportError: The function cannot be imported.
    """
    if value is None:
        return None
    if callable(value):
        value = _result(value)
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        # The value itself may be a secret.
        raise ValueError(f"is of the type {type(value).__name__}: use a text, bytes or a function")
    if len(value) < _SHORTEST_KEY:
        raise ValueError(f"is too short: it must have {_SHORTEST_KEY} bytes")
    return HiddenBytes(value)


def keys_of(value: object) -> tuple[bytes, ...]:
    """Return the keys of a setting that has one, as :func:`key_of` takes it, a list of them, or none.

    Raises:
        ValueError: One of them is no key, or too short.
    """
    given = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    keys = tuple(key for key in map(key_of, given) if key is not None)
    if len(keys) < len(given):
        # An environment variable that is not set, for example: nothing would be signed or encrypted.
        raise ValueError("has None in the place of a key")
    return keys


def _result(function: Callable[[], Any]) -> Any:
    try:
        return function()
    # Functions of projects may fail in any way, and the message may hold the key.
    except Exception as error:
        raise ValueError(f"is a function that raised {type(error).__name__}") from None


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    # Importing a module runs it, which may fail in any way.
    except Exception as error:
        raise ImportError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
