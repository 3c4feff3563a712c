"""Who and what most changes are of: users, groups, endpoints, tables, tasks, commands, roles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.display.values.break_points import breakable
from bemi_django.admin.pages.activity.hour_counts import HourCounts, Names
from bemi_django.admin.search.people.groups import changes_by_group

#: Lines of a list.
_LINES = 10


class Line(NamedTuple):
    """A line of a list: what it is about, how many changes, their share of the first line, a link."""

    label: str
    changes: int
    text: str = ""
    share: int = 0
    query: str = ""

    @property
    def breakable(self) -> SafeString:
        """The label, which breaks between its words first."""
        return breakable(self.label)


class Ranking(NamedTuple):
    """A list of what has most changes; ``rest`` says how many are not on it."""

    kind: str
    title: str
    heading: str
    lines: list[Line]
    rest: str = ""


def rankings(viewer: Viewer, counts: HourCounts) -> Iterator[Ranking]:
    """Yield the lists that are not empty."""
    titles = {
        "user": (_("Users"), _("User")),
        "group": (_("Groups"), _("Group")),
        "endpoint": (_("Endpoints"), _("Endpoint")),
        "table": (_("Tables"), _("Table")),
        "task": (_("Tasks"), _("Task")),
        "command": (_("Commands"), _("Command")),
        "outside": (_("Outside the application"), _("Role")),
    }
    users = counts.kinds.get("user")
    for kind, (title, heading) in titles.items():
        found = counts.kinds.get(kind)
        if kind == "group":
            lines = list(_groups(viewer, users)) if users else []
            shown, all_changes = lines[:_LINES], sum(line.changes for line in lines)
        else:
            shown = list(islice(_LISTS[kind](viewer, found), _LINES)) if found else []
            all_changes = found.changes if found else 0
        if shown:
            rest = max(all_changes - sum(line.changes for line in shown), 0)
            text = ngettext("%(count)s change of others", "%(count)s changes of others", rest)
            told = text % {"count": grouped(rest)} if rest else ""
            yield Ranking(kind, title, heading, _with_shares(shown), told)


def grouped(count: int) -> str:
    """Return a number with separators of thousands."""
    return number_format(count, force_grouping=True)


def _users(viewer: Viewer, found: Names) -> Iterator[Line]:
    most = [each for each in found.most if each[0]][:_LINES]
    own = {name for name, tenant, _count in most if viewer.users.has_user_of(tenant or None)}
    names = user_names(own, viewer)
    for name, tenant, count in most:
        if not viewer.users.has_user_of(tenant or None):
            yield Line(_("user %(user)s of %(tenant)s") % {"user": name, "tenant": tenant}, count)
        else:
            label = names.get(name, _("user %s") % name)
            yield Line(label, count, query=urlencode({"user": name}))


def _groups(viewer: Viewer, found: Names) -> Iterator[Line]:
    changes: Counter[str] = Counter()
    for name, tenant, count in found.most:
        if name and viewer.users.has_user_of(tenant or None):
            changes[name] += count
    for name, count in changes_by_group(changes, viewer).most_common():
        yield Line(name or _("No group"), count, query=urlencode({"group": name}) if name else "")


def _endpoints(viewer: Viewer, found: Names) -> Iterator[Line]:
    for name, method, count in found.most:
        if name:
            yield Line(f"{method} {name}".strip(), count, query=urlencode({"endpoint": name}))


def _tables(viewer: Viewer, found: Names) -> Iterator[Line]:
    labels = dict(viewer.logged_models.labelled())
    for name, _detail, count in found.most:
        query = urlencode({"table": name}) if name else ""
        yield Line(labels.get(name, name or _("(no table)")), count, query=query)


def _tasks(viewer: Viewer, found: Names) -> Iterator[Line]:
    yield from _in_context("task", found)


def _commands(viewer: Viewer, found: Names) -> Iterator[Line]:
    yield from _in_context("command", found)


def _in_context(key: str, found: Names) -> Iterator[Line]:
    for name, _detail, count in found.most:
        if name:
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            yield Line(name, count, query=urlencode({"q": f'{key}="{quoted}"'}))


def _outside(viewer: Viewer, found: Names) -> Iterator[Line]:
    for name, _detail, count in found.most:
        named = {"user": name} if name else {}
        yield Line(name or _("unknown"), count, query=urlencode({"outside": "on", **named}))


def _with_shares(lines: list[Line]) -> list[Line]:
    most = max(line.changes for line in lines) or 1
    return [
        line._replace(text=grouped(line.changes), share=round(100 * line.changes / most)) for line in lines
    ]


_LISTS = {
    "user": _users,
    "endpoint": _endpoints,
    "table": _tables,
    "task": _tasks,
    "command": _commands,
    "outside": _outside,
}
