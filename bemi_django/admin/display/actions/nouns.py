"""What rows and fields are called in a sentence."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action import ChangeKind
from bemi_django.admin.display.object_labels import ObjectLabel
from bemi_django.log.values.saved_fields import is_saved

#: The length of a label in a sentence.
_LONGEST = 60


def model_of(kind: ChangeKind, viewer: Viewer) -> type[models.Model] | None:
    """Return the model of the rows of a kind, or None."""
    logged = viewer.logged_models.model_at(kind.database, kind.schema, kind.table)
    return logged.model if logged else None


def noun(kind: ChangeKind, viewer: Viewer, *, is_plural: bool) -> str:
    """Return what rows are called: by their model, or by their table if it has none.

    A row of a many-to-many table is called by the model at its other end.
    """
    model = model_of(kind, viewer)
    if model is None:
        return (_("rows of %(table)s") if is_plural else _("row of %(table)s")) % {"table": kind.table}
    if model._meta.auto_created:
        ends = [field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
        model = ends[-1].remote_field.model
    return str(model._meta.verbose_name_plural if is_plural else model._meta.verbose_name)


def number(count: int, *, is_cut: bool = False) -> str:
    """Return a number for people.

    Args:
        count: The number.
        is_cut: Whether counting ended there, so that there may be more.
    """
    if is_cut and count > 1:
        return _("more than %(number)s") % {"number": number_format(count - 1, force_grouping=True)}
    return number_format(count, force_grouping=True)


def object_link(label: ObjectLabel) -> SafeString:
    """Return the label of an object as a link to its history, after the name of its model."""
    text = Truncator(label.label).chars(_LONGEST)
    url = label.timeline or label.url
    linked = format_html('<a href="{}">{}</a>', url, text) if url else format_html("<b>{}</b>", text)
    if label.is_deleted:
        linked = format_html('<s title="{}">{}</s>', _("deleted"), linked)
    return format_html("{} {}", label.noun, linked) if label.noun else linked


def automatic_columns(model: type[models.Model] | None) -> set[str]:
    """Return the columns that are set whenever a row is saved."""
    fields: Any = model._meta.concrete_fields if model else ()
    return {field.column for field in fields if is_saved(field)}
