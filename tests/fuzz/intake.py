"""Fuzz the worker's intake: ``python -m tests.fuzz.intake DIRECTORY -max_total_time=3600``.

It needs ``atheris``. The directory holds the corpus; the inputs that were worth keeping are in
``tests/unit/ingest/corpus.txt``, which the unit tests replay.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

from tests.support import pgoutput

#: The row that follows every input.
LAST = b"after all"


def messages_of(data: bytes) -> Iterator[bytes]:
    """Yield the messages of an input: each is preceded by its length, 16 bits."""
    at = 0
    while at + 2 <= len(data):
        (length,) = struct.unpack_from(">H", data, at)
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


def input_of(*messages: bytes) -> bytes:
    """Return the input that holds these messages."""
    return b"".join(struct.pack(">H", len(message)) + message for message in messages)


def take_all(data: bytes) -> None:
    """Let an intake take the messages of an input, and check that it goes on afterwards."""
    from tests.unit.ingest.test_intake import TABLES, Taken, begin, commit, insert

    taken = Taken()
    for message in messages_of(data):
        taken.take(message)
    before = len(taken.sink.rows)
    taken.take(begin(64))
    taken.take(pgoutput.relation(TABLES[0], "public"))
    taken.take(insert(7, [b"1", LAST]))
    taken.take(commit(72))
    assert [pending for pending in taken.sink.rows[before:] if LAST in pending.row]
    assert taken.sink.ends[-1] == 72


def main() -> None:
    """Fuzz until the time is over or an input fails."""
    import atheris

    with atheris.instrument_imports(include=["bemi_django"]):
        import bemi_django.ingest.loop.intake.intake  # noqa: F401
    atheris.Setup(sys.argv, take_all)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
