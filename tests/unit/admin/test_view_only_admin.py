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


class OfPackages(ModelAdmin):  # type: ignore[type-arg]
    """What packages add: permissions and actions of their own, which ask for no permission of the model."""

    def has_import_permission(self, request: HttpRequest) -> bool:
        return True

    def has_approve_permission(self, obj: Any, *, request: HttpRequest) -> bool:
        return True

    def has_view_history_permission(self, request: HttpRequest) -> bool:
        return True

    def has_quota_permission(self) -> bool:
        return True

    def get_change_actions(self, request: HttpRequest, object_id: str, form_url: str) -> list[str]:
        return ["publish"]

    def get_actions_row(self, request: HttpRequest) -> tuple[str, ...]:
        return ("publish",)


def test_what_packages_add_is_refused_in_the_past_alone() -> None:
    site = AdminSite("of packages")
    site.register(Todo, OfPackages)
    found: Any = site._registry[Todo]
    present, past = HttpRequest(), HttpRequest()
    make_view_only(past)
    assert found.has_import_permission(present) and not found.has_import_permission(past)
    assert found.has_approve_permission(None, request=present)
    assert not found.has_approve_permission(None, request=past)
    assert found.get_change_actions(present, object_id="1", form_url="") == ["publish"]
    assert found.get_change_actions(past, object_id="1", form_url="") == []
    assert (found.get_actions_row(present), found.get_actions_row(past)) == (("publish",), ())
    # What says that it reads is left alone, and so is what is not about a request.
    assert found.has_view_history_permission(past) and found.has_quota_permission()
