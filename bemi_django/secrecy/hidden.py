"""Keys and passwords that reports of errors, which print the locals of each frame, do not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HIDDEN = "'…'"
# Parameters of libpq.
_PASSWORDS = ("password", "sslpassword")


class HiddenBytes(bytes):
    """A key, which ``repr()`` does not show; it is used as any bytes."""

    def __repr__(self) -> str:
        return f"b{_HIDDEN}"


class HiddenText(str):
    """A password, or an address that has one, which ``repr()`` does not show; it is used as any text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _HIDDEN


def with_hidden(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of libpq with passwords that are not shown."""
    hidden = {name: HiddenText(parameters[name]) for name in _PASSWORDS if parameters.get(name) is not None}
    return {**parameters, **hidden}
