"""What the people of the shop change in the admin."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.db.models import Model
from django.forms import BoundField
from django.test import RequestFactory

from bemi_django.admin import ChangesInline
from sample_project.store.models import Customer, Order, Product
from sample_project.store.season.people import Desks, usernames

#: Reasons that people give, or none.
_PRICE_REASONS = ("Black Friday", "new price of the supplier", "typing error", "")
_NEXT = {"placed": "paid", "paid": "packed", "packed": "shipped"}


class Office:
    """The staff at work: who changes what, and why."""

    def __init__(self, random: Random, desks: Desks) -> None:
        self._random = random
        self._desks = desks
        self.tasks: tuple[Callable[[], None], ...] = (
            self.price,
            self.price,
            self.describe,
            self.move_order,
            self.move_order,
            self.move_order,
            self.correct_customer,
            self.unlist,
        )

    def reduce(self, price: Decimal) -> None:
        """Give the first product a price, the last of which is a mistake."""
        product = Product.objects.order_by("pk").first()
        assert product is not None
        self._save("Merchandise", product, "Black Friday", price=price)

    def price(self) -> None:
        product = self._some(Product)
        factor = self._random.choice(("0.80", "0.90", "1.05", "1.10"))
        price = round(product.price * Decimal(factor), 2)
        self._save("Merchandise", product, self._random.choice(_PRICE_REASONS), price=price)

    def describe(self) -> None:
        product = self._some(Product)
        lines = product.description.splitlines()
        lines[self._random.randrange(len(lines))] = "Now also in smoked oak."
        self._save("Merchandise", product, description="\n".join(lines))

    def unlist(self) -> None:
        product = self._some(Product)
        self._save("Merchandise", product, "out of season", is_listed=not product.is_listed)

    def move_order(self) -> None:
        order = Order.objects.exclude(status__in=("shipped", "cancelled")).order_by("placed_at").first()
        if order is not None:
            self._save("Warehouse", order, status=_NEXT[order.status])

    def correct_customer(self) -> None:
        customer = self._some(Customer)
        self._save("Support", customer, "asked on the phone", is_preferred=not customer.is_preferred)

    def _some(self, model: Any) -> Any:
        return model.objects.order_by("pk")[self._random.randrange(model.objects.count())]

    def _save(self, team: str, instance: Model, reason: str = "", **changed: object) -> None:
        """Send the form of an object as the admin shows it, with some of its fields changed."""
        options = instance._meta
        path = f"/admin/{options.app_label}/{options.model_name}/{instance.pk}/change/"
        client = self._desks.of(self._random.choice(usernames(team)))
        answer = client.post(path, {**_form(instance), **changed, "reason": reason})
        assert answer.status_code == 302, (path, answer.content.decode().split("errorlist")[1:])


def _form(instance: Model) -> dict[str, object]:
    """Return the fields of an object's form in the admin."""
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    model_admin = admin.site.get_model_admin(type(instance))
    form = model_admin.get_form(request, instance)(instance=instance)
    values = {name: _sent(form[name]) for name in form.fields}
    for inline in model_admin.inlines:
        if issubclass(inline, ChangesInline):
            # It has no fields.
            continue
        prefix = inline.model._meta.get_field("order").remote_field.related_name
        values |= {f"{prefix}-TOTAL_FORMS": 0, f"{prefix}-INITIAL_FORMS": 0}
    # What is empty, or not ticked, is not sent.
    return {name: value for name, value in values.items() if str(value) not in ("None", "False", "")}


def _sent(field: BoundField) -> Any:
    value = field.value()
    if isinstance(value, list):
        return [getattr(each, "pk", each) for each in value]
    return "" if hasattr(value, "storage") else value
