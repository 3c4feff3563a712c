"""Go to a moment: the databases, for as long as a block lasts, and what of the site cannot go there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings
from django.db import OperationalError, connections

from bemi_django import conf
from bemi_django.exceptions import HistoryError
from bemi_django.models import Change
from bemi_django.schema.database_names import assumed_name, configured_name
from bemi_django.site_past.chosen_moment import ChosenMoment
from bemi_django.site_past.present_tables import present_tables
from bemi_django.site_past.read_only import lasting, read_only
from bemi_django.time_travel import JustBefore, as_of

MIDDLEWARE = "bemi_django.middleware.TimeTravelMiddleware"
PERMISSION = "bemi_django.travel_in_time"
_NO_DATABASE = "django.db.backends.dummy"


def may_travel(user: Any) -> bool:
    """Return whether a user may see the site as it was: an active member of staff with the permission."""
    return bool(user.is_active and user.is_staff and user.has_perm(PERMISSION))


def can_look_before(change: Change, user: Any) -> bool:
    """Return whether a user may see the site just before a change, and it is one of a row."""
    is_of_row = change.operation in ("CREATE", "UPDATE", "DELETE", "TRUNCATE")
    return is_of_row and not change.diverged and is_installed() and may_travel(user)


def is_installed() -> bool:
    """Return whether ``TimeTravelMiddleware`` is in ``MIDDLEWARE``."""
    return MIDDLEWARE in settings.MIDDLEWARE


@contextmanager
def site_as_of(chosen: ChosenMoment) -> Iterator[None]:
    """Show, inside the block, the databases whose log is beside their tables as of a moment.

    No database can be written to.

    Raises:
        HistoryError: The state is not known, or a database that has it cannot be reached.
        Change.DoesNotExist: The change just before which it is was removed from the log.
    """
    moment = chosen.exact()
    with ExitStack() as stack:
        for alias in _databases():
            if _has_log(alias):
                is_elsewhere = isinstance(moment, JustBefore) and moment.change.database != assumed_name(
                    alias
                )
                then = chosen.time if is_elsewhere else moment
                try:
                    stack.enter_context(as_of(then, alias, present=present_tables()))
                except OperationalError as error:
                    raise HistoryError(f"the database {alias!r} cannot be read at the moment") from error
                stack.enter_context(lasting(alias))
            else:
                stack.enter_context(read_only(alias))
        yield


def databases_of_present() -> list[str]:
    """Return the aliases of the databases that are shown as they are now: their log is not beside them."""
    return [alias for alias in _databases() if not _has_log(alias)]


def _databases() -> list[str]:
    """Return the aliases that are databases; a project can leave one empty, such as ``"default": {}``."""
    return [alias for alias in connections if connections.settings[alias]["ENGINE"] != _NO_DATABASE]


def _has_log(alias: str) -> bool:
    """Return whether the database of an alias holds the log, as does a standby of it."""
    if connections[alias].vendor != "postgresql":
        return False
    return alias == conf.destination() or configured_name(alias) == configured_name(conf.destination())
