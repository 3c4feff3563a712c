"""Count who and what a list is about, with links that narrow it down to a value or leave the value out."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from django.core.cache import cache
from django.http import QueryDict
from django.utils.formats import number_format

from bemi_django import conf
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.display.values.operation_names import OPERATIONS
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.admin.search import action_search
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.filters.filter_fields import EXCLUDED
from bemi_django.admin.search.logs.listed_logs import ListedLogs
from bemi_django.admin.search.paging import Page, PageCursor
from bemi_django.admin.search.people.groups import changes_by_group, knows_groups

#: Changes that are counted, which the first window of a search holds if half of it matches, and values of
#: each filter that are offered.
_COUNTED = 500
_OFFERED = 6
#: Seconds for which counts are cached.
_FRESH = 60
_LONGEST = 2000


class FacetValue(NamedTuple):
    """A value of a filter: how many changes have it, and the lists with and without them."""

    label: str
    number: str
    include: str
    exclude: str


class Facet(NamedTuple):
    """The most frequent values of a filter."""

    label: str
    values: list[FacetValue]


class Facets(NamedTuple):
    """The most frequent values of each filter in the latest changes of a list.

    Attributes:
        facets: The filters, of which there are several values.
        counted: The number of changes that were counted.
        is_whole: Whether these are all changes of the list.
    """

    facets: list[Facet]
    counted: int
    is_whole: bool


class _Counts(NamedTuple):
    values: dict[str, list[tuple[str, int]]]
    counted: int
    is_whole: bool


class FacetCounts:
    """The values of the filters in the latest changes of a list, counted once a minute.

    Args:
        logs: The changes of the list, of one log.
        cursor: Where the list begins.
        viewer: The user who sees the list. What is masked for the user is not counted.
    """

    def __init__(self, logs: ListedLogs, cursor: PageCursor, viewer: Viewer) -> None:
        key = viewer.cache_key(
            "facets", logs.first.changes, cursor, conf.masked_fields(), knows_groups(viewer)
        )
        #: The changes that were read to be counted; None if their counts were known.
        self.latest: Page | None = None
        counts: _Counts | None = cache.get(key)
        if counts is None:
            # A longer search is not worth more than the list needs of it.
            enough = action_search.WINDOW
            self.latest = logs.page(cursor, _COUNTED, enough=enough, is_light=True)
            counts = _counts(self.latest, viewer)
            cache.set(key, counts, _FRESH)
        self.counts = counts


def facets(form: FilterForm, counts: FacetCounts, viewer: Viewer) -> Facets:
    """Return the most frequent values of the filters in the latest changes of a list.

    Args:
        form: The form of the filters.
        counts: Their values.
        viewer: The user who sees the list.
    """
    by_filter = counts.counts.values
    labels = _labels(by_filter["user"], viewer)
    for name, key in (("user", "user_id"), ("endpoint", "endpoint")):
        viewer.lifted.context_keys(*([key] if by_filter[name] else []))
    found = []
    for name, values in by_filter.items():
        if len(values) > 1:
            asked = viewer.request.GET
            some = [_value(asked, name, text, count, labels) for text, count in values[:_OFFERED]]
            found.append(Facet(str(form.fields[name].label), some))
    return Facets(found, counts.counts.counted, counts.counts.is_whole)


def _counts(page: Page, viewer: Viewer) -> _Counts:
    found: dict[str, Counter[str]] = {name: Counter() for name in EXCLUDED}
    hides = {key: viewer.masks.hide_context_key(key) for key in ("user_id", "endpoint")}
    for change in page.changes:
        found["table"][change.table] += 1
        found["operation"][change.operation] += 1
        user, endpoint = change.context.get("user_id"), change.context.get("endpoint")
        is_known = not hides["user_id"] and viewer.users.has_user_of(change.context.get("tenant"))
        if is_known and isinstance(user, (int, str)):
            found["user"][str(user)] += 1
        if not hides["endpoint"] and isinstance(endpoint, str):
            found["endpoint"][endpoint] += 1
    found["group"] = changes_by_group(found["user"], viewer)
    values = {
        name: [(text, count) for text, count in counter.most_common() if 0 < len(text) <= _LONGEST]
        for name, counter in found.items()
    }
    return _Counts(values, len(page.changes), page.older is None)


def _labels(users: list[tuple[str, int]], viewer: Viewer) -> dict[tuple[str, str], str]:
    """Return the labels of values that have some, by filter and value."""
    names = user_names((user for user, _count in users[:_OFFERED]), viewer)
    return {
        **{("user", key): name for key, name in names.items()},
        **{("table", table): label for table, label in viewer.logged_models.labelled()},
        **{("operation", operation): str(label) for operation, label in OPERATIONS},
    }


def _value(
    parameters: QueryDict, name: str, text: str, count: int, labels: dict[tuple[str, str], str]
) -> FacetValue:
    label = labels.get((name, text), text)
    # A user is searched for by name, as the form suggests.
    wanted = label if name == "user" else text
    include, exclude = parameters.copy(), parameters.copy()
    for query in (include, exclude):
        for place in ("older", "newer"):
            query.pop(place, None)
    include[name] = wanted
    if wanted not in exclude.getlist(f"not_{name}"):
        exclude.appendlist(f"not_{name}", wanted)
    return FacetValue(
        in_order(label),
        number_format(count, force_grouping=True),
        f"?{include.urlencode()}",
        f"?{exclude.urlencode()}",
    )
