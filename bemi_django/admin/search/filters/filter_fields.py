"""Fields of the filter form, and the values that they offer."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

#: Filters of which values can be left out, by a parameter ``not_...``.
EXCLUDED = ("user", "group", "table", "operation", "endpoint")
#: Values that can be left out of one filter, and characters of each.
_MOST_EXCLUDED, _LONGEST_EXCLUDED = 20, 2000


class DayField(forms.DateField):
    """A day. Its error repeats the value, because browsers remove an invalid one from the input."""

    def to_python(self, value: Any) -> date | None:
        """Parse a day."""
        try:
            return super().to_python(value)
        except ValidationError:
            raise ValidationError(_("“%(value)s” is not a valid date."), params={"value": value}) from None


class ExcludedField(forms.Field):
    """Values of a filter that are left out."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[str]:
        """Return the values."""
        found = [str(text).strip() for text in value or ()]
        is_odd = any("\0" in text or len(text) > _LONGEST_EXCLUDED for text in found)
        if is_odd or len(found) > _MOST_EXCLUDED:
            raise ValidationError(_("These values cannot be left out."))
        return [text for text in found if text]
