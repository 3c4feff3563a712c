"""A command whose output nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bemi_django.management.output.closed_output import CLOSED

PROGRAM = """
import sys
from django.core.management.base import OutputWrapper
from bemi_django.management.output.closed_output import ended_with

with ended_with(OutputWrapper(sys.stdout)):
    sys.stdout.write("x" * {})
    {}
print("not reached", file=sys.stderr)
"""


def run_program(written: int, last: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program with an output whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, *options, "-c", PROGRAM.format(written, last)]
        return subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)


@pytest.mark.parametrize("options", [(), ("-u",)], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("written", [1, 1_000_000])
def test_a_command_ends_without_a_message(
    written: int, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = run_program(written, "pass", *options)
    assert (done.returncode, done.stderr) == (CLOSED, b"")


def test_another_pipe_that_breaks_is_an_error() -> None:
    command = [sys.executable, "-c", PROGRAM.format(1, "raise BrokenPipeError('another one')")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"x")
    assert b"BrokenPipeError: another one" in done.stderr
