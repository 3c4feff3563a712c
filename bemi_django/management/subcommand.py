"""A subcommand of ``bemi``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any


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
