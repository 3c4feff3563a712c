"""The page of the history of one field of an object."""

from __future__ import annotations

from typing import Any

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.history.field_values import field_history
from bemi_django.admin.pages.history.subject import subject_of


def template_context(viewer: Viewer, app_label: str, model_name: str, object_id: str) -> dict[str, Any]:
    """Return the context of the template.

    Raises:
        Http404: If there is no such object, or neither its model nor its changes have the field.
        PermissionDenied: If the viewer may not view the object.
    """
    subject = subject_of(viewer, app_label, model_name, object_id)
    column = viewer.request.GET["field"]
    history = field_history(subject, column)
    page, values, label = history.page, history.values(), history.label
    here = _without_place(viewer)
    return {
        "heading": f"{label} · {subject.label}",
        "subject": subject,
        "of_model": subject.model,
        "label": label,
        "column": column,
        "values": values,
        "is_number": all(one.value is None or one.value.kind in ("number", "none") for one in values),
        "chart": history.chart(),
        "page": page,
        "older": page.older and f"{here}&older={page.older}",
        "newer": page.newer and f"{here}&newer={page.newer}",
        "crumbs": [(subject.label, subject.url), (label, None)],
    }


def _without_place(viewer: Viewer) -> str:
    query = viewer.request.GET.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    return f"?{query.urlencode()}"
