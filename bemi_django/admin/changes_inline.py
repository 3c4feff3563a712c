"""The latest changes of an object, on the form of its ``ModelAdmin``."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.checks import InlineModelAdminChecks
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from bemi_django.admin.access.chosen_log import unreached
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.history.latest import or_unreadable, render_latest
from bemi_django.admin.pages.history.subject import subject_of_instance
from bemi_django.models import Change

if TYPE_CHECKING:
    # The classes are generic in the type stubs only.
    InlineBase = admin.options.InlineModelAdmin[Change, Any]
    FormSetBase = forms.BaseModelFormSet[Change, Any]
else:
    InlineBase, FormSetBase = admin.options.InlineModelAdmin, forms.BaseModelFormSet


class _Checks(InlineModelAdminChecks):
    """The checks of inlines, without those of the foreign key that changes do not have."""

    def _check_relation(self, obj: Any, parent_model: Any) -> list[Any]:
        return []

    def _check_exclude_of_parent_model(self, obj: Any, parent_model: Any) -> list[Any]:
        return []


class ChangesFormSet(FormSetBase):
    """A form set without forms: nothing is sent with it, and nothing of it is saved."""

    request: HttpRequest
    inline: ChangesInline

    def __init__(self, data: Any = None, *, instance: Any = None, prefix: Any = None, **kwargs: Any) -> None:
        super().__init__(prefix=prefix, queryset=Change.objects.none())
        self.instance = instance

    @classmethod
    def get_default_prefix(cls) -> str:
        """Return the name that no form set of the project has."""
        return "bemi-changes"

    def is_valid(self) -> bool:
        """Return True: there is nothing that could be wrong."""
        return True

    def save(self, commit: bool = True) -> list[Change]:
        """Save nothing."""
        self.new_objects, self.changed_objects, self.deleted_objects = [], [], []
        return []

    @cached_property
    def rendered(self) -> SafeString:
        """Return the changes as HTML."""
        return self.inline.render(self.request, self.instance)


class ChangesInline(InlineBase):
    """Show the latest changes of an object on its form, to users who may view changes.

    Example::

        @admin.register(Product)
        class ProductAdmin(admin.ModelAdmin):
            inlines = [ChangesInline]

    Attributes:
        limit: The number of changes.
        related: ``"own"`` for changes of the object alone, ``"all"`` for those of all that refers to it; by
            default those of its parts are shown, too.
    """

    model = Change
    formset: Any = ChangesFormSet
    checks_class = _Checks
    template = "admin/bemi_django/changes_inline.html"
    verbose_name_plural = _("Latest changes")
    can_delete = False
    extra = 0
    limit = 5
    related = ""

    @property
    def media(self) -> forms.Media:
        """The style of the audit trail."""
        return forms.Media(css={"all": ["bemi_django/audit.css"]})

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether there is an object whose changes the user may view in this site."""
        viewer = Viewer(request, self.admin_site)
        has_pages = hasattr(self.admin_site._registry.get(Change), "timeline_view")
        if obj is None or obj.pk is None or not has_pages or not viewer.has("view"):
            return False
        try:
            return not viewer.masks.hide_model_key(self.parent_model)
        except (OperationalError, InterfaceError):
            if unreached() is None:
                raise
            # What is rendered says that the log cannot be read.
            return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: changes are not added."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: changes are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: changes are not deleted."""
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return no fields."""
        return []

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Return a form set that renders the changes of the object."""
        found = forms.modelformset_factory(Change, fields=(), formset=self.formset, extra=0, max_num=0)
        return type("ChangesFormSet", (found,), {"request": request, "inline": self})

    def render(self, request: HttpRequest, instance: Any) -> SafeString:
        """Return the latest changes of an object as HTML."""
        return or_unreadable(partial(self._rendered, request, instance))

    def _rendered(self, request: HttpRequest, instance: Any) -> str:
        request = copy.copy(request)
        # Parameters of the form are not those of the audit trail.
        request.GET = QueryDict()
        try:
            subject = subject_of_instance(Viewer(request, self.admin_site), instance)
        except PermissionDenied:
            return ""
        zone = timezone.get_current_timezone_name()
        return render_latest(
            subject,
            "changes_inline",
            "admin/bemi_django",
            "latest_changes.html",
            limit=self.limit,
            related=self.related,
            time_zone=zone,
        )
