"""Add a button that leads to the audit trail to the admin pages of every model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import models
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse
from django.utils.http import urlencode

from bemi_django import conf
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import timeline_url
from bemi_django.log.keys import key_of
from bemi_django.log.places import table_name
from bemi_django.models import Change, DeadLetter

#: The template of the button: that of django-unfold where it is installed, or else Django's way.
_BUTTON = ["unfold/helpers/tab_action.html", "admin/bemi_django/button.html"]


class HistoryMixin:
    """Make the History button of a ``ModelAdmin`` lead to the audit trail.

    The setting ``BEMI_ADMIN_HISTORY`` does not apply to such a model.
    """

    bemi_history = "replace"


def install() -> None:
    """Wrap the views of ``ModelAdmin``. ``BEMI_ADMIN_HISTORY`` is read on each request."""
    _wrap("changelist_view", _with_list_button)
    _wrap("render_change_form", _with_object_button)
    _wrap("history_view", _instead_of_history)


def _wrap(name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    method = getattr(admin.ModelAdmin, name)
    if not hasattr(method, "_bemi_wrapped"):
        wrapped = wrapper(method)
        wrapped._bemi_wrapped = True  # type: ignore[attr-defined]
        setattr(admin.ModelAdmin, name, wrapped)


def _with_list_button(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def changelist_view(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = method(self, request, *args, **kwargs)
        viewer = Viewer(request, self.admin_site)
        if _history_mode(self, viewer):
            query = urlencode({"table": _table(self.model)})
            _add_button(response, "list", f"{viewer.url('changelist')}?{query}")
        return response

    return changelist_view


def _with_object_button(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def render_change_form(self: Any, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        response = method(self, request, context, *args, **kwargs)
        instance = context.get("original")
        # With "replace", Django's own button leads to the audit trail.
        viewer = Viewer(request, self.admin_site)
        if instance is not None and _history_mode(self, viewer) == "button":
            url = _timeline_url(viewer, instance)
            if url is not None:
                _add_button(response, "form", url)
        return response

    return render_change_form


def _instead_of_history(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def history_view(self: Any, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        viewer = Viewer(request, self.admin_site)
        if _history_mode(self, viewer) == "replace":
            instance = self.get_object(request, unquote(object_id))
            if instance is not None and self.has_view_or_change_permission(request, instance):
                url = _timeline_url(viewer, instance)
                if url is not None:
                    return HttpResponseRedirect(url)
        return method(self, request, object_id, *args, **kwargs)

    return history_view


def _timeline_url(viewer: Viewer, instance: models.Model) -> str | None:
    """Return the URL of an object's history, or None if its key is masked."""
    model = type(instance)
    if viewer.masks.hide_model_key(model):
        return None
    return timeline_url(viewer, model, key_of(instance))


def _history_mode(model_admin: Any, viewer: Viewer) -> str | None:
    """Return ``button``, ``replace``, or None.

    There is no button if the user may not view changes, or if the site does not have the audit trail.
    """
    mode = getattr(model_admin, "bemi_history", conf.admin_history())
    if not mode or model_admin.model in (Change, DeadLetter):
        return None
    # A site may register another ModelAdmin for the log.
    has_pages = hasattr(viewer.site._registry.get(Change), "timeline_view")
    return str(mode) if has_pages and viewer.has("view") else None


def _add_button(response: Any, kind: str, url: str) -> None:
    # Redirects and the responses to a POST have no template to extend.
    if not isinstance(response, SimpleTemplateResponse) or response.context_data is None:
        return
    base: Any = response.resolve_template(response.template_name or "")
    response.context_data |= {"bemi_base": base.template, "bemi_history_url": url, "bemi_button": _BUTTON}
    response.template_name = f"admin/bemi_django/button_on_{kind}.html"


def _table(model: type[models.Model]) -> str:
    concrete = model._meta.concrete_model or model
    return table_name(concrete)[1]
