"""Values of rows as people know them, on every page, and as the log has them for developers."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.postgres.fields import ArrayField, DateRangeField, DateTimeRangeField
from django.core.files.storage import FileSystemStorage
from django.db import connection, models
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone
from django.utils.translation import override

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.display.values.shown_value import ShownValue, shown, stored
from bemi_django.admin.display.values.stored_files import file_url
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.shop.models import Category, Product
from tests.support.audit import LIST, record, visitor
from tests.support.steps import at_most


class Size(models.IntegerChoices):
    SMALL = 1, "Small"
    LARGE = 2, "Large"


@pytest.mark.parametrize(
    ("field", "value", "kind", "text"),
    [
        (None, None, "none", "none"),
        (None, "", "empty", "empty text"),
        (models.TextField(), "none", "text", "none"),
        (None, True, "flag", "yes"),
        (models.BooleanField(), False, "flag", "no"),
        (None, 1, "number", "1"),
        (models.IntegerField(choices=Size.choices), 2, "choice", "Large"),
        (models.IntegerField(choices=Size.choices), 9, "number", "9"),
        (models.IntegerField(choices=Size.choices), "x", "text", "x"),
        (models.CharField(choices=[("", "None yet")]), "", "choice", "None yet"),
        (models.CharField(choices=[("Group", [("a", "A")])]), "a", "choice", "A"),
        (models.IntegerField(choices=[(None, "Not asked"), (1, "One")]), None, "choice", "Not asked"),
        (ArrayField(models.IntegerField(choices=Size.choices)), [2, 9], "json", '[\n  "Large",\n  9\n]'),
        (models.JSONField(choices=[("a", "A")]), {"a": [1]}, "json", '{\n  "a": [\n    1\n  ]\n}'),
        (models.DateTimeField(), "2026-03-01T22:30:00.123+00:00", "moment", "March 1, 2026 23:30:00"),
        (models.DateTimeField(), "2026-03-01T22:30:00", "moment", "March 1, 2026 22:30:00"),
        (
            ArrayField(models.DateTimeField()),
            ["2026-03-01T22:30:00.5+00:00", None],
            "json",
            '[\n  "March 1, 2026 23:30:00.5",\n  null\n]',
        ),
        (
            DateTimeRangeField(),
            '["2026-03-01 22:30:00+00","2026-07-01 22:30:00.5+05:30")',
            "choice",
            '["March 1, 2026 23:30:00","July 1, 2026 19:00:00")',
        ),
        (DateTimeRangeField(), "[infinity,)", "text", "[infinity,)"),
        (DateRangeField(), "[2026-03-01,2026-03-02)", "text", "[2026-03-01,2026-03-02)"),
        (models.DateTimeField(), "infinity", "text", "infinity"),
        (models.DateTimeField(), "0001-01-01T00:00:00+14:00", "text", "0001-01-01T00:00:00+14:00"),
        (models.TextField(), "2026-03-01T22:30:00+00:00", "text", "2026-03-01T22:30:00+00:00"),
        (None, "2026-03-01T22:30:00+00:00", "moment", "March 1, 2026 23:30:00"),
        (models.DateField(), "2026-03-01", "moment", "March 1, 2026"),
        (models.DateField(), "2026-02-30", "text", "2026-02-30"),
        (models.CharField(), "2026-03-01", "text", "2026-03-01"),
        (models.FileField(), MASK, "mask", MASK),
        (models.FileField(), "a.txt", "file", "a.txt"),
    ],
)
def test_a_value_is_what_people_call_it(field: Any, value: Any, kind: str, text: str) -> None:
    with timezone.override("Europe/Berlin"):
        found = shown(field, value)
    assert (found.kind, found.text) == (kind, text)


@pytest.mark.parametrize(
    ("value", "brief"),
    [
        ({"width": 119, "colours": ["red"]}, '{ "width": 119, "colours": [ "red" ] }'),
        ({"text": "a\n b"}, '{ "text": "a\\n b" }'),
        (["x" * 100], f'[ "{"x" * 77}…'),
        ([1] * 5000, f"[ {'1, ' * 26}…"),
        ("a\n  b", "a↵  b"),
    ],
)
def test_a_value_in_one_line_has_no_indentation(value: Any, brief: str) -> None:
    assert shown(None, value).brief == brief


def test_a_number_has_the_separator_of_the_reader_s_language_and_all_digits() -> None:
    value = loads("[49.90, -0.000000000000000000001, 1.5e300, 1234567]")
    with override("de"):
        assert [shown(models.DecimalField(), number).text for number in value] == [
            "49,90",
            "-0,000000000000000000001",
            dumps(value[2]),
            "1234567",
        ]
        assert stored(value[0]).text == "49.90"
    assert shown(models.DecimalField(), value[0]).text == "49.90"


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "1. März 2026 23:30:00"), ("ar", "1 مارس، 2026 23:30:00"), ("fr", "1 mars 2026 23:30:00")],
)
def test_a_moment_is_in_the_reader_s_language_and_the_exact_one_beside_it(language: str, text: str) -> None:
    stored_moment = "2026-03-01T22:30:00.5+00:00"
    with override(language), timezone.override("Europe/Berlin"):
        found = shown(models.DateTimeField(), stored_moment)
        page = render_to_string("admin/bemi_django/value.html", {"value": found})
    assert found.text == text
    assert f'<time datetime="{stored_moment}" title="{stored_moment}">{text}</time>' in page
    assert stored(stored_moment).text == f'"{stored_moment}"'


def test_a_cell_of_the_list_has_the_exact_moment_as_its_title(admin_client: Client) -> None:
    record(1, operation="UPDATE", table="todo", before={"at": None}, after={"at": "2026-03-01T22:30:00.5Z"})
    record(
        2,
        operation="UPDATE",
        table="todo",
        before={"at": "2026-03-01T22:30:00.5+00:00"},
        after={"at": "2026-03-01T22:30:00.25+00:00"},
    )
    page = admin_client.get(f"{LIST}?view=rows", headers={"accept-language": "de"}).content.decode()
    assert '<ins title="2026-03-01T22:30:00.25+00:00">' in page
    # Two moments of one second are told apart.
    assert "22:30:00.5</del>" in page and "22:30:00.25</ins>" in page


class HostileStorage(FileSystemStorage):
    def __init__(self, address: Any) -> None:
        super().__init__()
        self._address = address

    def url(self, name: str | None) -> str:
        if isinstance(self._address, Exception):
            raise self._address
        return str(self._address)


@pytest.mark.parametrize(
    ("address", "is_safe"),
    [
        ("/media/a.png", True),
        ("https://cdn.example.com/a.png?token=1", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("java\tscript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("a.png", False),
        ("http://[", False),
        ("//evil.example.com/a.png", False),
        ("/\\evil.example.com/a.png", False),
        ("/\t/evil.example.com/a.png", False),
        (ValueError("no address"), False),
    ],
)
def test_a_file_is_linked_only_by_a_safe_address_of_its_storage(address: Any, is_safe: bool) -> None:
    field = models.ImageField(storage=HostileStorage(address))
    found = shown(field, "a.png", may_open=True)
    assert (found.url is not None, found.is_picture) == (is_safe, is_safe)


@pytest.mark.parametrize(
    "name", ["javascript:alert(1)", "data:text/html,x", "../../admin/logout/", "a\\..\\b"]
)
def test_a_hostile_name_of_a_file_is_no_address(name: str, settings: Any) -> None:
    settings.MEDIA_URL = "/media/"
    url = file_url(models.FileField(), name)
    assert url is None or url.startswith("/media/")
    assert url is None or ".." not in url


@isolate_apps("tests.shop")
def test_a_file_and_a_choice_are_shown_on_a_page(rf: RequestFactory, admin_user: Any, settings: Any) -> None:
    class Article(models.Model):
        picture = models.ImageField()
        size = models.IntegerField(choices=Size.choices)

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return "article"

    settings.MEDIA_URL = "/media/"
    request = rf.get("/")
    request.user = admin_user
    logged = LoggedModel(Article, "default")
    formatter = Formatter(Viewer(request, admin.site))
    picture = formatter.show(logged, "picture", "a b.png")
    assert (picture.kind, picture.text) == ("file", "a b.png")
    assert (picture.url, picture.is_picture) == ("/media/a%20b.png", True)
    assert formatter.show(logged, "size", 1) == ShownValue("choice", "Small", "1")
    request = rf.get("/?raw=1")
    request.user = admin_user
    raw = Formatter(Viewer(request, admin.site))
    assert raw.show(logged, "size", 1) == ShownValue("number", "1")
    assert raw.show(logged, "picture", "a.png") == ShownValue("text", '"a.png"')
    assert raw.show(logged, "picture", None) == ShownValue("none", "null")
    assert raw.show(logged, "picture", MASK).kind == "mask"
    assert raw.show(logged, "picture", {}).kind == "json"


class AskedStorage(FileSystemStorage):
    """Counts how often it is asked for an address."""

    asked = 0

    def url(self, name: str | None) -> str:
        self.asked += 1
        return f"https://example.com/{name}?signature=1"


@isolate_apps("tests.shop")
def test_only_who_may_view_the_model_gets_a_file_and_only_where_it_is_shown(
    rf: RequestFactory, db: None, django_user_model: Any
) -> None:
    storage = AskedStorage()

    class Article(models.Model):
        picture = models.ImageField(storage=storage)

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return "article"

    visitor("bemi_django.view_change", name="auditor")
    visitor("bemi_django.view_change", "shop.view_article", name="editor")
    shown_to = {}
    for name in ("auditor", "editor"):
        request = rf.get("/")
        request.user = django_user_model.objects.get(username=name)
        formatter = Formatter(Viewer(request, admin.site))
        pair = formatter.pair(LoggedModel(Article, "default"), "picture", "a.png", "b.png")
        assert pair.before is not None and pair.before.brief == "a.png"
        assert storage.asked == 0
        shown_to[name] = pair.before
    assert (shown_to["auditor"].url, shown_to["auditor"].is_picture) == (None, False)
    html = [render_to_string("admin/bemi_django/value.html", {"value": value}) for value in shown_to.values()]
    assert ["signature" in text for text in html] == [False, True]
    assert storage.asked == 1


@pytest.fixture
def product(db: None) -> Product:
    first, second = Category.objects.create(name="Lamps"), Category.objects.create(name="Lighting")
    product = Product.objects.create(sku="lamp", category=second, price="5.00", stock=3)
    row = {"id": product.pk, "sku": "lamp", "category_id": first.pk, "price": 5, "stock": 3}
    record(
        1,
        table="shop_product",
        primary_key=str(product.pk),
        before=row,
        after={**row, "category_id": second.pk},
    )
    return product


def addresses(product: Product) -> list[str]:
    change = Change.objects.get()
    timeline = f"timeline/shop/product/{product.pk}/"
    return [
        *("", f"{change.pk}/change/", timeline, f"{timeline}?field=category_id"),
        *(f"revert/?change={change.pk}", f"{timeline}?and=2020-01-01T00:00:00"),
    ]


def test_every_page_names_what_a_row_refers_to(admin_client: Client, product: Product) -> None:
    for page in addresses(product):
        text = admin_client.get(f"{LIST}{page}").content.decode()
        assert "Lamps" in text and "Lighting" in text, page
        raw = admin_client.get(f"{LIST}{page}{'&' if '?' in page else '?'}raw=1").content.decode()
        assert "Lamps" not in raw and "Lighting" not in raw, page
        assert "Values as people know them" in raw


@isolate_apps("tests.shop")
def test_a_row_is_named_whatever_field_of_it_is_referred_to(rf: RequestFactory, admin_user: Any) -> None:
    class Badge(models.Model):
        owner = models.ForeignKey(get_user_model(), models.CASCADE, to_field="username", related_name="+")

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return "badge"

    request = rf.get("/")
    request.user = admin_user
    formatter, logged = Formatter(Viewer(request, admin.site)), LoggedModel(Badge, "default")
    for name in ("admin", "nobody"):
        formatter.learn(logged, {"owner_id": name})
    found = formatter.show(logged, "owner_id", "admin")
    page = f"/admin/auth/user/{admin_user.pk}/change/"
    assert found == ShownValue("reference", "admin", "admin", page)
    assert formatter.show(logged, "owner_id", "nobody").kind == "text"


def test_who_may_not_view_a_model_sees_only_keys(product: Product) -> None:
    client = visitor(
        *("bemi_django.view_change", "bemi_django.revert_change"),
        *("shop.view_product", "shop.change_product"),
    )
    for page in addresses(product):
        text = client.get(f"{LIST}{page}").content.decode()
        assert "Lamps" not in text and "Lighting" not in text, page
        assert f"{product.category_id}" in text


def test_masked_names_are_on_no_page(product: Product, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["shop_category.name"]
    client = visitor(
        *("bemi_django.view_change", "bemi_django.revert_change"),
        *("shop.view_product", "shop.change_product", "shop.view_category"),
    )
    for page in addresses(product):
        text = client.get(f"{LIST}{page}").content.decode()
        assert "Lamps" not in text and "Lighting" not in text, page


def test_lists_take_the_same_queries_however_many_rows_they_name(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    """``__str__`` follows a relation; the admin's ``list_select_related`` reads it along."""
    monkeypatch.setattr(Todo, "__str__", lambda todo: f"{todo.task} of {todo.owner}")
    user, page = get_user_model(), f"{LIST}?view=rows"

    def queries(count: int) -> int:
        for number in range(count):
            owner = user.objects.create(username=f"user{count}-{number}")
            todo = Todo.objects.create(task="a", owner=owner)
            record(
                1000 * count + number,
                primary_key=str(todo.pk),
                before={"id": todo.pk, "owner_id": None},
                after={"id": todo.pk, "owner_id": owner.pk},
            )
        admin_client.get(page)
        with CaptureQueriesContext(connection) as found:
            text = admin_client.get(page).content.decode()
        assert text.count(f"a of user{count}-") >= count
        by_key = 'FROM "auth_user" WHERE "auth_user"."id" IN'
        owners = [query for query in found if by_key in query["sql"]]
        # Who made the changes, and who made most of them; the owners that they name. Those that __str__ needs
        # come with the todos.
        assert len(owners) <= 3
        return len(found)

    assert queries(2) == queries(20)


def test_a_large_text_is_compared_by_lines_and_folded(admin_client: Client) -> None:
    lines = [f"Line {number}\n" for number in range(5000)]
    after = [*lines[:2500], "Line 2500 is new\n", *lines[2501:]]
    change = record(1, before={"id": 1, "task": "".join(lines)}, after={"id": 1, "task": "".join(after)})
    text = admin_client.get(f"{LIST}{change.pk}/change/").content.decode()
    assert "<mark> is new</mark>" in text
    assert "equal lines</summary>" in text


def test_hostile_values_take_few_steps_on_a_page(admin_client: Client, db: None) -> None:
    deep: Any = 1
    for _ in range(90):
        deep = [deep, deep] if len(str(deep)) < 20_000 else [deep]
    row = {"id": 1, "task": "a\n" * 500_000, "data": deep, "more": ["x"] * 50_000}
    other = {"id": 1, "task": "b a\n" * 300_000, "data": [deep, 1], "more": ["y", *["x"] * 50_000]}
    change = record(1, before=row, after=other)
    for page in (f"{change.pk}/change/", "", "timeline/todos/todo/1/", "timeline/todos/todo/1/?field=task"):
        with at_most(30_000_000):
            admin_client.get(f"{LIST}{page}")
    content = admin_client.get(f"{LIST}{change.pk}/change/").content.decode()
    assert "more characters" in content


def test_a_present_value_that_is_nested_too_deeply_does_not_stop_the_page(admin_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE todo ADD COLUMN extra jsonb")
        todo = Todo.objects.create(task="Sleep")
        cursor.execute("UPDATE todo SET extra = %s::jsonb WHERE id = %s", ["[" * 2000 + "]" * 2000, todo.pk])
    assert admin_client.get(f"{LIST}timeline/todos/todo/{todo.pk}/").status_code == 200
