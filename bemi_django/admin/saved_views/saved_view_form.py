"""The forms of saved views: one that saves the list, and one for each view that is there."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bemi_django.admin.saved_views.view_query import query_of, stored
from bemi_django.admin.saved_views.visible_views import VisibleViews
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.models import SavedView

_LONGEST_QUERY = 10_000


class SavedViewForm(forms.Form):
    """The name of a view, and who sees it."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    is_shared = forms.BooleanField(label=gettext_lazy("Shared with all who may see changes"), required=False)
    is_default = forms.BooleanField(label=gettext_lazy("My list begins with it"), required=False)

    def __init__(self, data: Any, views: VisibleViews, view: SavedView | None = None) -> None:
        initial: dict[str, Any] = {}
        if view is not None:
            is_default = views.is_default(view)
            initial = {"name": view.name, "is_shared": view.is_shared, "is_default": is_default}
        super().__init__(data, auto_id=f"saved-view-{view.pk if view else 'new'}-%s", initial=initial)
        self.views, self.view = views, view
        self.fields["name"].widget.attrs |= {"autocomplete": "off"}
        if not views.may_share:
            del self.fields["is_shared"]

    def clean_name(self) -> str:
        """Return the name, if the owner of the view has no other one of it."""
        name: str = self.cleaned_data["name"]
        if self.view is not None and self.views.is_taken(name, self.view):
            raise ValidationError(_("There is a view of this name already."))
        return name


class NewViewForm(SavedViewForm):
    """A view that is saved with the filters of the list."""

    query = forms.CharField(widget=forms.HiddenInput, max_length=_LONGEST_QUERY)

    def __init__(self, data: Any, views: VisibleViews, query: str = "") -> None:
        super().__init__(data, views)
        self.fields["query"].initial = query
        self.fields["name"].widget.attrs |= {"list": "saved-view-names"}

    def clean_query(self) -> str:
        """Return the filters as they are stored, if they are filters that the user may use."""
        query = query_of(QueryDict(self.cleaned_data["query"]))
        if not query:
            raise ValidationError(_("Choose at least one filter."))
        if not FilterForm(query, self.views.viewer).is_valid():
            raise ValidationError(_("Correct the filters before you save them."))
        return stored(query)
