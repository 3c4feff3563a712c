"""What a page reverts: a change, its transaction, request or run, what came after it, or what reverted it."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from bemi_django.admin.access.rows.guarded_queries import guarded
from bemi_django.admin.access.rows.live_rows import live_rows
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.run import run_of
from bemi_django.admin.pages.change_detail import in_run, in_transaction
from bemi_django.admin.pages.reverted import reverts_of
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.exceptions import BeforeHistory, BemiError
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.conditions import HasKey
from bemi_django.log.undo import later_rows
from bemi_django.models import Change

_WAYS = ("change", "transaction", "request", "since", "undo")


class NotLoggedYet(BemiError):
    """The worker has not written the revert that is to be undone."""


class RevertSelection(NamedTuple):
    """The changes to revert.

    Attributes:
        changes: The changes.
        change: The change whose page links here.
        label: What is done.
        back: Where one came from.
        way: The name by which the address names the change.
        is_single: Whether the changes are of one object.
    """

    changes: ChangeQuerySet
    change: Change
    label: str
    back: str
    way: str
    is_single: bool = False


def selected(viewer: Viewer) -> RevertSelection:
    """Return what the address of the page names.

    Raises:
        PermissionDenied: If the viewer may not revert.
        Http404: If there is no such change.
        NotLoggedYet: If the log does not have the revert that is to be undone.
        BemiError: If the log does not have all changes since; the text says which, and holds no values.
    """
    if not viewer.has("revert"):
        raise PermissionDenied
    asked = viewer.request.GET
    way = next((name for name in _WAYS if asked.get(name)), None)
    if way is None:
        raise Http404
    change = _change(viewer, asked[way])
    back = came_from(viewer) or viewer.url("change", change.pk)
    if way == "undo":
        return _undoing(viewer, change, back)
    if way == "since":
        return RevertSelection(_later(viewer, change), change, _("Restore this version"), back, way, True)
    own = viewer.changes().filter(pk=change.pk)
    if way == "change":
        labels = {"DELETE": _("Restore the object"), "CREATE": _("Undo the creation")}
        return RevertSelection(
            own, change, labels.get(change.operation, _("Revert the change")), back, way, True
        )
    others = in_transaction(change, viewer)
    if way == "transaction":
        return RevertSelection(own | others, change, _("Revert the transaction"), back, way)
    run, same = run_of(change), in_run(change, viewer)
    if run is None or same is None:
        raise Http404
    others = others.context(run.context) | same
    return RevertSelection(own | others, change, run.undoing, back, way)


def came_from(viewer: Viewer) -> str | None:
    """Return the page that one came from, if it is one of this site."""
    request = viewer.request
    address = request.GET.get("next", "")
    is_here = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if is_here else None


def _undoing(viewer: Viewer, change: Change, back: str) -> RevertSelection:
    """Return the newest revert of a change: all that was reverted in its transaction."""
    by = reverts_of(change, viewer).by
    if by is None:
        raise NotLoggedYet(_("The revert is not in the log yet. Try again in a moment."))
    own = viewer.changes().filter(pk=by.pk)
    others = in_transaction(by, viewer).filter(HasKey("context", "reverts"))
    return RevertSelection(
        own | others, by, _("Undo the revert"), back, "undo", is_single=not others.exists()
    )


def _later(viewer: Viewer, change: Change) -> ChangeQuerySet:
    """Return the changes of an object after one of them."""
    logged = viewer.logged_models.model_of(change)
    seen = viewer.changes()
    of_key = later_rows(seen.of_table(change.place).of_key(str(change.primary_key)), change)
    if logged is None or change.primary_key is None:
        return of_key
    found = live_rows(logged, [change.primary_key])
    if found.unread:
        return of_key
    instance = found.read.get(change.primary_key)
    if instance is None:
        try:
            with guarded(logged.alias):
                instance = change.as_instance("after" if change.after else "before")
        except (BemiError, DatabaseError, ValueError):
            raise Http404 from None
        except Exception:
            # A field of the project cannot read its value.
            return of_key
    whole = seen.for_object(instance)
    try:
        return later_rows(whole, change)
    except BeforeHistory:
        # What is known of the row does not need what its many-to-many fields had.
        return later_rows(whole, change, many_to_many=False)


def _change(viewer: Viewer, text: str) -> Change:
    try:
        found = read_changes(viewer.changes().filter(pk=UUID(text)))
    except ValueError:
        found = []
    if not found:
        raise Http404
    return found[0]
