"""``FilteredChanges``: the query that a filter form describes."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.log.change import ChangeQuerySet


class FilteredChanges(NamedTuple):
    """The query of a filter form.

    Attributes:
        changes: The changes that match.
        is_filtered: Whether the query leaves out part of the log.
        timeout: Time limit (ms) for the index that finds the changes; see ``query_timeouts``.
        whole: All changes of which a list without these filters would show some.
        is_narrowed: Whether a field of the form is set.
    """

    changes: ChangeQuerySet
    is_filtered: bool
    timeout: int
    whole: ChangeQuerySet
    is_narrowed: bool
