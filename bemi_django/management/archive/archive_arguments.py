"""The subcommands of the archive and their arguments."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from bemi_django.management.subcommand import add_reason, add_subcommand

_WHERE = "directory of the archive, or an address such as s3://bucket/folder (default: BEMI_ARCHIVE)"


def archive(added: Any) -> ArgumentParser:
    """Add ``bemi archive`` and ``bemi archive query``."""
    archive = add_subcommand(
        added, "archive", "write months of the log to Parquet files, and drop them from the log"
    )
    archive.add_argument("--before", metavar="MONTH", help="archive the months before this one: 2026-01")
    archive.add_argument("--to", metavar="PLACE", help=_WHERE)
    archive.add_argument(
        "--keep",
        action="store_true",
        help="leave the changes in the log; a role that only reads it may do this",
    )
    archive.add_argument("--reason", metavar="TEXT", help="why, for the record")
    actions = archive.add_subparsers(dest="action", title="actions", metavar="action", help="what else to do")
    query = add_subcommand(actions, "query", "ask the archived changes in SQL, with DuckDB")
    query.add_argument("sql", metavar="SQL", help='one SELECT, such as: "SELECT count(*) FROM changes"')
    query.add_argument("--from", dest="place", metavar="PLACE", help=_WHERE)
    output = query.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print an object of JSON for each row")
    output.add_argument("--csv", action="store_true", help="print CSV, with a line of names")
    add_reason(query)
    return archive


def import_month(added: Any) -> ArgumentParser:
    """Add ``bemi import``."""
    parser = add_subcommand(added, "import", "bring a month of the archive back into the log")
    parser.add_argument("month", metavar="MONTH", help="the month: 2025-12")
    parser.add_argument("--from", dest="place", metavar="PLACE", help=_WHERE)
    parser.add_argument(
        "--missing",
        action="store_true",
        help="if a part of the month is in the log, bring back the changes that are not; what both have "
        "stays as the log has it",
    )
    add_reason(parser)
    return parser
