"""A subcommand of ``bemi``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

#: The option in which :func:`add_choice_of_log` keeps the alias.
CHOSEN_LOG = "chosen_log"
#: The exit status that a shell reports for a command that SIGINT has ended.
INTERRUPTED = 130


def add_subcommand(added: Any, name: str, summary: str) -> ArgumentParser:
    """Add a subcommand and return its parser.

    Args:
        added: What ``add_subparsers()`` has returned.
        name: Name of the subcommand.
        summary: What it does, in the imperative, without a capital letter and a full stop.
    """
    subcommand: ArgumentParser = added.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    return subcommand


def add_reason(subcommand: ArgumentParser) -> None:
    """Add ``--reason`` to a subcommand of which the log says who has run it."""
    subcommand.add_argument("--reason", metavar="TEXT", help="why, for the log")


def add_choice_of_log(subcommand: ArgumentParser) -> None:
    """Add ``--destination``."""
    subcommand.add_argument(
        "--destination",
        dest=CHOSEN_LOG,
        metavar="ALIAS",
        help="alias of the database whose log is meant, if there are several (BEMI_DESTINATIONS)",
    )


def require_text(options: Mapping[str, Any]) -> None:
    """Check that what was typed can be stored and printed.

    Args:
        options: The arguments of a command.

    Raises:
        UnicodeEncodeError: One has bytes that are not UTF-8.
    """
    for value in options.values():
        for text in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(text, str):
                text.encode()
