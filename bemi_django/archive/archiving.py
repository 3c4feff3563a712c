"""Archive months, and drop them from the log; one that cannot be does not keep others from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bemi_django import conf
from bemi_django.archive.live_log import LiveLog
from bemi_django.archive.location import Location
from bemi_django.archive.month import Month
from bemi_django.archive.removal import Remover
from bemi_django.archive.storing import Stored, Watch, store
from bemi_django.exceptions import ArchiveError
from bemi_django.retention.passing import Passing

#: Called with a month of the archive, and whether it was dropped from the log.
Tell = Callable[[Stored, bool], None]


def archive_months(
    log: LiveLog,
    location: Location,
    months: Iterable[Month],
    watch: Watch,
    remover: Remover | None,
    tell: Tell,
) -> list[str]:
    """Archive months.

    Args:
        log: The log.
        location: The archive.
        months: Months that are over.
        watch: Called as the work goes on.
        remover: What drops them from the log; None if they stay there.
        tell: Called with each month that the archive has.

    Returns:
        Why months were left as they are, one line for each.
    """
    passing = Passing(conf.destination())
    stopped = []
    for month in months:
        try:
            # What keeps a month in the log may also add to it, and the archive would have something else.
            reason = passing.reason_to_wait(month.next.start)
            if not reason and remover is not None:
                reason = remover.reason_to_keep(month) or remover.watch(month)
            if not reason:
                stored = store(log, location, month, watch)
                reason = remover.remove(stored.manifest) if remover is not None else ""
                tell(stored, remover is not None and not reason)
        except ArchiveError as error:
            reason = str(error)
        if reason:
            what = "was not archived" if remover is None else "stays in the log"
            stopped.append(f"{month} {what}: {reason}")
    return stopped
