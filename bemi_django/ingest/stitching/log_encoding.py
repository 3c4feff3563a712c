r"""Keep contexts in a log whose database is not UTF-8: what it cannot hold is kept as the text of its escape.

jsonb stores characters, not escapes, so a database in LATIN1 refuses ``{"who": "\u017c"}``. There the context
becomes ``{"who": "\\u017c"}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_SQL_ASCII = "SQL_ASCII"
_UTF8 = "UTF8"
#: The names that Python has for encodings of a server (PostgreSQL docs, 24.3). Of others only ASCII is used.
_CODECS = {
    **{
        f"LATIN{number}": f"iso8859_{part}"
        for number, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), 1)
    },
    **{f"ISO_8859_{part}": f"iso8859_{part}" for part in (5, 6, 7, 8)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
    "EUC_JP": "euc_jp",
    "EUC_CN": "gb2312",
    "EUC_KR": "euc_kr",
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
}
_CHARACTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\x00-\x7f]"
)


def storable_in(server_encoding: str) -> Callable[[bytes], bytes]:
    """Return a function that makes a valid context storable in a database of this encoding."""
    if server_encoding == _UTF8:
        return lambda context: context
    codec = _CODECS.get(server_encoding, "ascii")

    def character(match: re.Match[str]) -> str:
        written = match[0]
        if written[0] == "\\" and written[1] != "u":
            return written
        letter = json.loads(f'"{written}"') if written[0] == "\\" else written
        if letter.isascii():
            return written
        if server_encoding == _SQL_ASCII:
            # It holds any bytes, but does not know which of them an escape means.
            return str(letter)
        try:
            letter.encode(codec)
        except UnicodeEncodeError:
            return json.dumps(letter)[1:-1].replace("\\", "\\\\")
        return written

    def storable(context: bytes) -> bytes:
        if context.isascii() and b"\\u" not in context:
            return context
        return _CHARACTER.sub(character, context.decode()).encode()

    return storable
