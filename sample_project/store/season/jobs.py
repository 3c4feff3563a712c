"""What runs without a person: tasks of a queue and commands of a timetable."""

from __future__ import annotations

import io
import uuid
from decimal import Decimal
from random import Random

from django.core.management import call_command
from django.db.models import F

from bemi_django import bound_context
from sample_project.store.models import Order, Product

SUPPLIERS = 4


class Jobs:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._supplier = 0

    def restock(self) -> None:
        """Run a command that writes a fourth of the products in one statement."""
        self._supplier = (self._supplier + 1) % SUPPLIERS
        call_command("restock", "--supplier", str(self._supplier), stdout=io.StringIO())

    def forget_baskets(self) -> None:
        call_command("forget_baskets", stdout=io.StringIO())

    def rate(self) -> None:
        """Run a task that writes a few products one by one."""
        with bound_context(task="store.tasks.update_ratings", task_id=str(self._task_id()), retries=0):
            count = Product.objects.count()
            for number in sorted(self._random.sample(range(count), min(count, 10))):
                product = Product.objects.order_by("pk")[number]
                rating = Decimal(self._random.randint(100, 500)) / 100
                Product.objects.filter(pk=product.pk).update(rating=rating)

    def cancel_unpaid(self) -> None:
        """Run a task that cancels what was not paid, with the products put back."""
        with bound_context(task="store.tasks.cancel_unpaid", task_id=str(self._task_id()), retries=1):
            for order in Order.objects.filter(status=Order.Status.PLACED).order_by("placed_at")[:5]:
                for line in order.lines.all():
                    Product.objects.filter(pk=line.product_id).update(stock=F("stock") + line.quantity)
                order.status = Order.Status.CANCELLED
                order.save()

    def _task_id(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)
