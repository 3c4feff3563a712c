"""The page that continues the list of changes in the archive."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from django.http import Http404
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer, aware
from bemi_django.admin.display.change_rows import ListedRow, rows
from bemi_django.admin.display.contexts.known_keys import key_name
from bemi_django.admin.display.value_diff import as_text
from bemi_django.admin.search.archive_search import ArchivedPage, archive_is_there, search_archive
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.exceptions import ArchiveError, first_line

logger = logging.getLogger(__name__)


class ArchivedField(NamedTuple):
    """A column of an archived change, with texts of its values; None where the row was not there."""

    name: str
    before: str | None
    after: str | None


class ArchivedRow(NamedTuple):
    """An archived change: what a list shows of it, and the rest, which has no page of its own."""

    row: ListedRow
    fields: list[ArchivedField]
    context: list[tuple[str, str]]


class ArchiveForm(FilterForm):
    """The filters of the archive."""

    is_of_archive = True


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template.

    Raises:
        Http404: There is no archive, or the place at which the page should begin is none.
    """
    if not archive_is_there():
        raise Http404
    request = viewer.request
    form = ArchiveForm(request.GET, viewer)
    problem, page = "", ArchivedPage([], None, is_partial=False)
    try:
        page = _page(form, request.GET.get("before", ""))
    except ArchiveError as error:
        # The message names the storage, which is nothing for everybody who may see changes.
        logger.error("%s", first_line(error))
        problem = _("The archive cannot be read. The log of the server says why.")
    query = request.GET.copy()
    query.pop("before", None)
    back = query.urlencode()
    query["before"] = str(page.older)
    return {
        "form": form,
        "rows": [_archived(row, viewer) for row in rows(page.changes, viewer)],
        "page": page,
        "older": f"?{query.urlencode()}" if page.older else None,
        "newest": f"?{back}" if request.GET.get("before") else None,
        "log": f"{viewer.url('changelist')}?{back}",
        "problem": problem,
    }


def _page(form: FilterForm, before: str) -> ArchivedPage:
    from bemi_django.archive.backwards import Wanted, parse_place

    try:
        place = parse_place(before) if before else None
    except ValueError:
        raise Http404 from None
    changes = form.changes().changes
    if not form.is_valid():
        return ArchivedPage([], None, is_partial=False)
    asked = form.cleaned_data
    begin, end = form.period()
    wanted = Wanted(
        aware(begin),
        aware(end),
        {name: asked[name] for name in ("table", "operation") if asked[name]},
    )
    return search_archive(changes, place, wanted)


def _archived(row: ListedRow, viewer: Viewer) -> ArchivedRow:
    fields = [
        ArchivedField(
            value.name,
            as_text(value.before) if value.has_before else None,
            as_text(value.after) if value.has_after else None,
        )
        for value in viewer.values(row.change)
    ]
    context = [(key_name(name), as_text(value)) for name, value in sorted(viewer.context(row.change).items())]
    return ArchivedRow(row, fields, context)
