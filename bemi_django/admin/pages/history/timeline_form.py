"""Which changes a timeline shows: whose, of which operation, and by whom."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.operation_names import OPERATIONS
from bemi_django.admin.search.people.users import ContextPart, by_user, searchable_parts
from bemi_django.log.change import ChangeQuerySet

#: What can happen to an object.
_OF_OBJECTS = ("CREATE", "UPDATE", "DELETE", "BASELINE", "EVENT", "ERASED")
#: Whose changes: the object's own; also those of its parts; also those of all rows that refer to it.
OWN, PARTS, ALL = "own", "", "all"


class TimelineForm(forms.Form):
    """All fields are optional: without any, the timeline has the object and its parts."""

    operation = forms.ChoiceField(
        label=_("Operation"),
        required=False,
        choices=[("", _("Any operation")), *(each for each in OPERATIONS if each[0] in _OF_OBJECTS)],
    )
    user = forms.CharField(label=_("User"), required=False, max_length=200)
    related = forms.ChoiceField(
        required=False, choices=[(PARTS, ""), (OWN, ""), (ALL, "")], widget=forms.HiddenInput()
    )

    def __init__(self, data: Any, viewer: Viewer) -> None:
        super().__init__(data, auto_id="timeline-%s")
        self._viewer = viewer
        self.fields["user"].widget.attrs |= {"autocomplete": "off", "placeholder": _("Everybody")}
        for name in self.errors:
            self.fields[name].widget.attrs |= {"aria-invalid": "true"}

    def clean_user(self) -> list[ContextPart]:
        """Return the parts of contexts that the text may mean."""
        text = self.cleaned_data["user"]
        return searchable_parts(text, self._viewer) if text else []

    @property
    def whose(self) -> str:
        """Whose changes are shown: ``OWN``, ``PARTS`` or ``ALL``."""
        return str(self.cleaned_data.get("related", PARTS))

    @property
    def is_filtered(self) -> bool:
        """Whether some of the changes may be left out."""
        return any(self.cleaned_data.get(name) for name in ("operation", "user")) or bool(self.errors)

    def filtered(self, changes: ChangeQuerySet) -> ChangeQuerySet:
        """Return those of the changes that match; a form with errors selects none."""
        if self.errors:
            return changes.none()
        if self.cleaned_data["operation"]:
            changes = changes.filter(operation=self.cleaned_data["operation"])
        if self.cleaned_data["user"]:
            changes = changes.filter(by_user(self.cleaned_data["user"], self._viewer))
        return changes
