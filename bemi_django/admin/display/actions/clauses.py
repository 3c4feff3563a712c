"""The clauses of the sentence about an action: one for each kind of change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from bemi_django.admin.access.rows.column_value import ColumnValue
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions import nouns
from bemi_django.admin.display.actions.action import AuditAction, ChangeKind, kind_of
from bemi_django.admin.display.actions.children import children, is_link
from bemi_django.admin.display.actions.event_clause import event_clause
from bemi_django.admin.display.actions.row_identity import rows_of_changes
from bemi_django.admin.display.object_labels import ObjectLabels
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.display.values.operation_names import operation_text
from bemi_django.admin.display.values.shown_value import told_apart
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change

#: The number of fields that a clause names, and of characters of a value.
_FIELDS = 3
_CHARACTERS = 28


class Clauses:
    """The clauses of a sentence.

    Args:
        action: The action.
        viewer: Who reads it.
        objects: The labels of the objects of its changes.
        formatter: Shows values.
    """

    def __init__(
        self, action: AuditAction, viewer: Viewer, objects: ObjectLabels, formatter: Formatter
    ) -> None:
        self._formatter = formatter
        self._action = action
        self._viewer = viewer
        self._objects = objects
        self._by_kind: dict[ChangeKind, list[Change]] = {}
        for change in action.changes:
            self._by_kind.setdefault(kind_of(change), []).append(change)
        self._counts = dict(action.counts)
        #: Kinds whose rows all belong to the only row of another kind.
        self._children: dict[ChangeKind, list[ChangeKind]] = {}
        if action.is_whole:
            self._leave_out_updates_of_new_rows()
            self._children = children(self._by_kind, viewer)

    def _leave_out_updates_of_new_rows(self) -> None:
        rows = rows_of_changes(self._action.changes)
        row_of = {change.pk: row for change, row in zip(self._action.changes, rows, strict=True)}
        born = {
            row_of[change.pk]
            for change in self._action.changes
            if change.operation == "CREATE" and change.primary_key is not None
        }
        for kind, changes in list(self._by_kind.items()):
            kept = [change for change in changes if row_of[change.pk] not in born]
            if kind.operation == "UPDATE" and len(kept) < len(changes):
                self._by_kind[kind], self._counts[kind] = kept, len(kept)

    def __iter__(self) -> Iterator[SafeString]:
        told = {child for children in self._children.values() for child in children}
        for kind, count in self._counts.items():
            if count and kind not in told:
                yield self._clause(kind, count)

    def _clause(self, kind: ChangeKind, count: int) -> SafeString:
        shown = self._by_kind.get(kind, [])
        if kind.operation == "UPDATE":
            return self._update(kind, count, shown)
        if kind.operation == "EVENT":
            known = shown if len(shown) == count else []
            return event_clause(kind, count, self._number(count), known, self._viewer, self._objects)
        links = is_link(kind, self._viewer)
        if count == 1 and len(shown) == 1 and kind.operation in _ONE:
            text = (_ONE_LINK if links else _ONE)[kind.operation]
            return self._with_children(kind, format_html(_(text), object=self._object(shown[0])))
        return self._many(kind, count, links=links)

    def _many(self, kind: ChangeKind, count: int, *, links: bool) -> SafeString:
        texts = {
            "CREATE": ngettext("created {number} {name}", "created {number} {name}", count),
            "DELETE": ngettext("deleted {number} {name}", "deleted {number} {name}", count),
            "BASELINE": ngettext(
                "recorded {number} existing {name}", "recorded {number} existing {name}", count
            ),
            "ERASED": ngettext("erased values of {number} {name}", "erased values of {number} {name}", count),
            "TRUNCATE": _("removed all {name}"),
            "SKIPPED": _("changed {name} without a record of each"),
            "GAP": _("changes were lost before they could be recorded"),
        }
        if links:
            texts["CREATE"] = ngettext("added {number} {name}", "added {number} {name}", count)
            texts["DELETE"] = ngettext("removed {number} {name}", "removed {number} {name}", count)
        is_plural = count != 1 or kind.operation in ("TRUNCATE", "SKIPPED")
        return format_html(
            texts.get(kind.operation, "{operation} {number} {name}"),
            operation=operation_text(kind.operation),
            number=self._number(count),
            name=nouns.noun(kind, self._viewer, is_plural=is_plural),
        )

    def _number(self, count: int) -> str:
        return nouns.number(count, is_cut=self._action.is_cut)

    def _object(self, change: Change) -> SafeString:
        return nouns.object_link(self._objects.of(change))

    # Updates

    def _update(self, kind: ChangeKind, count: int, shown: list[Change]) -> SafeString:
        fields = [self._changed(change) for change in shown] if len(shown) == count else []
        names = {tuple(value.name for value in found) for found in fields}
        rows = self._rows(kind, count, shown)
        if rows is None:
            text = ngettext("made {number} change to {name}", "made {number} changes to {name}", count)
            name = nouns.noun(kind, self._viewer, is_plural=True)
            return format_html(text, number=self._number(count), name=name)
        count = rows
        if count == 1 and fields:
            return self._update_of_one(shown[-1], fields)
        text = ngettext("changed {number} {name}", "changed {number} {name}", count)
        field = ""
        if len(names) == 1 and len(only := names.pop()) == 1:
            text = ngettext("changed {field} of {number} {name}", "changed {field} of {number} {name}", count)
            field = self._formatter.name(self._viewer.logged_models.model_of(shown[0]), only[0])
        name = nouns.noun(kind, self._viewer, is_plural=count != 1)
        return format_html(text, field=field, number=self._number(count), name=name)

    def _rows(self, kind: ChangeKind, count: int, shown: list[Change]) -> int | None:
        """Return how many rows updates have changed, or None: a row may be saved several times."""
        rows = self._action.rows.get(kind)
        if len(shown) == count:
            found = set(rows_of_changes(shown))
            rows = count if None in found else len(found)
        # What was not counted may be of the same rows.
        return rows if rows == count or not self._action.is_cut else None

    def _update_of_one(self, change: Change, fields: list[list[ColumnValue]]) -> SafeString:
        about = self._object(change)
        all_changed = _from_first_to_last(fields)
        found = [value for value in all_changed if len(fields) == 1 or not _is_back(value)] or all_changed
        if not found:
            return format_html(_("saved {object} without a difference"), object=about)
        if len(found) > _FIELDS:
            text = ngettext(
                "changed {number} field of {object}", "changed {number} fields of {object}", len(found)
            )
            return format_html(text, number=nouns.number(len(found)), object=about)
        logged = self._viewer.logged_models.model_of(change)
        names = get_text_list([self._formatter.name(logged, value.name) for value in found], _("and"))
        if len(fields) > 1 and all(map(_is_back, found)):
            return format_html(_("changed {fields} of {object} and back again"), fields=names, object=about)
        if len(found) == 1 and (sides := self._sides(change, found[0])):
            return format_html(
                _("changed {field} of {object} from {before} to {after}"),
                field=names,
                object=about,
                before=format_html("<del>{}</del>", sides[0]),
                after=format_html("<ins>{}</ins>", sides[1]),
            )
        return format_html(_("changed {fields} of {object}"), fields=names, object=about)

    def _sides(self, change: Change, value: ColumnValue) -> tuple[str, str] | None:
        """Return both values of a field if they are short enough for a sentence."""
        if not (value.has_before and value.has_after) or value.is_masked:
            return None
        logged = self._viewer.logged_models.model_of(change)
        before, after = told_apart(
            self._formatter.show(logged, value.name, value.before),
            self._formatter.show(logged, value.name, value.after),
        )
        is_short = max(len(before.text), len(after.text)) <= _CHARACTERS
        return (before.brief, after.brief) if is_short else None

    def _changed(self, change: Change) -> list[ColumnValue]:
        found = [value for value in self._viewer.values(change) if value.is_changed]
        automatic = nouns.automatic_columns(nouns.model_of(kind_of(change), self._viewer))
        return [value for value in found if value.name not in automatic] or found

    def _with_children(self, kind: ChangeKind, clause: SafeString) -> SafeString:
        found = []
        for child in self._children.get(kind, ()):
            count = self._counts[child]
            name = nouns.noun(child, self._viewer, is_plural=count != 1)
            found.append(f"{self._number(count)} {name}")
        if not found:
            return clause
        with_them = _("{clause} with {children}")
        return format_html(with_them, clause=clause, children=get_text_list(found, _("and")))


def _from_first_to_last(changed: list[list[ColumnValue]]) -> list[ColumnValue]:
    """Return the columns that changes of one object changed, each with its first and its last value."""
    found: dict[str, ColumnValue] = {}
    for value in (value for values in changed for value in values):
        first = found.get(value.name, value)
        found[value.name] = replace(value, before=first.before, has_before=first.has_before)
    return list(found.values())


def _is_back(value: ColumnValue) -> bool:
    """Return whether the last value of a column is known to be the first one."""
    is_known = value.has_before and value.has_after and not (value.is_masked or value.is_unknown)
    return is_known and dumps(value.before) == dumps(value.after)


_ONE = {
    "CREATE": gettext_noop("created {object}"),
    "DELETE": gettext_noop("deleted {object}"),
    "BASELINE": gettext_noop("recorded existing {object}"),
    "ERASED": gettext_noop("erased values of {object}"),
}
_ONE_LINK = {
    **_ONE,
    "CREATE": gettext_noop("added {object}"),
    "DELETE": gettext_noop("removed {object}"),
}
