from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from sample_project.store import views

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/bemi_django/change/")),
    path("admin/", admin.site.urls),
    path("store/register/", views.register, name="register"),
    path("store/basket/<int:pk>/", views.fill_basket, name="basket"),
    path("store/cart/checkout/", views.checkout, name="checkout"),
    path("store/orders/<uuid:pk>/pay/", views.pay, name="pay"),
]
