"""What visitors of the shop do; the answers are JSON."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from sample_project.store.models import Basket, Coupon, Customer, Order, OrderLine, Product


@require_POST
def register(request: HttpRequest) -> JsonResponse:
    """Create a customer from ``name`` and ``email``."""
    customer = Customer.objects.create(name=request.POST["name"], email=request.POST["email"])
    return JsonResponse({"id": customer.pk})


@require_POST
def fill_basket(request: HttpRequest, pk: int) -> JsonResponse:
    """Remember that a visitor wants a product."""
    basket = Basket.objects.create(product=get_object_or_404(Product, pk=pk))
    return JsonResponse({"id": basket.pk})


@require_POST
@transaction.atomic
def checkout(request: HttpRequest) -> JsonResponse:
    """Order each of ``product`` once for ``customer``, with a ``coupon`` if one is named."""
    coupon = Coupon.objects.filter(code=request.POST.get("coupon", "")).first()
    order = Order.objects.create(
        customer=get_object_or_404(Customer, pk=request.POST["customer"]), coupon=coupon
    )
    for product in Product.objects.filter(pk__in=request.POST.getlist("product")):
        OrderLine.objects.create(order=order, product=product, quantity=1, unit_price=product.price)
        Product.objects.filter(pk=product.pk).update(stock=F("stock") - 1)
    total = sum((line.unit_price for line in order.lines.all()), Decimal(0))
    order.total = round(total * (1 - coupon.percent / 100), 2) if coupon else total
    order.save()
    return JsonResponse({"id": order.pk})


@require_POST
def pay(request: HttpRequest, pk: UUID) -> JsonResponse:
    """Note that an order was paid."""
    order = get_object_or_404(Order, pk=pk)
    order.status = Order.Status.PAID
    order.save()
    return JsonResponse({"id": order.pk})
