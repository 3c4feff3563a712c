"""The form of the history page that asks for a moment and for another to compare with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from bemi_django.admin.display.site_time import as_input, as_stored


class MomentField(forms.Field):
    """A moment in the time zone of the site, or with an offset of its own."""

    widget = forms.DateTimeInput({"type": "datetime-local", "step": "1"})

    def to_python(self, value: Any) -> datetime | None:
        """Parse a moment. Raises ValidationError, which repeats what browsers remove from the input."""
        text = str(value or "").strip()
        if not text:
            return None
        try:
            found = parse_datetime(text)
            moment = as_stored(found) if found else None
        except ValueError:
            moment = None
        if moment is None:
            raise ValidationError(_("“%(value)s” is not a valid date and time."), params={"value": text})
        return moment

    def prepare_value(self, value: Any) -> Any:
        """Return the value of the input."""
        try:
            found = parse_datetime(value) if isinstance(value, str) else value
            return as_input(as_stored(found)) if found else value
        except ValueError:
            return value


class MomentForm(forms.Form):
    """Both fields are optional: without any, the page shows the present."""

    def __init__(self, data: Any) -> None:
        super().__init__(data, auto_id="timeline-%s")
        self.fields["at"] = MomentField(label=_("As of"), required=False)
        self.fields["and"] = MomentField(label=_("Compared with"), required=False)
        for name in self.errors:
            self.fields[name].widget.attrs |= {"aria-invalid": "true"}

    def moments(self) -> tuple[datetime | None, datetime | None]:
        """Return the moment to show and the one to compare it with, or None for the present."""
        if not self.is_valid():
            return None, None
        return self.cleaned_data["at"], self.cleaned_data["and"]

    def is_future(self) -> bool:
        """Tell whether one of the moments is yet to come."""
        now = timezone.now()
        return any(moment is not None and moment > now for moment in self.moments())
