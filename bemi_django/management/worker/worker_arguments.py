"""The subcommands of the worker and of what it could not store or deliver, and their arguments."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from bemi_django.management.output.log_output import FORMATS
from bemi_django.management.subcommand import add_reason, add_subcommand
from bemi_django.management.worker.consume_command import add_destination_of_run
from bemi_django.wire.lsn import parse_lsn


def run(added: Any) -> ArgumentParser:
    """Add ``bemi run``."""
    run = add_subcommand(added, "run", "write committed changes to the log and call handlers, until stopped")
    run.add_argument(
        "--until-current", action="store_true", help="exit when everything committed so far is written"
    )
    run.add_argument(
        "--accept-gap", action="store_true", help="if changes were lost, record a gap and continue"
    )
    run.add_argument("--reason", metavar="TEXT", help="why a gap is accepted, for the log")
    add_destination_of_run(run)
    run.add_argument(
        "--baseline",
        action="store_true",
        help="begin with the rows that are there, as 'bemi baseline' records them",
    )
    parts = run.add_mutually_exclusive_group()
    parts.add_argument(
        "--handlers", action="store_true", help="only call handlers; another process writes the log"
    )
    parts.add_argument("--no-handlers", action="store_true", help="only write the log; call no handlers")
    run.add_argument(
        "--all",
        action="store_true",
        help="for all recorded databases in this one process, each with its slot",
    )
    run.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        type=_listen,
        help="serve /metrics for Prometheus, /healthz and /readyz there (default host: 127.0.0.1)",
    )
    run.add_argument(
        "--log-format",
        choices=FORMATS,
        help="log to the output in this format (default: text, unless LOGGING of the project has a handler)",
    )
    return run


def handlers(added: Any) -> ArgumentParser:
    """Add ``bemi handlers``."""
    handlers = add_subcommand(added, "handlers", "show the progress of each handler")
    handlers.add_argument(
        "--retry", action="store_true", help="deliver the changes again that were kept aside"
    )
    add_reason(handlers)
    return handlers


def retry_dead_letters(added: Any) -> ArgumentParser:
    """Add ``bemi retry-dead-letters``."""
    letters = add_subcommand(
        added, "retry-dead-letters", "read messages again that could not be stored completely"
    )
    letters.add_argument(
        "--dismiss",
        action="store_true",
        help="also remove letters that belong to no change, such as those of invalid contexts",
    )
    letters.add_argument("--reason", metavar="TEXT", help="why, for the log")
    return letters


def skip(added: Any) -> ArgumentParser:
    """Add ``bemi skip``."""
    skip = add_subcommand(
        added, "skip", "leave a transaction out of the log that the server cannot send, as a gap"
    )
    skip.add_argument(
        "lsn", metavar="LSN", type=_lsn, help="where the transaction commits, as 'bemi run' has printed it"
    )
    skip.add_argument("--reason", metavar="TEXT", help="why, for the context of the gap")
    return skip


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ArgumentTypeError(f"{text!r} is neither a port nor host:port, such as 0.0.0.0:9464")
    host = host.strip("[]") or "127.0.0.1"
    try:
        host.encode("idna")
    except UnicodeError:
        raise ArgumentTypeError(f"{host!r} is not the name of a host") from None
    return host, int(port)


def _lsn(text: str) -> int:
    if not re.fullmatch("[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", text):
        raise ArgumentTypeError(f"{text!r} is not an LSN, such as 16/B374D848")
    return parse_lsn(text)
