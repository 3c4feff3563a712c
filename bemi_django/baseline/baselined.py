"""What ``bemi baseline`` has done with a table, for people."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.baseline.progress_record import BaselineProgress
from bemi_django.wire.slot_name import is_of_queue

#: Only logs know which rows they lack.
_SENT = "sent to the logs, which leave out those they know"


class Baselined(NamedTuple):
    """What was done with a table.

    Attributes:
        table: The table or partition.
        progress: How far it was read.
        failure: Why it was not read to its end; empty if it was.
        was_there: Whether an earlier run has read it.
        sink: What got its rows, as ``BaselineOptions`` names it.
    """

    table: str
    progress: BaselineProgress | None = None
    failure: str = ""
    was_there: bool = False
    sink: str = ""

    def __str__(self) -> str:
        if self.progress is None or self.failure:
            return f"{self.table}: {self.failure}"
        rows, recorded, too_large = self.progress[1:4]
        what = _SENT if is_of_queue(self.sink) else "recorded"
        found = f"{self.table}: {rows} rows, {recorded} of them {what}"
        if too_large:
            found += f", {too_large} left out because the server cannot print a row as large"
        return found + (" by an earlier run (--anew reads them again)" if self.was_there else "")
