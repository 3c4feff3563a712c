"""The chosen filters of a list, each with a link that removes it."""

from __future__ import annotations

from typing import NamedTuple

from django import forms
from django.http import QueryDict

from bemi_django.admin.display.values.moments import stored_day_text
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.filters.filter_fields import ExcludedField
from bemi_django.admin.search.filters.list_address import list_address

#: The length of a value.
_LONGEST = 60


class Chip(NamedTuple):
    """A chosen filter.

    Attributes:
        label: The name of the filter.
        value: What it is set to; empty for a check box.
        query: The query string of the list without it.
    """

    label: str
    value: str
    query: str


def chips(form: FilterForm, parameters: QueryDict) -> list[Chip]:
    """Return the chosen filters of a list.

    Args:
        form: The form of the filters.
        parameters: The query string of the request.
    """
    found = []
    for name, field in form.fields.items():
        if isinstance(field, ExcludedField):
            found += _excluded(name, form, parameters)
            continue
        text = parameters.get(name, "").strip()
        if text:
            found.append(
                Chip(str(field.label), _value(field, text), without(parameters, name, f"{name}_time"))
            )
    return found


def _excluded(name: str, form: FilterForm, parameters: QueryDict) -> list[Chip]:
    texts = [text for text in parameters.getlist(name) if text.strip()]
    shown = form.fields[name.removeprefix("not_")]
    found = []
    for number, text in enumerate(texts):
        others = parameters.copy()
        others.setlist(name, texts[:number] + texts[number + 1 :])
        found.append(Chip(str(form.fields[name].label), _value(shown, text.strip()), without(others)))
    return found


def without(parameters: QueryDict, *names: str) -> str:
    """Return the query string of the first page of a list without some of its parameters."""
    query = parameters.copy()
    for name in ("older", "newer", *names):
        query.pop(name, None)
    return list_address(query)


def _value(field: forms.Field, text: str) -> str:
    if isinstance(field, forms.BooleanField):
        return ""
    if isinstance(field, forms.ChoiceField):
        labels = {str(key): str(label) for key, label in field.choices}  # type: ignore[union-attr,misc]
        text = labels.get(text, text)
    elif isinstance(field, forms.DateField):
        text = stored_day_text(text) or text
    return f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text
