"""Which of several logs the pages of the audit trail show (``BEMI_DESTINATIONS``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context, copy_context
from functools import partial, wraps
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.db import DatabaseError, InterfaceError, OperationalError, connections, router
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from bemi_django import conf, destinations
from bemi_django.log.places import place_of
from bemi_django.models import Change

#: What is said where no other log is offered.
UNREADABLE = _("The log cannot be read at the moment. Try again later.")
_PARAMETER, _KEPT = "log", "bemi_log"
#: The choice of all logs, on the pages that can show them together.
_ALL = "*"
_OF_ALL = frozenset(("changelist", "request", "transaction", "export"))
#: Parameters of pages that name a change.
_NAMING = ("change", "transaction", "request", "since", "undo")


class LogChoice(NamedTuple):
    """A log that may be chosen; without an alias, all of them."""

    alias: str
    query: str
    is_chosen: bool


def in_chosen_log(
    view: Callable[..., HttpResponseBase],
    page: str,
    unreachable: Callable[[HttpRequest, str], HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Return a view whose page shows what the session has chosen: one log, by default the first one, or all.

    A page that cannot show all shows the log that has its change, or the first one. The history of an object
    is shown from the log that has the changes of its table.

    Args:
        view: The view.
        page: The name of its page.
        unreachable: Returns the page that says which log cannot be read, and lets another one be chosen
            if there are several.
    """

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        aliases = destinations.aliases()
        if len(aliases) == 1:
            return _reached(partial(view, request, *args, **kwargs), partial(unreachable, request))
        if (chosen := request.GET.get(_PARAMETER)) in (*aliases, _ALL):
            request.session[_KEPT] = chosen
            query = request.GET.copy()
            del query[_PARAMETER]
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
        context = copy_context()
        log = aliases[0]

        def answer() -> HttpResponseBase:
            nonlocal log
            if request.session.get(_KEPT) == _ALL and page in _OF_ALL:
                context.run(destinations.choose_all_here)
            else:
                log = _log_of(request, aliases, **kwargs)
                context.run(destinations.choose_here, log)
            return context.run(view, request, *args, **kwargs)

        response: Any = _reached(answer, lambda down: context.run(unreachable, request, down))
        # What is asked for when the view has returned is asked of the same log.
        if isinstance(response, TemplateResponse):
            response.render = partial(context.run, response.render)  # type: ignore[method-assign]
        elif isinstance(response, StreamingHttpResponse):
            content = response.streaming_content
            response.streaming_content = (
                _chosen(log, content) if response.is_async else _within(context, content)
            )
        return response  # type: ignore[no-any-return]

    return shown


def unreached() -> str | None:
    """Return the alias of a log or of a recorded database that cannot be read; None if all can be."""
    aliases = [*destinations.aliases(), *filter(conf.is_source, connections)]
    return next((alias for alias in dict.fromkeys(aliases) if not _is_reached(alias)), None)


def choices(request: HttpRequest) -> list[LogChoice]:
    """Return the logs to choose from; none if there is one only."""
    aliases = destinations.aliases()
    if len(aliases) == 1:
        return []
    shown = _ALL if destinations.are_all_meant() else destinations.current()
    found = []
    for alias in (*aliases, _ALL):
        query = request.GET.copy()
        query[_PARAMETER] = alias
        found.append(LogChoice(alias.replace(_ALL, ""), f"?{query.urlencode()}", alias == shown))
    return found


def _reached(
    answer: Callable[[], HttpResponseBase], unreachable: Callable[[str], HttpResponseBase]
) -> HttpResponseBase:
    try:
        return answer()
    except (OperationalError, InterfaceError):
        down = unreached()
        if down is None:
            raise
        return unreachable(down)


def _is_reached(alias: str) -> bool:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
    except (OperationalError, InterfaceError):
        return False
    except DatabaseError:
        # Of a transaction that has failed.
        return True
    return True


def _log_of(request: HttpRequest, aliases: list[str], **address: Any) -> str:
    kept = request.session.get(_KEPT)
    log = _having(request, aliases, **address) if kept == _ALL else kept if kept in aliases else aliases[0]
    try:
        model = apps.get_model(address["app_label"], address["model_name"])
    except LookupError:
        return log
    place = place_of(model, router.db_for_write(model))
    having = destinations.division().of_table(*place)
    return log if log in having else having[0]


def _having(request: HttpRequest, aliases: list[str], **address: Any) -> str:
    """Return the log that has the change that a page is about; the first one if it is about none."""
    named = [address.get("object_id"), *(request.GET.get(name) for name in _NAMING)]
    identifiers = [found for found in map(_identifier, named) if found is not None]
    for alias in aliases if identifiers else ():
        if Change.objects.using(alias).filter(pk__in=identifiers).exists():
            return alias
    return aliases[0]


def _identifier(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _within(context: Context, content: Any) -> Iterator[Any]:
    pieces = iter(content)
    end = object()
    while (piece := context.run(next, pieces, end)) is not end:
        yield piece


async def _chosen(log: str, content: Any) -> AsyncIterator[Any]:
    # The context of the view is one of a thread. Each request has a task of its own.
    destinations.choose_here(log)
    async for piece in content:
        yield piece
