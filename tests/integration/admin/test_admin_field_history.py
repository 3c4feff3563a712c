"""The history of one field of an object: each value, since when, for how long, and by whom."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bemi_django.admin.pages.history import field_values
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.shop.models import Category, Product
from tests.support.audit import LIST, record, visitor
from tests.support.pipeline import Drain

MAY_REVERT = (
    "bemi_django.view_change",
    "bemi_django.revert_change",
    "shop.view_product",
    "shop.change_product",
)


def page(client: Client, product: Product, query: str) -> Any:
    response = client.get(f"{LIST}timeline/shop/product/{product.pk}/{query}")
    assert response.status_code == 200
    return response


def shown(response: Any) -> list[tuple[str | None, str]]:
    return [(one.value and one.value.text, one.lasted) for one in response.context["values"]]


@pytest.fixture
def product(db: None) -> Product:
    """A product whose price was 99 for 3 days, then 119 for 2 days, and is 10.71 since yesterday."""
    user = get_user_model().objects.create(username="carl")
    category = Category.objects.create(name="Lamps")
    product = Product.objects.create(sku="lamp", category=category, price="10.71", stock=3)
    row = {"id": product.pk, "sku": "lamp", "category_id": category.pk, "price": 99.00, "stock": 3}
    steps: list[tuple[int, str, dict[str, Any], dict[str, Any]]] = [
        (6, "CREATE", {}, row),
        (5, "UPDATE", {**row, "stock": 4}, row),
        (3, "UPDATE", row, {**row, "price": 119}),
        (1, "UPDATE", {**row, "price": 119}, {**row, "price": 10.71}),
    ]
    for number, (days, operation, before, after) in enumerate(steps, 1):
        record(
            number,
            table="shop_product",
            primary_key=str(product.pk),
            operation=operation,
            before=before,
            after=after,
            context={"user_id": user.pk, "reason": "Black Friday"} if number < 4 else {"db_user": "maria"},
            committed_at=timezone.now() - timedelta(days=days),
        )
    return product


def test_each_value_says_since_when_for_how_long_and_by_whom(admin_client: Client, product: Product) -> None:
    response = page(admin_client, product, "?field=price")
    assert shown(response) == [("10.71", ""), ("119", "2\xa0days"), ("99.0", "3\xa0days")]
    values = response.context["values"]
    assert [one.actor.label for one in values] == ["maria", "carl", "carl"]
    assert [one.reason for one in values] == ["", "Black Friday", "Black Friday"]
    text = response.content.decode()
    assert "until now" in text and '<q class="bemi-because">Black Friday</q>' in text


def test_a_long_text_marks_what_differs_from_the_value_before(admin_client: Client, product: Product) -> None:
    text = (
        "A lamp of oak that was oiled by hand in a small workshop, and that fits into the smallest of rooms."
    )
    rows = [{"id": product.pk, "sku": text.replace("oiled", word)} for word in ("oiled", "waxed")]
    key = {"table": "shop_product", "primary_key": str(product.pk)}
    record(7, **key, operation="UPDATE", before={"id": product.pk, "sku": "lamp"}, after=rows[0])
    record(8, **key, operation="UPDATE", before=rows[0], after=rows[1])
    response = page(admin_client, product, "?field=sku")
    newest = response.context["values"][1]
    assert [piece.text for piece in newest.pieces if piece.is_changed] == ["waxed"]
    assert "<mark>waxed</mark>" in response.content.decode()


def test_a_number_has_a_step_chart_and_a_text_has_none(admin_client: Client, product: Product) -> None:
    chart = page(admin_client, product, "?field=price").context["chart"]
    assert [(dot.text, dot.is_outside) for dot in chart.dots] == [
        ("99.0", False),
        ("119", False),
        ("10.71", True),
    ]
    assert [dot.x for dot in chart.dots] == pytest.approx([0, 50, 83.3], abs=0.1)
    assert "<svg" in page(admin_client, product, "?field=price").content.decode()
    assert page(admin_client, product, "?field=sku").context["chart"] is None


def test_a_value_is_put_back_from_the_change_that_replaced_it(admin_client: Client, product: Product) -> None:
    values = page(admin_client, product, "?field=price").context["values"]
    assert [bool(one.puts_back) for one in values] == [False, True, True]
    response = admin_client.get(values[1].puts_back)
    assert response.status_code == 200
    assert "Set price to 119" in response.content.decode()


def test_who_may_not_change_the_object_puts_nothing_back(product: Product) -> None:
    client = visitor("bemi_django.view_change", "bemi_django.revert_change", "shop.view_product")
    assert not any(one.puts_back for one in page(client, product, "?field=price").context["values"])
    client = visitor(*MAY_REVERT, name="bob")
    assert any(one.puts_back for one in page(client, product, "?field=price").context["values"])


def test_masked_values_have_neither_chart_nor_text(product: Product, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["shop_product.price"]
    response = page(visitor(*MAY_REVERT), product, "?field=price")
    assert shown(response) == [("••••••", ""), ("••••••", "2\xa0days"), ("••••••", "3\xa0days")]
    assert response.context["chart"] is None
    text = response.content.decode()
    assert "119" not in text.replace(str(product.pk), "") and "10.71" not in text


def test_a_value_that_is_older_than_the_log_and_one_that_is_not_in_it_yet(
    admin_client: Client, product: Product
) -> None:
    Change.objects.filter(operation="CREATE").delete()
    Product.objects.update(price=5)
    response = page(admin_client, product, "?field=price")
    assert shown(response) == [("5.00", ""), ("10.71", ""), ("119", "2\xa0days"), ("99.0", "")]
    text = response.content.decode()
    assert "before the log" in text and "just changed, not in the log yet" in text
    assert "until now" not in text
    # The log need not have the field at all.
    Change.objects.all().delete()
    text = page(admin_client, product, "?field=price").content.decode()
    assert ">not in the log<" in text and "just changed" not in text


def test_keys_are_names_and_a_deleted_object_says_so(admin_client: Client, drain: Drain) -> None:
    first, second = Category.objects.create(name="Lamps"), Category.objects.create(name="Lighting")
    product = Product.objects.create(sku="lamp", category=first)
    Product.objects.update(category=second)
    key = product.pk
    product.delete()
    drain()
    product.pk = key
    response = page(admin_client, product, "?field=category_id")
    assert [text for text, _ in shown(response)] == [None, "Lighting", "Lamps"]
    assert "deleted</span>" in response.content.decode()


def test_the_history_of_a_field_has_pages(
    admin_client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_values, "_SIZE", 2)
    first = page(admin_client, product, "?field=price")
    assert [text for text, _ in shown(first)] == ["10.71", "119"]
    second = page(admin_client, product, first.context["older"])
    assert shown(second) == [("99.0", "3\xa0days")]
    assert second.context["values"][0].puts_back
    assert shown(page(admin_client, product, second.context["newer"])) == shown(first)


@pytest.mark.parametrize("field", ["nosuch", "a%00b", "%F0%9F"])
def test_a_field_that_never_was_is_not_found(admin_client: Client, product: Product, field: str) -> None:
    url = f"{LIST}timeline/shop/product/{product.pk}/?field={field}"
    assert admin_client.get(url).status_code == 404


def test_the_timeline_leads_to_its_fields_and_puts_one_back(admin_client: Client, product: Product) -> None:
    response = page(admin_client, product, "")
    (field,) = response.context["steps"][0].fields
    assert (field.label, field.pair.before.text, field.pair.after.text) == ("price", "119", "10.71")
    assert (
        page(admin_client, product, field.url.partition("/product/")[2].partition("/")[2]).context["label"]
        == "price"
    )
    assert "Set price to 119" in admin_client.get(field.puts_back).content.decode()
    text = response.content.decode()
    # The changes come first.
    assert text.index('id="bemi-timeline"') < text.index('id="bemi-now"')


def test_other_rows_that_refer_to_the_object_are_shown_on_demand(
    admin_client: Client, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_model = get_user_model()
    user = user_model.objects.create(username="carl")
    drain()
    Todo.objects.create(task="Sleep", owner=user)
    drain()

    def tables(query: str) -> set[str]:
        response = admin_client.get(f"{LIST}timeline/auth/user/{user.pk}/{query}")
        return {step.row.change.table for step in response.context["steps"]}

    assert tables("") == tables("?related=own") == {"auth_user"}
    assert tables("?related=all") == {"auth_user", "todo"}

    class TodoInline(admin.TabularInline):  # type: ignore[type-arg]
        model = Todo

    registered = admin.site._registry[user_model]
    monkeypatch.setattr(registered, "get_inlines", lambda *args: [TodoInline], raising=False)
    assert tables("") == {"auth_user", "todo"}
    assert tables("?related=own") == {"auth_user"}
    monkeypatch.setattr(registered, "get_inlines", lambda *args: 1 / 0, raising=False)
    assert tables("") == {"auth_user"}


def test_a_timeline_is_filtered_by_operation_and_user(admin_client: Client, product: Product) -> None:
    def numbers(query: str) -> list[int]:
        return [step.row.change.position // 8 for step in page(admin_client, product, query).context["steps"]]

    assert numbers("") == [4, 3, 2, 1]
    assert numbers("?operation=UPDATE") == [4, 3, 2]
    assert numbers("?user=carl") == [3, 2, 1]
    assert numbers("?user=carl&operation=CREATE") == [1]
    assert numbers("?user=nobody") == numbers("?operation=nosuch") == numbers("?user=a%00b") == []
    assert "No changes match these filters." in page(admin_client, product, "?user=nobody").content.decode()


def test_many_to_many_rows_are_parts(admin_client: Client, drain: Drain) -> None:
    todo, tag = Todo.objects.create(task="Sleep"), Tag.objects.create(name="night")
    todo.tags.add(tag)
    drain()
    for about in (f"todo/{todo.pk}", f"tag/{tag.pk}"):
        response = admin_client.get(f"{LIST}timeline/todos/{about}/")
        assert "todo_tags" in {step.row.change.table for step in response.context["steps"]}
        response = admin_client.get(f"{LIST}timeline/todos/{about}/?related=own")
        assert all(step.is_own for step in response.context["steps"])


def test_names_of_a_page_take_one_query_for_each_model(admin_client: Client, drain: Drain) -> None:
    product = Product.objects.create(sku="lamp", category=Category.objects.create(name="c0"))
    for number in range(1, 9):
        product.category = Category.objects.create(name=f"c{number}")
        product.save()
    drain()

    with CaptureQueriesContext(
        connection,
    ) as found:
        text = page(admin_client, product, "").content.decode()
    assert all(f">c{number}<" in text for number in range(9))
    reading = [q["sql"] for q in found if re.match(r'SELECT "shop_category"', q["sql"])]
    assert len(reading) <= 2, reading
