"""Tell of each table whether it is tracked, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from bemi_django.admin.display.values.break_points import breakable
from bemi_django.admin.display.values.text_lists import comma_list, semicolon_list
from bemi_django.exceptions import NotInstalled
from bemi_django.schema.coverage import TableCoverage, read_coverage
from bemi_django.schema.database_names import database_option
from bemi_django.status.omissions import LeftOut, read_omissions


class TableHealth(NamedTuple):
    """A table, whether it is tracked, why not, and the command that changes that."""

    name: str
    is_tracked: bool
    reason: str
    command: str

    @property
    def breakable(self) -> SafeString:
        """The name, which breaks between its words first."""
        return breakable(self.name)


def table_health(alias: str) -> Iterator[TableHealth]:
    """Yield the tables of a database, those that are not tracked first."""
    sync = f"python manage.py bemi sync{database_option(alias)}"
    try:
        found = read_coverage(alias)
    except NotInstalled:
        yield TableHealth(
            "",
            False,
            _("the audit trail is not installed"),
            f"python manage.py migrate{database_option(alias)}",
        )
        return
    left_out = {one.table: _left_out(one) for one in read_omissions(alias)}
    for table in sorted(found, key=lambda table: table.is_tracked):
        command = sync if table.needs_sync else _remedy(table.name, table.obstacle)
        reasons = [reason for reason in (_reason(table), left_out.get(table.name)) if reason]
        yield TableHealth(table.name, table.is_tracked, semicolon_list(reasons), command)


def _reason(table: TableCoverage) -> str:
    if table.parent is None or table.is_tracked or table.needs_sync:
        return table.reason
    return _("%(reason)s; rows written to %(parent)s lie here, too") % {
        "reason": table.reason,
        "parent": table.parent,
    }


def _left_out(one: LeftOut) -> str:
    parts = [_("without %(columns)s") % {"columns": comma_list(one.columns)}] if one.columns else []
    for reason, count in one.changes.items():
        told = {"number": number_format(count, force_grouping=True), "reason": reason}
        parts.append(_("changes left out: %(number)s (%(reason)s)") % told)
    return comma_list(parts)


def _remedy(name: str, obstacle: str) -> str:
    if not obstacle:
        return ""
    return (
        f"ALTER TABLE {name} SET LOGGED;"
        if obstacle == "unlogged"
        else f"ALTER TABLE {name} ADD PRIMARY KEY ...;"
    )
