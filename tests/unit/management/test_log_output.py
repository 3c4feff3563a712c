"""The log of the worker on the output of its command."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.core.management.base import OutputWrapper

from bemi_django.management.output.log_output import VisibleOutput, log_to, write_data
from bemi_django.wire.visible_text import one_line, visible

LOGGER = logging.getLogger("bemi_django")


@pytest.fixture
def project_handler() -> Iterator[io.StringIO]:
    """What the project's own handler writes."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    LOGGER.addHandler(handler)
    yield output
    LOGGER.removeHandler(handler)


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    # The test runner has handlers of its own.
    monkeypatch.setattr(LOGGER, "hasHandlers", lambda: False)


def test_lines_of_text_begin_with_the_time_in_utc(unconfigured: None) -> None:
    output = io.StringIO()
    with log_to(OutputWrapper(output)):
        LOGGER.getChild("worker").info("%d changes written", 3)
    time, level, message = output.getvalue().rstrip("\n").split(" ", 2)
    assert datetime.fromisoformat(time).utcoffset() == timedelta(0)
    assert (level, message) == ("INFO", "3 changes written")


def test_lines_of_json_hold_the_message_whatever_it_is_made_of() -> None:
    output = io.StringIO()
    with log_to(OutputWrapper(output), "json"):
        LOGGER.warning('a "quote"\nand a line feed, ü')
        try:
            raise ValueError("broken")
        except ValueError:
            LOGGER.exception("failed")
    first, second = map(json.loads, output.getvalue().splitlines())
    assert datetime.fromisoformat(first.pop("time")).utcoffset() == timedelta(0)
    assert first == {
        "level": "WARNING",
        "logger": "bemi_django",
        "message": 'a "quote"\nand a line feed, ü',
    }
    assert second["exception"].endswith("ValueError: broken")


def test_the_logging_of_the_project_is_used_unless_a_format_is_given(project_handler: io.StringIO) -> None:
    output = io.StringIO()
    with log_to(OutputWrapper(output)):
        LOGGER.warning("to the project")
    assert (output.getvalue(), project_handler.getvalue()) == ("", "to the project\n")
    with log_to(OutputWrapper(output), "text"):
        LOGGER.warning("to the output")
    assert "to the output" in output.getvalue()


def test_the_logger_is_left_as_it_was(unconfigured: None) -> None:
    before = LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)
    with log_to(OutputWrapper(io.StringIO()), "json"):
        pass
    assert (LOGGER.level, LOGGER.propagate, LOGGER.handlers) == before


#: A colour, another line, a bell, C1 controls, separators of lines, another direction, half of a character.
HOSTILE = "t\x1b[31m\r\nforged\x07\x7f\x9b2J\x85\u2028\u202etxt\u2066\udc80\x00"
ACTING = frozenset("\x1b\r\x07\x7f\x9b\x85\u2028\u202e\u2066\udc80\x00")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_name_in_a_message_acts_on_a_terminal_or_begins_a_line(
    unconfigured: None, log_format: str
) -> None:
    output = io.StringIO()
    with log_to(VisibleOutput.of(OutputWrapper(output)), log_format):
        LOGGER.warning("the table %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            LOGGER.exception("failed")
    written = output.getvalue()
    assert ACTING.isdisjoint(written) and "forged" in written
    first = written.splitlines()[0]
    assert "forged" in first and "txt" in first
    if log_format == "json":
        assert json.loads(first)["message"] == f"the table {HOSTILE}"
    else:
        assert r"t\x1b[31m\x0d\nforged\x07\u007f\u009b2J\u0085\u2028\u202etxt\u2066\udc80\x00" in first


def test_no_value_in_the_output_of_a_command_acts_on_a_terminal() -> None:
    output = io.StringIO()
    command = VisibleOutput.of(OutputWrapper(output))
    command.write(HOSTILE, lambda text: f"\x1b[1m{text}\x1b[0m")
    assert output.getvalue().startswith("\x1b[1m") and output.getvalue().endswith("\x1b[0m")
    assert ACTING.isdisjoint(output.getvalue()[4:-4])
    # What people read is left as it is.
    text = "naïve\tمی\u200cخواهم 👩\u200d💻\n\u00a0"
    assert visible(text) == text
    assert one_line("a\tb\nc") == r"a\tb\nc"


@pytest.mark.parametrize(
    ("encoding", "written"), [("latin-1", b"na\xefve \\u2026"), ("ascii", b"na\\xefve \\u2026")]
)
def test_what_the_encoding_of_the_output_does_not_have_is_escaped(encoding: str, written: bytes) -> None:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    VisibleOutput.of(OutputWrapper(output)).write("naïve …", ending="")
    output.flush()
    assert raw.getvalue() == written


@pytest.mark.parametrize("is_terminal", [True, False])
def test_data_is_written_as_it_is_but_not_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: is_terminal)
    write_data(VisibleOutput.of(OutputWrapper(output)), HOSTILE)
    assert output.getvalue() == f"{visible(HOSTILE) if is_terminal else HOSTILE}\n"
