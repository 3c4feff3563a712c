"""Users, groups and endpoints suggested in the filter form."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple
from uuid import UUID

from django.core.cache import cache

from bemi_django import conf
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.search.people.groups import changes_by_group, knows_groups
from bemi_django.admin.search.query_plans import no_seqscan
from bemi_django.log.change import ChangeQuerySet
from bemi_django.wire.ids import change_id, sequence_in

#: The number of changes read at a time, of transactions counted, and of suggestions offered.
_WINDOW = 500
_TRANSACTIONS = 2000
_OFFERED = 100
_COLUMNS = ("id", "context__user_id", "context__endpoint", "context__tenant")
#: Time spent on reading (seconds), and for how long the result is cached.
_BUDGET = 0.2
_FRESH = 60


class Suggestions(NamedTuple):
    """Users, their groups and endpoints of the latest transactions, the most frequent first."""

    users: list[str]
    groups: list[str]
    endpoints: list[str]


def suggestions(viewer: Viewer) -> Suggestions:
    """Return the users, groups and endpoints of the latest transactions that the viewer may see."""
    changes = viewer.changes().order_by("-id")
    key = viewer.cache_key("suggestions", changes, conf.masked_fields(), knows_groups(viewer))
    found: Suggestions | None = cache.get(key)
    if found is None:
        found = _counted(changes, viewer)
        cache.set(key, found, _FRESH)
    for name, texts in (("user_id", found.users), ("endpoint", found.endpoints)):
        viewer.lifted.context_keys(*([name] if texts else []))
    return found


def _counted(changes: ChangeQuerySet, viewer: Viewer) -> Suggestions:
    users: Counter[str] = Counter()
    endpoints: Counter[str] = Counter()
    seen: set[tuple[int, str, str]] = set()
    deadline = time.monotonic() + _BUDGET
    end: UUID | None = None
    while len(seen) < _TRANSACTIONS and time.monotonic() < deadline:
        window = changes if end is None else changes.filter(id__lt=end)
        with no_seqscan():
            found = list(window.values_list(*_COLUMNS)[:_WINDOW])
        for identifier, user, endpoint, tenant in found:
            sighting = (sequence_in(identifier.bytes), str(user), str(endpoint))
            if sighting not in seen:
                seen.add(sighting)
                hidden = viewer.masks.hidden_in_context({"user_id": user, "endpoint": endpoint})
                is_known = user is not None and viewer.users.has_user_of(tenant)
                users[str(user)] += is_known and "user_id" not in hidden
                endpoints[str(endpoint)] += bool(endpoint) and "endpoint" not in hidden
        if len(found) < _WINDOW:
            break
        # The rest of a large transaction would hide all others.
        end = UUID(bytes=change_id(sequence_in(found[-1][0].bytes), 0, 0))
    names = user_names((user for user, count in users.items() if count), viewer)
    return Suggestions(
        [names.get(user, user) for user in _frequent(users)],
        list(filter(None, _frequent(changes_by_group(users, viewer)))),
        _frequent(endpoints),
    )


def _frequent(counts: Counter[str]) -> list[str]:
    return [text for text, count in counts.most_common(_OFFERED) if count]
