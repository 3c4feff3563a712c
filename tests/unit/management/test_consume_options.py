"""Options of ``bemi consume`` that mean nothing together are refused, not ignored."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

STREAM = "nats://127.0.0.1:1/stream"
DEBEZIUM = ("--format", "debezium")


@pytest.mark.parametrize(
    "options",
    [
        ["--accept-gap"],
        ["--complete"],
        ["--subject", "a"],
        ["--decimals", "precise"],
        ["--binaries", "bytes"],
        ["--placeholder", "x"],
        ["--times", "connect"],
    ],
)
def test_what_concerns_records_of_debezium_needs_their_format(options: list[str]) -> None:
    with pytest.raises(CommandError, match=f"{options[0]} is for --format debezium"):
        call_command("bemi", "consume", STREAM, *options)


@pytest.mark.parametrize(
    ("source", "options", "meant"),
    [
        ("records.jsonl", ["--subject", "a"], "a stream"),
        (STREAM, ["--complete"], "files"),
    ],
)
def test_an_option_of_streams_or_files_is_refused_for_the_other(
    source: str, options: list[str], meant: str
) -> None:
    with pytest.raises(CommandError, match=f"{options[0]} is for {meant}"):
        call_command("bemi", "consume", *DEBEZIUM, source, *options)


def test_a_placeholder_in_hexadecimal_digits_has_them() -> None:
    for placeholder in ("hex:xy", "hex:"):
        with pytest.raises(CommandError, match="--placeholder: hex: is followed by hexadecimal digits"):
            call_command("bemi", "consume", *DEBEZIUM, "records.jsonl", "--placeholder", placeholder)


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00", "soon", "2999-01-01 is in the future"],
)
def test_a_time_that_there_is_not_is_no_beginning(moment: str) -> None:
    moment, _, said = moment.partition(" ")
    with pytest.raises(CommandError, match=said or "give a time, as '2026-01-31"):
        call_command("bemi", "consume", STREAM, "--from", moment)
