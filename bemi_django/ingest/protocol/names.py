"""Names of a database in SQL_ASCII, which need not be text: bytes that are not UTF-8 become ``%E9``."""

from __future__ import annotations

import codecs
from typing import Any

#: Handles what is not UTF-8 in names, as ``errors`` of ``bytes.decode()``.
ESCAPED = "bemi_escaped"
#: The codec of connections to such a database.
CODEC = "bemi_names"


def register() -> None:
    """Make :data:`ESCAPED` and :data:`CODEC` known to Python."""
    codecs.register_error(ESCAPED, _escape)
    codecs.register(_find)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


def _decode(data: Any, errors: str = "strict", /) -> tuple[str, int]:
    return bytes(data).decode(errors=ESCAPED), len(data)


def _find(name: str) -> codecs.CodecInfo | None:
    return codecs.CodecInfo(codecs.utf_8_encode, _decode, name=CODEC) if name == CODEC else None


register()
