"""Fields of one change that are put back in the admin, each by its own check box."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.shop.models import Category, Product
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Drain

REVERT = f"{LIST}revert/"


@pytest.fixture
def change(drain: Drain) -> Change:
    """A change of three fields of a product, of which the stock has changed since."""
    category, other = Category.objects.create(name="Lamps"), Category.objects.create(name="Lighting")
    product = Product.objects.create(sku="lamp", category=category, price="119.00", stock=3)
    drain()
    product.price, product.stock, product.category = "129.00", 5, other
    product.save()
    (change,) = drain()
    Product.objects.update(stock=7)
    return change


def page(client: Client, change: Change, query: str = "") -> Any:
    response = client.get(f"{REVERT}?change={change.pk}{query}")
    assert response.status_code == 200
    return response


def send(client: Client, change: Change, **fields: Any) -> Any:
    data = {"digest": page(client, change).context["digest"], "by_field": "1", **fields}
    return client.post(f"{REVERT}?change={change.pk}", data, follow=True)


def values() -> tuple[str, int, str]:
    product = Product.objects.get()
    return str(product.price), product.stock, product.category.name


def test_each_field_says_what_it_is_and_becomes_and_why_not(admin_client: Client, change: Change) -> None:
    response = page(admin_client, change)
    lines = {line.column: line for line in response.context["fields"]}
    shown = {name: [line.pair.before.text, line.pair.after.text] for name, line in lines.items()}
    assert shown == {
        "category_id": [
            "Lighting", "Lamps",
        ],
        "price": ["129.00", "119.00"],
        "stock": ["7", "3"],
    }  # fmt: skip
    assert {name: line.is_chosen for name, line in lines.items()} == {
        "category_id": True, "price": True, "stock": False,
    }  # fmt: skip
    assert lines["stock"].conflict == "changed since: stock is 7, not 5"
    assert "Put back 2 fields" in response.content.decode()


def test_a_conflict_quotes_values_as_people_know_them(
    admin_client: Client, change: Change, settings: Any
) -> None:
    third = Category.objects.create(name="Outdoor")
    Product.objects.update(category=third, price="139.50")
    lines = {line.column: line.conflict for line in page(admin_client, change).context["fields"]}
    assert lines["category_id"] == "changed since: category is Outdoor, not Lighting"
    assert lines["price"] == "changed since: price is 139.50, not 129.00"
    settings.LANGUAGE_CODE = "de"
    german = {line.column: line.conflict for line in page(admin_client, change).context["fields"]}
    assert "139,50" in german["price"] and "129,00" in german["price"]


def test_a_conflict_masks_the_values_that_are_masked_and_quotes_the_others(
    drain: Drain, settings: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["shop_product.price"]
    category = Category.objects.create(name="Lamps")
    product = Product.objects.create(sku="lamp", category=category, price="119.00", stock=3)
    created = drain()[-1]
    Product.objects.update(price="777.00", stock=8)
    client = visitor(
        "bemi_django.view_change", "bemi_django.revert_change", "shop.view_product", "shop.delete_product"
    )
    (line,) = client.get(f"{REVERT}?change={created.pk}").context["conflicts"]
    assert line.conflict == "changed since: price is ••••••, not ••••••, stock is 8, not 3"
    assert product.stock == 3


def test_the_change_leads_to_one_field_that_is_put_back(admin_client: Client, change: Change) -> None:
    text = admin_client.get(f"{LIST}{change.pk}/change/").content.decode()
    (link,) = re.findall(r'href="([^"]*&amp;field=price)"', text)
    response = admin_client.get(link.replace("&amp;", "&"))
    assert "Set price to 119.00" in response.content.decode()
    assert [line.column for line in response.context["chosen"]] == ["price"]


def test_only_the_chosen_fields_are_put_back_for_a_reason(
    admin_client: Client, change: Change, drain: Drain
) -> None:
    drain()
    response = send(admin_client, change, fields=["price"], reason=" agreed\0 ")
    assert "1 row reverted." in response.content.decode()
    assert values() == ("119.00", 7, "Lighting")
    (done,) = [found for found in drain() if found.table == "shop_product"]
    assert done.context["reason"] == "agreed"


def test_a_field_in_conflict_is_overwritten_where_that_is_chosen(
    admin_client: Client, change: Change
) -> None:
    send(admin_client, change, overwrite=["stock"])
    assert values() == ("129.00", 3, "Lighting")
    # The field is named as if it were in no conflict.
    Product.objects.update(stock=7)
    response = send(admin_client, change, fields=["stock", "price"])
    assert "Nothing was reverted." in response.content.decode()
    assert values() == ("129.00", 7, "Lighting")


@pytest.mark.parametrize("fields", [[], ["nosuch"], ["\0"], ["price", "stock"]])
def test_a_wrong_choice_writes_nothing(admin_client: Client, change: Change, fields: list[str]) -> None:
    before = values()
    response = send(admin_client, change, fields=fields)
    assert response.status_code == 200 and response.context["error"]
    assert values() == before


def test_what_is_not_what_was_shown_writes_nothing(admin_client: Client, change: Change) -> None:
    digest = page(admin_client, change).context["digest"]
    Product.objects.update(stock=8)
    response = send(admin_client, change, fields=["price"], digest=digest)
    assert "Review the plan again" in response.content.decode()
    assert values() == ("129.00", 8, "Lighting")


def test_a_field_that_the_admin_makes_read_only_cannot_be_chosen(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.admin import site

    todo = Todo.objects.create(task="a")
    todo.task, todo.is_completed = "b", True
    todo.save()
    change = drain()[-1]
    monkeypatch.setattr(site._registry[Todo], "readonly_fields", ("task",))
    client = visitor(
        "bemi_django.view_change", "bemi_django.revert_change", "todos.view_todo", "todos.change_todo"
    )
    lines = {line.column: line for line in page(client, change).context["fields"]}
    assert {name: line.is_possible for name, line in lines.items()} == {"task": False, "is_completed": True}
    send(client, change, overwrite=["task"])
    assert Todo.objects.get().task == "b"
    send(client, change, fields=["is_completed"])
    assert not Todo.objects.get().is_completed


def test_masked_values_stay_masked(drain: Drain, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    todo = Todo.objects.create(task="secret-1")
    todo.task, todo.is_completed = "secret-2", True
    todo.save()
    change = drain()[-1]
    Todo.objects.update(task="secret-3")
    client = visitor(
        "bemi_django.view_change", "bemi_django.revert_change", "todos.view_todo", "todos.change_todo"
    )
    for query in ("", "&field=task"):
        text = page(client, change, query).content.decode()
        assert "secret" not in text and "the row was changed since" in text
    send(client, change, overwrite=["task"])
    assert Todo.objects.get().task == "secret-1"


def test_what_was_reverted_and_what_reverted_it_know_each_other(
    admin_client: Client, change: Change, drain: Drain
) -> None:
    send(admin_client, change, fields=["price"])
    done = next(found for found in drain() if found.context.get("reverts"))

    def reverted(about: Change) -> Any:
        return admin_client.get(f"{LIST}{about.pk}/change/").context["reverted"]

    assert (reverted(change).by, reverted(change).of) == (done, [])
    assert (reverted(done).by, reverted(done).of) == (None, [change])
    for hostile in ("x", ["x", 1, None, str(done.pk)], {"a": 1}):
        Change.objects.filter(pk=change.pk).update(context={"reverts": hostile})
        assert reverted(change).by == done
