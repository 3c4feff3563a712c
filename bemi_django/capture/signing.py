"""Sign contexts with a key of the application, if it has one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from bemi_django.capture.warn_once import warn_once
from bemi_django.masking.settings import keys_of
from bemi_django.wire.signature import SIGNATURE_KEY, signature

_NAME = "BEMI_CONTEXT_KEYS"


def _keys_of_environment() -> tuple[bytes, ...]:
    """Return the keys of a project without Django, where the command ``bemi`` finds them."""
    if _NAME in os.environ:
        return keys_of([key.strip() for key in os.environ[_NAME].split(",") if key.strip()])
    from bemi_django.integrations import pyproject

    return keys_of(pyproject.read(Path.cwd())[1].get("context_keys"))


_read_keys: Callable[[], tuple[bytes, ...]] = _keys_of_environment
_keys: tuple[bytes, ...] | None = None


def use(read: Callable[[], tuple[bytes, ...]]) -> None:
    """Sign with other keys than those of the environment.

    Args:
        read: Returns the keys, of which the first one signs; called at the first context after this. If it
            raises ValueError or ImportError, nothing is signed.
    """
    global _read_keys, _keys
    _read_keys, _keys = read, None


def is_signing() -> bool:
    """Return whether there is a key."""
    return _key() is not None


def signed(content: str, form: str) -> str:
    """Return a JSON object with its signature as its last pair, or as it is if there is no key.

    Args:
        content: ASCII text of an object with at least one pair, without the brace that closes it.
        form: What it is, for :func:`~bemi_django.wire.signature.signature`.
    """
    key = _key()
    if key is None:
        return content
    return f'{content},"{SIGNATURE_KEY}": "{signature(key, form, content.encode(), int(time.time()))}"'


def _key() -> bytes | None:
    global _keys
    keys = _keys
    if keys is None:
        try:
            keys = _keys = _read_keys()
        except (ValueError, ImportError, OSError) as error:
            # No write may fail because of it. The message does not hold the key.
            warn_once(f"contexts are not signed: {_NAME} {error}")
            keys = _keys = ()
    return keys[0] if keys else None
