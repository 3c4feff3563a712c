"""The filter form of the list of changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from bemi_django import conf, signing_keys
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.site_time import midnight, next_midnight
from bemi_django.admin.display.values.operation_names import OPERATIONS
from bemi_django.admin.search import query_timeouts, search_terms
from bemi_django.admin.search.filters.filter_fields import DayField, ExcludedField
from bemi_django.admin.search.filters.filtered_changes import FilteredChanges
from bemi_django.admin.search.paging import PageCursor, cursor_before
from bemi_django.admin.search.people.groups import GroupMembers, knows_groups, members_of
from bemi_django.admin.search.people.users import (
    ContextPart,
    by_user,
    is_key,
    is_user,
    refuse,
    searchable_parts,
)
from bemi_django.log import conditions
from bemi_django.wire import UNVERIFIED_KEY


class FilterForm(forms.Form):
    """Filters of the list of changes. All fields are optional; an empty form selects the whole log."""

    q = forms.CharField(label=_("Search"), required=False, strip=True, max_length=1000)
    table = forms.ChoiceField(label=_("Model"), required=False)
    operation = forms.ChoiceField(
        label=_("Operation"), required=False, choices=[("", _("Any operation")), *OPERATIONS]
    )
    user = forms.CharField(label=_("User"), required=False, max_length=200)
    group = forms.CharField(label=_("Group"), required=False, max_length=200)
    endpoint = forms.CharField(label=_("Endpoint"), required=False, max_length=2000)
    since = DayField(label=_("From"), required=False)
    since_time = forms.TimeField(label=_("From, time of day"), required=False)
    until = DayField(label=_("To"), required=False)
    until_time = forms.TimeField(label=_("To, time of day"), required=False)
    outside = forms.BooleanField(label=_("Outside the application"), required=False)
    unverified = forms.BooleanField(label=_("Unverified"), required=False)
    records = forms.BooleanField(label=_("Also Django's own records"), required=False)
    not_user = ExcludedField(label=_("User other than"), required=False)
    not_group = ExcludedField(label=_("Group other than"), required=False)
    not_table = ExcludedField(label=_("Model other than"), required=False)
    not_operation = ExcludedField(label=_("Operation other than"), required=False)
    not_endpoint = ExcludedField(label=_("Endpoint other than"), required=False)

    #: Whether changes are looked for that the log has no more: it does not know whose they are.
    is_of_archive = False

    def __init__(self, data: Any, viewer: Viewer, *, is_checked: bool = True) -> None:
        """Make the form.

        Args:
            data: What it is filled in with.
            viewer: The user who searches.
            is_checked: Whether fields with errors are marked at once; otherwise nothing is looked up.
        """
        super().__init__(data, auto_id="filter-%s")
        self._viewer = viewer
        if not signing_keys.are_configured() and not data.get("unverified"):
            del self.fields["unverified"]
        if not (data.get("group") or data.get("not_group") or knows_groups(viewer)):
            del self.fields["group"], self.fields["not_group"]
        choices = viewer.logged_models.menu()
        wanted = str(data.get("table", ""))
        if wanted and "\0" not in wanted and wanted not in dict(choices):
            # The log also has tables without a model, and tables that are not tracked any more.
            choices = [*choices, (wanted, dict(viewer.logged_models.labelled()).get(wanted, wanted))]
        table = self.fields["table"]
        assert isinstance(table, forms.ChoiceField)
        table.choices = [("", _("Any model")), *choices]
        for name in ("since", "until"):
            self.fields[name].widget = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
            self.fields[f"{name}_time"].widget = forms.TimeInput({"type": "time"}, format="%H:%M")
        self.fields["q"].widget = forms.TextInput(
            {
                "type": "search",
                "placeholder": _("42, request id, task:Sleep, reason=import"),
                "aria-describedby": "filter-help",
            }
        )
        self.fields["endpoint"].widget.attrs |= {"placeholder": "/shop/*", "dir": "ltr"}
        for name in self.fields.keys() & {"user", "group", "endpoint"}:
            self.fields[name].widget.attrs |= {"list": f"filter-{name}-list", "autocomplete": "off"}
        for name in self.errors if is_checked else ():
            if name in self.fields:
                self.fields[name].widget.attrs |= {"aria-invalid": "true"}

    def clean_q(self) -> search_terms.SearchTerms | None:
        """Parse the words of the search."""
        text = self.cleaned_data["q"]
        if not text:
            return None
        masks = self._viewer.masks
        has_ids = not masks.hide_context_key("request_id")
        found = search_terms.parse(text, masks.searchable_keys(), has_request_ids=has_ids)
        refuse([column for column in found.columns if masks.hide_search(column)])
        for part in found.context_parts:
            refuse(masks.hidden_in_context(part))
        return found

    def clean_user(self) -> list[ContextPart]:
        """Return the parts of contexts that the text may mean."""
        text = self.cleaned_data["user"]
        found = searchable_parts(text, self._viewer) if text else []
        is_archived = self.is_of_archive and is_key(text)
        if text and not is_archived and not is_user(text, found, self._viewer):
            raise ValidationError(
                _("No user has the name, e-mail address or key “%(value)s”, and no task, command or role."),
                params={"value": text},
            )
        return found

    def clean_group(self) -> GroupMembers | None:
        """Return the members of the group."""
        name = self.cleaned_data["group"]
        return members_of(name, self._viewer) if name else None

    def clean_endpoint(self) -> str:
        """Return the endpoint, if it may be searched for."""
        text: str = self.cleaned_data["endpoint"]
        if text:
            refuse(self._viewer.masks.hidden_in_context({"endpoint": text, "route": text}))
        return text

    def clean(self) -> dict[str, Any]:
        """Refuse a time of no day."""
        asked = self.cleaned_data
        for name in ("since", "until"):
            if asked.get(f"{name}_time") and not asked.get(name) and name not in self.errors:
                self.add_error(f"{name}_time", _("Choose a day as well."))
        return asked

    def period(self) -> tuple[datetime | None, datetime | None]:
        """Return the first moment of the list, and the one at which it ends, None where it has no bound."""
        asked = getattr(self, "cleaned_data", {})
        since, until = asked.get("since"), asked.get("until")
        begin = midnight(since, asked.get("since_time")) if since else None
        if until and asked.get("until_time"):
            # The minute that is given belongs to the list, as the day does. The last one has no end.
            with suppress(OverflowError):
                return begin, midnight(until, asked["until_time"]) + timedelta(minutes=1)
        return begin, next_midnight(until) if until else None

    def first_place(self) -> PageCursor:
        """Return where the first page begins: at the newest change, or at the end of the period."""
        _begin, end = self.period()
        return cursor_before(end) if end else PageCursor()

    def clean_not_user(self) -> list[list[ContextPart]]:
        """Return the parts of contexts that each of the texts may mean."""
        return [searchable_parts(text, self._viewer) for text in self.cleaned_data["not_user"]]

    def clean_not_group(self) -> list[GroupMembers]:
        """Return the members of each of the groups."""
        return [members_of(name, self._viewer) for name in self.cleaned_data["not_group"]]

    def clean_not_endpoint(self) -> list[str]:
        """Return the endpoints, if they may be searched for."""
        texts: list[str] = self.cleaned_data["not_endpoint"]
        if texts:
            refuse(self._viewer.masks.hidden_in_context({"endpoint": texts[0], "route": texts[0]}))
        return texts

    def _excluded(self) -> Iterator[Q]:
        """Yield the conditions of what is left out."""
        asked = self.cleaned_data
        yield from (by_user(parts, self._viewer) for parts in asked["not_user"])
        yield from (members.condition() for members in asked.get("not_group", ()))
        yield from (Q(table=table) for table in asked["not_table"])
        yield from (Q(operation=operation) for operation in asked["not_operation"])
        yield from map(conditions.at_endpoint, asked["not_endpoint"])

    def _wanted(self) -> Iterator[tuple[Q, int]]:
        """Yield the conditions of the fields that are set, each with the time limit for its index."""
        asked = self.cleaned_data
        if asked["q"]:
            yield asked["q"].condition, asked["q"].timeout
        if asked["table"]:
            yield Q(table=asked["table"]), query_timeouts.FILTER
        if asked["operation"]:
            yield Q(operation=asked["operation"]), query_timeouts.NO_INDEX
        if asked["user"]:
            yield by_user(asked["user"], self._viewer), query_timeouts.FILTER
        if asked.get("group"):
            yield asked["group"].condition(), asked["group"].timeout
        if asked["endpoint"]:
            is_exact = conditions.is_one_endpoint(asked["endpoint"])
            limit = query_timeouts.FILTER if is_exact else query_timeouts.NO_INDEX
            yield conditions.at_endpoint(asked["endpoint"]), limit
        begin, end = self.period()
        if begin:
            yield Q(committed_at__gte=begin), query_timeouts.FILTER
        if end:
            yield Q(committed_at__lt=end), query_timeouts.FILTER
        if asked["outside"]:
            yield conditions.outside(), query_timeouts.FILTER
        if asked.get("unverified"):
            yield Q(context__contains={UNVERIFIED_KEY: True}), query_timeouts.FILTER

    def changes(self) -> FilteredChanges:
        """Return the changes that match all fields; a form with errors selects none."""
        changes = self._viewer.changes()
        if not self.is_valid():
            return FilteredChanges(changes.none(), True, query_timeouts.FILTER, changes.none(), True)
        asked = self.cleaned_data
        given = list(self._wanted())
        given += [(~condition, query_timeouts.NO_INDEX) for condition in self._excluded()]
        if not asked["records"]:
            # Records that are asked for by their table are shown, and others not beside what it has.
            changes = changes.exclude(conditions.bookkeeping() & ~Q(table=asked["table"]))
        whole = changes
        for condition, _timeout in given:
            changes = changes.filter(condition)
        is_filtered = bool(given or conf.bookkeeping_tables()) or conf.admin_scope() is not None
        timeout = max((timeout for _q, timeout in given), default=query_timeouts.NO_INDEX)
        return FilteredChanges(changes, is_filtered, timeout, whole, bool(given))
