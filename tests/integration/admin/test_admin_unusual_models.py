"""For models of unusual shapes, no page fails or tells too much; many rows take no more queries than few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote as quote_url

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.cache import cache
from django.db import connection
from django.db.models import QuerySet
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.search.hints import found_objects
from bemi_django.log.keys import key_fields
from bemi_django.log.lossless_json import loads
from bemi_django.models import Change
from tests.shapes.unusual import KEYS, SECRET, HidingAdmin, fill, live, registered, unusual_models
from tests.support.audit import LIST, record, visitor
from tests.support.audit_api import API

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.urls("tests.support.audit_api"),
]
Row = tuple[Any, str]
ACTIONS = [f"bemi_django.{action}_change" for action in ("view", "export", "revert")]


@pytest.fixture
def world(db: None) -> Iterator[list[Row]]:
    cache.clear()
    with unusual_models() as found:
        fill(found)
        rows = live(found)
        # A row is known by the address of a proxy, and of a model that shares the table, too.
        others = [model for model in found if model.__name__ in ("Title", "Twin")]
        rows += [(model, KEYS[0]) for model in others]
        with registered(found):
            yield rows


def client_of(kind: str, world: list[Row], django_user_model: Any, settings: Any) -> Client:
    if kind == "superuser":
        # What is masked for others is shown, and noted.
        settings.BEMI_MASKED_FIELDS = ["*.note", "slug.up_id", "token.code", "dot.ted.code"]
        client = Client()
        client.force_login(django_user_model.objects.create_superuser("root"))
        return client
    names = {model._meta.model_name for model, _key in world}
    rights = [f"shop.{action}_{name}" for name in names for action in ("view", "change", "add", "delete")]
    return visitor(*ACTIONS, *sorted(rights))


@pytest.fixture
def root(world: list[Row], django_user_model: Any, settings: Any) -> Client:
    found = client_of("superuser", world, django_user_model, settings)
    found.raise_request_exception = False
    return found


@pytest.fixture
def staff(world: list[Row], django_user_model: Any, settings: Any) -> Client:
    found = client_of("staff", world, django_user_model, settings)
    found.raise_request_exception = False
    return found


def pages_of(model: Any, key: str) -> Iterator[str]:
    """The pages of an object, in the admin and the API."""
    # An address has to name what is empty, too.
    meta, named = model._meta, quote(key) or "_"
    admin, api = (
        f"{base}{meta.app_label}/{meta.model_name}/{quote_url(named)}/"
        for base in (f"{LIST}timeline/", f"{API}objects/")
    )
    last = meta.concrete_fields[-1].column
    yield f"{admin}?at=2020-01-01T00:00:00&related=all"
    # Texts as keys differ in nothing else.
    if key not in KEYS[1:]:
        yield from (f"{admin}?and=2020-01-01T00:00:00", f"{admin}?field={last}")
        yield from (api, f"{api}fields/", f"{api}fields/{quote_url(last)}/")


def pages() -> Iterator[str]:
    """The pages of all objects together."""
    yield from (LIST, f"{LIST}?view=rows", f"{LIST}?view=rows&raw", f"{LIST}activity/", f"{LIST}deleted/")
    yield from (f"{LIST}export/?format={name}" for name in ("csv", "jsonl"))
    yield from (f"{LIST}request/?id=r0", f"{API}changes/?limit=100")
    yield from (f"{LIST}?view=rows&q={quote_url(key)}" for key in KEYS)


def pages_of_change(change: Change) -> Iterator[str]:
    yield f"{LIST}revert/?change={change.pk}"
    if change.operation == "UPDATE":
        yield from (f"{LIST}{change.pk}/change/", f"{LIST}transaction/{change.pk}/")
        yield from (f"{API}changes/{change.pk}/", f"{API}revert/?change={change.pk}")
    # Of a table that is not there, no version can be restored.
    if change.operation == "UPDATE" and change.table != "absent":
        yield f"{LIST}revert/?since={change.pk}"


def text_of(client: Client, page: str, statuses: tuple[int, ...] = (200,)) -> str:
    response: Any = client.get(page)
    content = b"".join(response) if response.streaming else response.content
    assert response.status_code in statuses, (page, response.status_code)
    return content.decode()


def test_no_page_and_no_tag_of_an_object_fails(
    root: Client, world: list[Row], django_user_model: Any
) -> None:
    request = RequestFactory().get("/")
    request.user = django_user_model.objects.get(pk=root.session["_auth_user_id"])
    tags = Template("{% load audit %}{% audit_timeline row limit=3 %}{% last_changed row field %}")
    for model, key in world:
        for page in pages_of(model, key):
            # All of them are there, also those with keys that Python cannot read.
            about = text_of(root, page).partition('"results"')[0]
            assert '"is_deleted": true' not in about, page
            if model.__name__ == "Token" and "related" in page:
                now = text_of(root, page.partition("?")[0])
                assert all(KEYS[number] in now for number in (1, 5, 7)), "its tags are not shown"
            if key == KEYS[7] and model.__name__ == "Slug" and "related" in page:
                token = next(one for of, one in world if of.__name__ == "Token")
                assert token in text_of(root, page.partition("?")[0]), "what refers to it is not shown"
        # Nobody can read the rows of some.
        if not model.__name__.startswith("Cursed"):
            row: Any = QuerySet(model).get(pk=tuple(loads(key)) if model.__name__ == "Seat" else key)
            values = {"request": request, "row": row, "field": model._meta.concrete_fields[-1].name}
            assert "audit-timeline" in tags.render(Context(values)), model


def test_no_page_of_changes_fails(staff: Client) -> None:
    for page in pages():
        text_of(staff, page)
    shown = text_of(staff, f"{LIST}deleted/")
    assert "bemi-object" not in shown, "a row that is there is shown as deleted"
    seen = set()
    for change in Change.objects.order_by("id"):
        if (kind := (change.place, change.operation)) not in seen or change.primary_key == "":
            seen.add(kind)
            for page in pages_of_change(change):
                text_of(staff, page)


def test_rows_that_an_admin_hides_are_not_named(
    world: list[Row], django_user_model: Any, settings: Any
) -> None:
    """Neither as what others refer to, nor as what is found; whoever may see them finds them."""
    Change.objects.filter(table="hidden").delete()
    root, staff = (client_of(kind, world, django_user_model, settings) for kind in ("superuser", "staff"))
    hidden, door = (
        next(key for model, key in world if model.__name__ == name) for name in ("Hidden", "Door")
    )
    row = Change.objects.filter(table="door", operation="UPDATE").get()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, door_id, hidden_id FROM door_also")
        (pair,) = cursor.fetchall()
    after = dict(zip(("id", "door_id", "hidden_id"), pair, strict=True))
    pairs = {"table": "door_also", "primary_key": str(pair[0]), "before": {}, "after": after}
    ends = record(5000, operation="CREATE", context={}, **pairs)
    addresses = [LIST, f"{LIST}?view=rows&table=door_also", f"{LIST}{ends.pk}/change/"]
    addresses += [f"{LIST}?view=rows", f"{LIST}?q={SECRET[:-1]}", f"{LIST}{row.pk}/change/"]
    addresses += [f"{LIST}revert/?change={row.pk}", f"{LIST}timeline/shop/door/{door}/"]
    addresses += [f"{LIST}timeline/shop/door/{door}/?field=to_id", f"{LIST}timeline/shop/hidden/{hidden}/"]
    addresses += [f"{API}objects/shop/{one}/fields/" for one in (f"door/{door}", f"hidden/{hidden}")]
    assert all(SECRET in text_of(root, page) for page in addresses[1:3])
    assert sum(SECRET in text_of(root, page) for page in addresses) > 3
    for page in addresses:
        assert SECRET not in text_of(staff, page, (200, 403, 404)), page


def test_the_admin_of_a_proxy_hides_rows_of_the_proxy_alone(world: list[Row], django_user_model: Any) -> None:
    title = next(model for model, _key in world if model.__name__ == "Title")
    slug, request = title._meta.concrete_model, RequestFactory().get("/")
    staff = visitor("shop.view_slug", "shop.view_title")
    request.user = django_user_model.objects.get(pk=staff.session["_auth_user_id"])
    admin.site.register(title, HidingAdmin)
    try:
        viewer, row = Viewer(request, admin.site), title.objects.get(pk=KEYS[0])
        assert [viewer.may("view", model, row) for model in (title, slug, title)] == [False, True, False]
    finally:
        admin.site.unregister(title)


def test_superusers_see_rows_that_an_admin_leaves_out_for_order(root: Client, world: list[Row]) -> None:
    class Tidy(HidingAdmin):
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).none()

    title = next(model for model, _key in world if model.__name__ == "Title")
    admin.site.register(title, Tidy)
    try:
        assert f"Title {escape(KEYS[0])}" in text_of(root, next(pages_of(title, KEYS[0])))
    finally:
        admin.site.unregister(title)


def test_many_rows_take_as_many_queries_as_few(db: None, django_user_model: Any, settings: Any) -> None:
    tables = ("slug", "re.mark", "dot.ted", "use", "through", "grandchild", "broken", "door")
    with unusual_models() as found, registered(found):
        client = client_of("superuser", [], django_user_model, settings)
        fill(found)
        fill(found, " 1")
        live(found)
        few = [queries(client, f"{LIST}?view=rows&table={table}") for table in tables]
        for number in range(2, 4):
            fill(found, f" {number}")
        live(found, first=1000)
        many = [queries(client, f"{LIST}?view=rows&table={table}") for table in tables]
        assert many == few, tables


def test_many_found_rows_of_an_admin_that_hides_some_are_asked_for_at_once(
    world: list[Row], django_user_model: Any
) -> None:
    hidden = next(model for model, _key in world if model.__name__ == "Hidden")
    request = RequestFactory().get("/")
    request.user = django_user_model.objects.create_superuser("root")
    counted = []
    # The columns of the key are asked for once in a process.
    key_fields(hidden)
    for _ in range(2):
        with CaptureQueriesContext(connection) as found:
            found_objects._objects_of(admin.site._registry[hidden], SECRET, Viewer(request, admin.site))
        counted.append(len(found))
        hidden.objects.bulk_create([hidden(name=SECRET) for _ in range(3)])
    assert counted[0] == counted[1]


def queries(client: Client, page: str) -> int:
    """Return how many queries a page takes, the first visit not counted."""
    for _ in range(2):
        cache.clear()
        with CaptureQueriesContext(connection) as found:
            text_of(client, page)
    return len(found)
