"""How far a verification of the chains is, kept in a file of whoever verifies: it may be interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from bemi_django.exceptions import BemiError
from bemi_django.seals.findings import ChainReport, TamperFinding

_LOG = """
SELECT (pg_control_system()).system_identifier::text, current_database()::text, _bemi.log_v1()::oid::text
"""
#: The form of the file; files of other forms are refused.
_FORM = 2


class ProgressFile:
    """Keeps what was verified in a file, which is gone when all is done.

    It is not kept in the database: whoever may change the log there could change this, too.

    Args:
        path: The file.
        cursor: A cursor of the database of the log.

    Raises:
        BemiError: The file cannot be read, or is of another log.
    """

    def __init__(self, path: str | os.PathLike[str], cursor: Any) -> None:
        self._path = Path(path)
        cursor.execute(_LOG)
        self._log = [_FORM, *cursor.fetchone()]
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            kept = None
        except (OSError, ValueError) as error:
            raise BemiError(f"{self._path} cannot be read ({type(error).__name__}): remove it") from error
        if kept is not None and (not isinstance(kept, dict) or kept.get("log") != self._log):
            raise BemiError(f"{self._path} is not of this log: give another file to --progress")
        self.report = ChainReport() if kept is None else _report_of(kept["report"])
        #: Where the walk along the chains of each slot is, by its name.
        self.walks: dict[str, Mapping[str, Any]] = {} if kept is None else kept["walks"]

    def save(self) -> None:
        """Write the file anew: a process that is killed leaves the old one or the new one.

        Raises:
            BemiError: It cannot be written.
        """
        kept = {"log": self._log, "report": _json_of(self.report), "walks": self.walks}
        written = self._path.with_name(f"{self._path.name}.new")
        try:
            with written.open("w", encoding="utf-8") as opened:
                json.dump(kept, opened)
                opened.flush()
                os.fsync(opened.fileno())
            written.replace(self._path)
        except OSError as error:
            raise BemiError(f"cannot write {self._path}: {error.strerror}") from error

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def _json_of(report: ChainReport) -> dict[str, Any]:
    made = asdict(report)
    findings = [[*one[:3], one.change and str(one.change)] for one in report.findings]
    return {**made, "findings": findings}


def _report_of(kept: dict[str, Any]) -> ChainReport:
    findings = [
        TamperFinding(kind, text, month, change and UUID(change))
        for kind, text, month, change in kept["findings"]
    ]
    return ChainReport(**{**kept, "findings": findings})
