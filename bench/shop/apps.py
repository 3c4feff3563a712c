"""The application's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "bench.shop"
    default_auto_field = "django.db.models.BigAutoField"
