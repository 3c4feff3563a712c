"""A site whose pages a user may want to see as they were: views of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.cache import cache
from django.db import connections, transaction
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import include, path
from django.views.decorators.cache import cache_page
from django.views.decorators.http import condition

from bemi_django.events.views import records_views
from bemi_django.site_past import of_the_present
from sample_project.todos.models import Todo
from tests.shop.models import Product
from tests.support.paths import ROOT


def tasks() -> str:
    return ", ".join(Todo.objects.order_by("pk").values_list("task", flat=True))


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f'<html><head></head><body class="a > b"><p>{tasks()}</p></body></html>')


async def async_page(request: HttpRequest) -> HttpResponse:
    found = [todo.task async for todo in Todo.objects.order_by("pk")]
    return HttpResponse(f"<body>{', '.join(found)}</body>")


def data(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"tasks": tasks(), "user": str(request.user)})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        yield tasks()

    return StreamingHttpResponse(body())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse((ROOT / "LICENSE").open("rb"))


def writing(request: HttpRequest) -> HttpResponse:
    Todo.objects.create(task="Written")
    return HttpResponse()


def writing_later(request: HttpRequest) -> HttpResponse:
    for alias in connections:
        transaction.on_commit(lambda: Todo(task="Written").save(), using=alias)
    return HttpResponse("to be written")


def other_database(request: HttpRequest) -> HttpResponse:
    if request.GET.get("write"):
        Product.objects.using("other").create(sku="written", category_id=1)
    return HttpResponse(Product.objects.using("other").count())


def sending(request: HttpRequest) -> HttpResponse:
    with connections[request.GET["alias"]].cursor() as cursor:
        cursor.execute(request.GET["sql"])
    return HttpResponse("sent")


def kept(request: HttpRequest) -> HttpResponse:
    return HttpResponse(cache.get_or_set("tasks", tasks, 60))


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("of its own")


def checked(request: HttpRequest) -> HttpResponseBase:
    view: Any = condition(etag_func=lambda request: '"same"')(page)
    return view(request)  # type: ignore[no-any-return]


@records_views(Todo)
def viewing(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(Todo.objects.get(pk=pk).task)


urlpatterns = [
    path("viewing/<int:pk>/", viewing),
    path("admin/", admin.site.urls),
    path("audit/", include("bemi_django.urls")),
    *(path(f"{view.__name__}/", view) for view in (page, async_page, data, stream, file, writing, kept)),
    *(path(f"{view.__name__}/", view) for view in (other_database, failing, checked, sending, writing_later)),
    path("cached/", cache_page(60)(page)),
    path("now/", of_the_present(lambda request: data(request))),
]
