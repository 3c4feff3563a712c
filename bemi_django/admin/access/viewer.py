"""What somebody may see of the log and do with it: every value on a page or in a file comes through here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext as _

from bemi_django import conf
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change

MASK = "••••••"

_PLACEHOLDER = re.compile(r"%\(\w+\)s|%s|\$\d+|:\w+")
# What may be a value: a string, a number, a text in dollars.
_LITERAL = re.compile(r"'|\$|(?<![\w.\"])\d")


@dataclass(frozen=True)
class ColumnValue:
    """One column of a change; ``has_before`` and ``has_after`` tell on which sides it is."""

    name: str
    before: Any
    after: Any
    has_before: bool
    has_after: bool
    is_changed: bool
    is_masked: bool
    is_unknown: bool


class Viewer:
    """The user of a request."""

    def __init__(self, request: HttpRequest, site: AdminSite) -> None:
        self.request = request
        self.site = site

    def changes(self) -> ChangeQuerySet:
        """Return the changes that the user may see, according to ``BEMI_ADMIN_SCOPE``."""
        changes: ChangeQuerySet = Change.objects.all()
        scope = conf.admin_scope()
        return changes if scope is None else cast(ChangeQuerySet, scope(self.request, changes))

    def has(self, action: str) -> bool:
        """Tell whether the user may ``view``, ``revert``, ``export`` or ``unmask`` changes."""
        return bool(self.request.user.has_perm(f"bemi_django.{action}_change"))

    def may(self, action: str, model: type[models.Model], instance: models.Model | None = None) -> bool:
        """Tell whether the user may ``view``, ``add``, ``change`` or ``delete`` a model's rows in the admin.

        Rows of a many-to-many table belong to the model that declares it.
        """
        owner = model._meta.auto_created
        if owner:
            return self.may("view" if action == "view" else "change", cast("type[models.Model]", owner))
        registered = self.site._registry.get(model)
        if registered is None:
            codename = get_permission_codename(action, model._meta)
            return bool(self.request.user.has_perm(f"{model._meta.app_label}.{codename}"))
        check = getattr(registered, f"has_{action}_permission")
        return bool(check(self.request) if action == "add" else check(self.request, instance))

    @cached_property
    def _masks(self) -> list[str]:
        return [] if self.has("unmask") else conf.masked_fields()

    def is_masked(self, schema: str, table: str, column: str | None) -> bool:
        """Return whether the values of a column are masked for the user."""
        names = (f"{table}.{column}", f"{schema}.{table}.{column}")
        return any(fnmatchcase(name, mask) for mask in self._masks for name in names)

    def may_search(self, column: str) -> bool:
        """Tell whether the values of a column may be asked for: not where any table's are masked."""
        return not any(fnmatchcase(column, mask.rpartition(".")[2]) for mask in self._masks)

    def values(self, change: Change) -> Iterator[ColumnValue]:
        """Yield the columns of a change, with masked values hidden."""
        unknown = change.unavailable or {}
        lost = {*unknown.get("before", ()), *unknown.get("after", ())}
        for name in sorted({*change.before, *change.after, *lost}):
            before, after = change.before.get(name), change.after.get(name)
            masked = self.is_masked(change.schema, change.table, name)
            yield ColumnValue(
                name,
                MASK if masked and before is not None else before,
                MASK if masked and after is not None else after,
                name in change.before,
                name in change.after,
                name not in change.before or name not in change.after or dumps(before) != dumps(after),
                masked,
                name in lost,
            )

    def masked_columns(self, change: Change) -> set[str]:
        """Return the columns of a change that are masked for the user."""
        columns = {*change.before, *change.after}
        return {name for name in columns if self.is_masked(change.schema, change.table, name)}

    def row(self, change: Change, side: str) -> dict[str, Any]:
        """``before`` or ``after`` of a change, masked where it must be."""
        masked = self.masked_columns(change)
        row: dict[str, Any] = getattr(change, side)
        return {name: MASK if name in masked and value is not None else value for name, value in row.items()}

    def context(self, change: Change) -> dict[str, Any]:
        """Return the context, without the SQL if it may contain a masked value."""
        context: dict[str, Any] = dict(change.context)
        statement = context.get("SQL")
        if (
            statement
            and self.masked_columns(change)
            and _LITERAL.search(_PLACEHOLDER.sub("", str(statement)))
        ):
            context["SQL"] = "-- " + _("not shown: it may hold a masked value")
        return context

    def key(self, change: Change) -> str | None:
        """Return the primary key, masked if it contains a masked value."""
        hidden = {
            str(value)
            for name in self.masked_columns(change)
            for value in (change.before.get(name), change.after.get(name))
        }
        return MASK if change.primary_key in hidden else change.primary_key
