from __future__ import annotations

from django.apps import AppConfig


class TodosConfig(AppConfig):
    name = "sample_project.todos"
    label = "todos"
    default_auto_field = "django.db.models.BigAutoField"
