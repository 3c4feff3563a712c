from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import FieldDoesNotExist

from bemi_django import on_change
from bemi_django.handlers import registry as handlers
from tests.shop.models import Order, Product


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(handlers, "registered", {})
    yield


def test_a_handler_is_found_under_its_name() -> None:
    @on_change(Product, fields=["price", "category"])
    def tell(change: Any) -> None: ...

    (handler,) = handlers.registered.values()
    assert handler.name.endswith("tell:shop.Product")
    assert handler.function is tell
    assert handler.columns == ("price", "category_id")
    assert handler.operations == ("CREATE", "UPDATE", "DELETE")


def test_one_function_may_handle_several_models() -> None:
    def tell(change: Any) -> None: ...

    on_change(Product)(on_change(Order.products.through)(tell))
    assert len(handlers.registered) == 2


def test_a_module_may_be_imported_anew() -> None:
    for _ in range(2):

        @on_change(Product)
        def tell(change: Any) -> None: ...

    assert len(handlers.registered) == 1


def test_a_name_belongs_to_one_handler() -> None:
    on_change(Product, name="x")(print)
    with pytest.raises(ValueError, match="another handler 'x'"):
        on_change(Product, name="x")(repr)


def test_what_has_no_name_is_no_handler() -> None:
    with pytest.raises(ValueError, match="wrap it"):
        on_change(Product)(partial(print))


async def awaited(change: Any) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"fields": ["prize"]}, FieldDoesNotExist, "no field named 'prize'"),
        ({"fields": ["reviews"]}, ValueError, "reviews is not a column of shop.Product"),
        ({"fields": "price"}, TypeError, "must be lists"),
        ({"operations": "UPDATE"}, TypeError, "must be lists"),
        ({"operations": ["INSERT"]}, ValueError, "unknown operation: INSERT; use CREATE"),
        ({"since": datetime(2024, 1, 1)}, ValueError, "make_aware"),
        ({"since": "yesterday"}, ValueError, '"beginning"'),
    ],
)
def test_what_cannot_work_is_said_at_once(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        on_change(Product, **arguments)


def test_a_relation_with_a_table_of_its_own_is_no_field() -> None:
    with pytest.raises(ValueError, match=r"on_change\(Order.products.through\)"):
        on_change(Order, fields=["products"])


@pytest.mark.skipif(not apps.is_installed("tests.shapes"), reason="aldjemy does not know these models")
def test_a_column_of_a_parent_is_no_field() -> None:
    from tests.shapes import models as shapes

    with pytest.raises(ValueError, match=r"name is a column of another table: use on_change\(Place\)"):
        on_change(shapes.Restaurant, fields=["name"])


def test_what_is_awaited_is_no_handler() -> None:
    with pytest.raises(TypeError, match="async_to_sync"):
        on_change(Product)(awaited)
