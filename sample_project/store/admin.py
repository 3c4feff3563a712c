from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from bemi_django.admin import ChangesInline
from sample_project.store.models import Category, Coupon, Customer, Order, OrderLine, Product, Tag

if TYPE_CHECKING:
    # Only the type stubs make these classes generic.
    CategoryAdminBase = admin.ModelAdmin[Category]
    TagAdminBase = admin.ModelAdmin[Tag]
    CouponAdminBase = admin.ModelAdmin[Coupon]
    CustomerAdminBase = admin.ModelAdmin[Customer]
    ProductAdminBase = admin.ModelAdmin[Product]
    OrderAdminBase = admin.ModelAdmin[Order]
    OrderLineInlineBase = admin.TabularInline[OrderLine, Order]
else:
    CategoryAdminBase = TagAdminBase = CouponAdminBase = CustomerAdminBase = admin.ModelAdmin
    ProductAdminBase = OrderAdminBase = admin.ModelAdmin
    OrderLineInlineBase = admin.TabularInline


@admin.register(Category)
class CategoryAdmin(CategoryAdminBase):
    search_fields = ("name",)


@admin.register(Tag)
class TagAdmin(TagAdminBase):
    search_fields = ("name",)


@admin.register(Coupon)
class CouponAdmin(CouponAdminBase):
    list_display = ("code", "percent", "valid_until")


@admin.register(Customer)
class CustomerAdmin(CustomerAdminBase):
    list_display = ("name", "email", "is_preferred")
    search_fields = ("name", "email")
    readonly_fields = ("registered_at",)


@admin.register(Product)
class ProductAdmin(ProductAdminBase):
    list_display = ("name", "category", "price", "stock", "is_listed")
    list_filter = ("category", "is_listed")
    list_select_related = ("category",)
    search_fields = ("name",)
    autocomplete_fields = ("category", "tags")
    inlines = (ChangesInline,)


class OrderLineInline(OrderLineInlineBase):
    model = OrderLine
    extra = 0
    autocomplete_fields = ("product",)


@admin.register(Order)
class OrderAdmin(OrderAdminBase):
    list_display = ("id", "customer", "status", "total", "placed_at")
    list_filter = ("status",)
    list_select_related = ("customer",)
    search_fields = ("id", "customer__name")
    autocomplete_fields = ("customer",)
    readonly_fields = ("placed_at",)
    inlines = (OrderLineInline,)
