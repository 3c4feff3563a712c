"""``as_of()``: ordinary queries see the database as it was."""

from __future__ import annotations

import pytest
from django.test import override_settings
from django.db import transaction

from bemi_django.exceptions import HistoryError, PastIsReadOnly
from bemi_django.models import Change
from bemi_django.time_travel import allow_save, as_of
from tests.integration.conftest import Drain
from tests.shop.models import Category, Product


@pytest.fixture(autouse=True)
def trusting():
    with override_settings(BEMI_AS_OF_PATIENCE=0):
        yield


def test_it(drain: Drain) -> None:
    old = Category.objects.create(name="old")
    first = Product.objects.create(sku="a", category=old, price="1.50")
    second = Product.objects.create(sku="b", category=old)
    moment = drain()[-1]
    Product.objects.filter(sku="a").update(price=7)
    second.delete()
    old.name = "new"
    old.save()
    Product.objects.create(sku="c", category=old)
    later = drain()[-1]
    with as_of(moment):
        found = list(Product.objects.select_related("category").order_by("sku"))
        assert [(p.sku, str(p.price), p.category.name) for p in found] == [("a", "1.50", "old"), ("b", "0.00", "old")]
        assert Product.objects.get(pk=first.pk).sku == "a"
        with as_of(later):
            assert [p.sku for p in Product.objects.order_by("sku")] == ["a", "c"]
        assert Product.objects.count() == 2
        with pytest.raises(PastIsReadOnly):
            Category.objects.create(name="x")
    with pytest.raises(PastIsReadOnly):
        found[0].save()
    with pytest.raises(PastIsReadOnly):
        found[0].delete()
    allow_save(found[0])
    found[0].save()
    assert str(Product.objects.get(sku="a").price) == "1.50"
