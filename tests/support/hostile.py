"""Contexts that a hostile writer may send, made of a seed."""

from __future__ import annotations

import json
from random import Random

from bemi_django.wire import SKIP_KEY

_KEYS = ["user_id", "SQL", SKIP_KEY, "_bemi_invalid", "rows", "db_user", "", "\0", "é", "\ud800", "a" * 70]
_NUMBERS = ["0", "-0", "1.50", "1e5", "1e999", "1e131071", "1e131072", "0.1e-999999", "NaN", "-Infinity"]
_STRINGS = ['"x"', '"\\u0000"', '"\\\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"[{"', '"\\""', '"*/ Bemi"']
_PIECES = [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\0", b"\xff", b"+", b'"SQL": ', b"\xef\xbb\xbf"]


def hostile_context(random: Random) -> bytes:
    """Return the content of a context message: an object, something like one, or anything else."""
    kind = random.randrange(10)
    if kind == 0:
        return random.randbytes(random.randrange(40))
    if kind == 1:
        return b"".join(random.choices(_PIECES, k=random.randrange(20)))
    if kind == 2:
        return _deep(random)
    if kind == 3:
        # What would follow a context of the same transaction.
        return b"+" + _value(random, 1).encode("utf-8", "surrogatepass") + random.choice([b"}", b""])
    content = _object(random, 0).encode("utf-8", "surrogatepass")
    if kind == 4:
        at = random.randrange(len(content) + 1)
        return content[:at] + random.choice(_PIECES) + content[at:]
    if kind == 5:
        return content[: random.randrange(len(content) + 1)]
    if kind == 6:
        return content.decode("utf-8", "replace").encode(
            random.choice(["utf-16", "utf-32", "latin-1"]), "replace"
        )
    return content


def _deep(random: Random) -> bytes:
    depth = random.choice([98, 99, 100, 101, 1_010, 20_000])
    opening, closing = random.choice([("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")])
    skip = f'"{SKIP_KEY}": true, ' if random.random() < 0.5 else ""
    return f'{{{skip}"a": {opening * depth}1{closing * depth}}}'.encode()


def _object(random: Random, depth: int) -> str:
    pairs = []
    for _ in range(random.randrange(5)):
        key = random.choice(_KEYS)
        value = "true" if key == SKIP_KEY and random.random() < 0.7 else _value(random, depth + 1)
        pairs.append(f"{json.dumps(key, ensure_ascii=random.random() < 0.5)}: {value}")
    return "{" + ", ".join(pairs) + "}"


def _value(random: Random, depth: int) -> str:
    kind = random.randrange(7 if depth < 4 else 5)
    if kind == 0:
        return random.choice(_NUMBERS)
    if kind == 1:
        return random.choice(_STRINGS)
    if kind == 2:
        return random.choice(["true", "false", "null", "nul", ""])
    if kind == 3:
        return "7" * random.choice([1, 20, 4_301, 5_000])
    if kind == 4:
        return json.dumps("".join(chr(random.randrange(1, 0x3000)) for _ in range(random.randrange(10))))
    if kind == 5:
        return "[" + ", ".join(_value(random, depth + 1) for _ in range(random.randrange(4))) + "]"
    return _object(random, depth + 1)
