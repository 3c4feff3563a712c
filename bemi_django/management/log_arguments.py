"""The subcommands that ask the log or revert, and their arguments."""

from __future__ import annotations

import uuid
from argparse import REMAINDER, ArgumentParser
from typing import Any

from bemi_django.management.subcommand import add_reason, add_subcommand

IGNORE_POLICIES = "--ignore-policies"
_MOMENT = "an ISO 8601 datetime, an LSN, a transaction id, or the id of a change (the state after it)"


def revert(added: Any) -> ArgumentParser:
    """Add ``bemi revert``."""
    revert = add_subcommand(added, "revert", "undo the changes of a request or a transaction, or one change")
    chosen = revert.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--request", metavar="ID", help="revert all changes of the request with this request_id"
    )
    chosen.add_argument(
        "--transaction",
        metavar="XID",
        type=int,
        help="revert all changes of the transaction with this transaction_id",
    )
    chosen.add_argument("--change", metavar="UUID", type=uuid.UUID, help="revert the change with this id")
    revert.add_argument("--dry-run", action="store_true", help="print the plan, but write nothing")
    revert.add_argument(
        "--on-conflict",
        choices=("stop", "skip", "force"),
        default="stop",
        help="if rows have a conflict: revert nothing, leave these rows as they are, or overwrite them "
        "(default: stop)",
    )
    revert.add_argument(
        "--no-cascade",
        action="store_true",
        help="do not restore the rows that were deleted together with a deleted row",
    )
    revert.add_argument(
        "--fields",
        metavar="NAME",
        nargs="+",
        help="put back only these fields or columns of rows that were updated (default: all)",
    )
    revert.add_argument("--reason", metavar="TEXT", help="why, for the context of the changes")
    revert.add_argument(
        "--noinput",
        "--no-input",
        action="store_false",
        dest="interactive",
        help="revert without asking for confirmation",
    )
    return revert


def blame(added: Any) -> ArgumentParser:
    """Add ``bemi blame``."""
    blame = add_subcommand(added, "blame", "show which change gave an object each of its values")
    blame.add_argument(
        "object",
        metavar="OBJECT",
        help="app.Model:key, such as shop.Product:42 (composite keys as 7,2 or JSON); or schema.table:key",
    )
    add_reason(blame)
    return blame


def as_of(added: Any) -> ArgumentParser:
    """Add ``bemi as-of``."""
    as_of = add_subcommand(
        added, "as-of", "run a command that only reads, on the database as it was at a moment"
    )
    as_of.add_argument(
        IGNORE_POLICIES,
        action="store_true",
        help="read tables although row-level security applies to the role: rows that have changed since the "
        "moment are shown whatever the policies say",
    )
    # Behind the moment, it would be one of the other command.
    add_reason(as_of)
    as_of.add_argument("moment", help=_MOMENT)
    as_of.add_argument(
        "arguments", nargs=REMAINDER, metavar="-- COMMAND ...", help="such as: -- dumpdata app.Model"
    )
    return as_of
