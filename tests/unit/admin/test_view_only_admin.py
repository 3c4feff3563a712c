"""Objects of the admin whose methods for permissions ask each other."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.http import HttpRequest

from bemi_django.site_past.view_only_admin import make_view_only
from sample_project.todos.models import Tag, Todo


class ViewersChange(ModelAdmin):  # type: ignore[type-arg]
    """Whoever may view an object may change it."""

    may = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj)


class ChangersView(ModelAdmin):  # type: ignore[type-arg]
    """Whoever may change an object may view it."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


def test_permissions_may_rest_on_each_other() -> None:
    site = AdminSite("of two models")
    site.register(Todo, ViewersChange)
    site.register(Tag, ChangersView)
    viewers, changers = site._registry[Todo], site._registry[Tag]
    present, past = HttpRequest(), HttpRequest()
    make_view_only(past)
    for request in (present, past):
        assert not viewers.has_view_permission(request) and not viewers.has_change_permission(request)
        assert changers.has_view_permission(request)
        assert changers.has_change_permission(request) is (request is present)
    ViewersChange.may = True
    assert viewers.has_view_permission(past) and not viewers.has_change_permission(past)
    assert viewers.has_change_permission(present)
