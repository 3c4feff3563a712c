"""What visitors do on the site of the shop."""

from __future__ import annotations

from random import Random

from django.test import Client

from sample_project.store.models import Customer, Order, Product

_FIRST = (
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Eva",
    "Finn",
    "Hanna",
    "Leo",
    "Marie",
    "Noah",
    "Paula",
    "Tim",
    "José",
    "Zoë",
)
_LAST = (
    "Berg",
    "Costa",
    "Dupont",
    "Fischer",
    "García",
    "Keller",
    "Lang",
    "Meyer",
    "Novak",
    "Rossi",
    "Silva",
    "Weiß",
)


class Visitors:
    """Everybody who comes to the site, from many addresses."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._browser = Client(SERVER_NAME="localhost", HTTP_USER_AGENT="Mozilla/5.0 (visitor)")
        self._number = Customer.objects.count()

    def register(self) -> None:
        name = f"{self._random.choice(_FIRST)} {self._random.choice(_LAST)}"
        self._number += 1
        self._post("/store/register/", name=name, email=f"customer{self._number}@mail.example")

    def fill_basket(self) -> None:
        self._post(f"/store/basket/{self._some_product()}/")

    def check_out(self) -> None:
        customers = Customer.objects.count()
        customer = Customer.objects.order_by("pk")[self._random.randrange(customers)]
        products = sorted({self._some_product() for _ in range(self._random.randint(1, 4))})
        coupon = "WELCOME" if self._random.random() < 0.1 else ""
        self._post("/store/cart/checkout/", customer=customer.pk, product=products, coupon=coupon)

    def pay(self) -> None:
        placed = Order.objects.filter(status=Order.Status.PLACED).order_by("placed_at").first()
        if placed is not None:
            self._post(f"/store/orders/{placed.pk}/pay/")

    def _some_product(self) -> int:
        first, last = Product.objects.order_by("pk").first(), Product.objects.order_by("pk").last()
        assert first is not None and last is not None
        return self._random.randint(first.pk, last.pk)

    def _post(self, path: str, **fields: object) -> None:
        address = f"203.0.113.{self._random.randrange(1, 255)}"
        answer = self._browser.post(path, fields, REMOTE_ADDR=address)
        assert answer.status_code == 200, (path, answer.status_code)
