"""Lines on the standard output: where sessions begin anew, and what a reader makes of that."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator

import pytest

from bemi_django.exceptions import SinkUnavailable
from bemi_django.ingest.export.target import ExportPart
from bemi_django.sinks import standard_output
from bemi_django.sinks.standard_output import OutputPipe, StandardOutput


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The ends of a pipe: to read, and to write."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    os.close(read)
    os.close(write)


def part(number: int, ordinal: int = 0, *, is_last: bool = True, filler: str = "") -> ExportPart:
    """A change of a transaction."""
    row = json.dumps({"id": f"{number}-{ordinal}", "filler": filler}).encode()
    return ExportPart([row], 8 * number, ordinal, 0, number, 8 * number + 8 if is_last else None)


def taken(lines: list[bytes]) -> list[str]:
    """Read lines as the documentation advises; return the ids of complete transactions."""
    found: list[str] = []
    waiting: list[str] = []
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if "begin" in line:
            waiting = []
        elif "end" in line:
            found += waiting
            waiting = []
        else:
            waiting.append(line["id"])
    return found


def test_a_transaction_that_is_begun_anew_counts_once(ends: tuple[int, int]) -> None:
    pipe = OutputPipe(ends[1])
    session = StandardOutput(pipe)
    session.write(part(1))
    session.write(part(2, is_last=False))
    session = StandardOutput(pipe)
    session.write(part(2, is_last=False))
    session.write(part(2, 1))
    lines = os.read(ends[0], 10_000).splitlines()
    assert taken(lines) == ["1-0", "2-0", "2-1"]
    begun = [json.loads(line) for line in lines if b"begin" in line]
    assert begun == [{"begin": {"history": 0, "lsn": lsn}} for lsn in ("0/8", "0/10")]


def test_a_line_that_was_left_is_ended_by_the_next_session(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard_output, "_PAUSE", 0.01)
    pipe = OutputPipe(ends[1])
    session = StandardOutput(pipe)
    session.interrupt()
    with pytest.raises(SinkUnavailable, match="nobody read"):
        session.write(part(1, filler="x" * 1_000_000))
    data = b""
    while select.select([ends[0]], [], [], 0)[0]:
        data += os.read(ends[0], 1_000_000)
    assert not data.endswith(b"\n")
    StandardOutput(pipe).write(part(1))
    lines = (data + os.read(ends[0], 10_000)).splitlines()
    assert lines[2] == b'{"begin":{"history":0,"lsn":"0/8"}}'
    assert taken(lines) == ["1-0"]
