"""Show the site as of the moment that the user has chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from bemi_django.capture.context import bound_context
from bemi_django.exceptions import BemiError
from bemi_django.models import Change
from bemi_django.site_past import banner
from bemi_django.site_past.chosen_moment import COOKIE, ChosenMoment, chosen_in, forget
from bemi_django.site_past.departure import may_travel, site_as_of
from bemi_django.site_past.empty_caches import empty_caches
from bemi_django.site_past.view_only_admin import make_view_only, was_refused
from bemi_django.site_past.views_of_present import shows_present
from bemi_django.time_travel.block import translated

# A view that knows them could answer that the browser has the page already: that of the present.
_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE")
_ATTRIBUTE = "bemi_moment"


class TimeTravelMiddleware:
    """Show the site as it was to members of staff who have chosen a moment in the admin.

    It comes last in ``MIDDLEWARE``: what precedes it, such as sessions, log-in and messages, is of the
    present.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Respond to a request as of the chosen moment, if there is one."""
        if COOKIE not in request.COOKIES:
            return self.get_response(request)  # type: ignore[no-any-return]
        if self._is_async:
            return self._arespond(request)
        chosen = _allowed(request)
        if chosen is None:
            return _back(self.get_response(request))
        if shows_present(request):
            return banner.finished(request, self.get_response(request), chosen, is_present=True)
        if request.method not in banner.READING:
            return _done(request, banner.refusal_of_method(request, chosen), chosen)
        with _apart(chosen), ExitStack() as stack:
            response = _gone(request, chosen, stack) or self.get_response(request)
        return _done(request, response, chosen)

    async def _arespond(self, request: HttpRequest) -> HttpResponseBase:
        chosen = await sync_to_async(_allowed)(request)
        if chosen is None:
            return _back(await self.get_response(request))
        if shows_present(request):
            return banner.finished(request, await self.get_response(request), chosen, is_present=True)
        if request.method not in banner.READING:
            return _done(request, banner.refusal_of_method(request, chosen), chosen)
        # Connections belong to the thread in which all sync code of the request runs.
        stack = ExitStack()
        with _apart(chosen):
            try:
                response = await sync_to_async(_gone)(request, chosen, stack)
                response = response or await self.get_response(request)
            finally:
                await sync_to_async(stack.close)()
        return _done(request, response, chosen)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Return the page that says what is not known, if that is why a view has failed."""
        chosen: ChosenMoment | None = getattr(request, _ATTRIBUTE, None)
        if chosen is None:
            return None
        if isinstance(exception, PermissionDenied) and was_refused(request):
            return banner.refusal_of_change(request, chosen, HTTPStatus.FORBIDDEN)
        error = translated(exception)
        return None if error is None else banner.refusal_of(request, chosen, error)


def _allowed(request: HttpRequest) -> ChosenMoment | None:
    """Return the moment of a request if its user has chosen it, and may still see it."""
    chosen = chosen_in(request)
    user: Any = getattr(request, "user", None)
    if chosen is None or user is None or str(user.pk) != chosen.user or not may_travel(user):
        return None
    return chosen


def _back(response: HttpResponseBase) -> HttpResponseBase:
    if COOKIE not in response.cookies:
        forget(response)
    return response


@contextmanager
def _apart(chosen: ChosenMoment) -> Iterator[None]:
    """Keep what a request does from the present: its caches, and in the log what it has looked at."""
    with empty_caches(), bound_context(as_of=chosen.time.isoformat()):
        yield


def _gone(request: HttpRequest, chosen: ChosenMoment, stack: ExitStack) -> HttpResponseBase | None:
    """Take the databases to the moment until the stack is closed, or return the page that says why not."""
    for name in _CONDITIONS:
        request.META.pop(name, None)
    request.__dict__.pop("headers", None)
    try:
        stack.enter_context(site_as_of(chosen))
    except Change.DoesNotExist:
        reason = _("The change was removed from the log.")
        return banner.refusal(request, chosen, _("Not known as of then"), reason, HTTPStatus.CONFLICT)
    except BemiError as error:
        return banner.refusal_of(request, chosen, error)
    setattr(request, _ATTRIBUTE, chosen)
    make_view_only(request)
    return None


def _done(request: HttpRequest, response: HttpResponseBase, chosen: ChosenMoment) -> HttpResponseBase:
    # Files come from the present, and name no rows.
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        response.close()
        response = banner.refusal_of_stream(request, chosen)
    return banner.finished(request, response, chosen, is_present=False)
