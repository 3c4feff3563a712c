from __future__ import annotations

from django.apps import AppConfig


class StoreConfig(AppConfig):
    name = "sample_project.store"
    label = "store"
    default_auto_field = "django.db.models.BigAutoField"
