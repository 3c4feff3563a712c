"""Count who and what a list is about, with links that narrow it down to a value or leave the value out."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import F
from django.http import QueryDict
from django.utils.formats import number_format

from bemi_django import conf
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.display.values.operation_names import OPERATIONS
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.filters.filter_fields import EXCLUDED
from bemi_django.admin.search.filters.filtered_changes import FilteredChanges
from bemi_django.admin.search.paging import PageCursor, read_page
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


def facets(form: FilterForm, filtered: FilteredChanges, cursor: PageCursor, viewer: Viewer) -> Facets:
    """Return the most frequent values of the filters in the latest changes of a list.

    Args:
        form: The form of the filters.
        filtered: Its query.
        cursor: Where the list begins.
        viewer: The user who sees the list. What is masked for the user is not counted.
    """
    key = viewer.cache_key("facets", filtered.changes, cursor, conf.masked_fields(), knows_groups(viewer))
    counts: _Counts | None = cache.get(key)
    if counts is None:
        counts = _counts(filtered, cursor, viewer)
        cache.set(key, counts, _FRESH)
    labels = _labels(counts.values["user"], viewer)
    for name, key in (("user", "user_id"), ("endpoint", "endpoint")):
        viewer.lifted.context_keys(*([key] if counts.values[name] else []))
    found = []
    for name, values in counts.values.items():
        if len(values) > 1:
            asked = viewer.request.GET
            some = [_value(asked, name, text, count, labels) for text, count in values[:_OFFERED]]
            found.append(Facet(str(form.fields[name].label), some))
    return Facets(found, counts.counted, counts.is_whole)


def _counts(filtered: FilteredChanges, cursor: PageCursor, viewer: Viewer) -> _Counts:
    light = filtered.changes.only("id", "committed_at", "table", "operation").annotate(
        bemi_user=F("context__user_id"),
        bemi_endpoint=F("context__endpoint"),
        bemi_tenant=F("context__tenant"),
    )
    page = read_page(
        light,
        cursor,
        is_filtered=filtered.is_filtered,
        timeout=min(filtered.timeout, query_timeouts.FILTER),
        size=_COUNTED,
    )
    found: dict[str, Counter[str]] = {name: Counter() for name in EXCLUDED}
    hides = {key: viewer.masks.hide_context_key(key) for key in ("user_id", "endpoint")}
    for change in page.changes:
        seen: Any = change
        found["table"][change.table] += 1
        found["operation"][change.operation] += 1
        is_known = not hides["user_id"] and viewer.users.has_user_of(seen.bemi_tenant)
        if is_known and isinstance(seen.bemi_user, (int, str)):
            found["user"][str(seen.bemi_user)] += 1
        if not hides["endpoint"] and isinstance(seen.bemi_endpoint, str):
            found["endpoint"][seen.bemi_endpoint] += 1
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
