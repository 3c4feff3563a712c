"""A typical request: a logged-in user, a few reads, the writes of a form, a small page."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine

from bench.shop.models import Item

_PAGE = Engine().from_string(
    "<ul>{% for item in items %}"
    "<li>{{ item.title }} {{ item.price }} {{ item.created_at|date:'c' }}</li>"
    "{% endfor %}</ul>"
)


@login_required
@transaction.atomic
def three_writes(request: HttpRequest) -> HttpResponse:
    items = list(Item.objects.order_by("pk")[:20])
    changed, removed = items[0], items[1]
    changed.is_done = not changed.is_done
    changed.save()
    Item.objects.create(
        owner_id=7, title="New", body=changed.body, price=changed.price, created_at=changed.created_at
    )
    removed.delete()
    return HttpResponse(_PAGE.render(Context({"items": items})))


def set_commit(request: HttpRequest, value: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('synchronous_commit', %s, false)", [value])
    return HttpResponse()


def context(request: HttpRequest) -> dict[str, object]:
    """Return the context; both packages that take a context function use this one."""
    return {"user_id": request.user.pk, "method": request.method, "path": request.path}
