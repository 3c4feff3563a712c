"""Columns of the log as Django reads them."""

from __future__ import annotations

from typing import Any

from django.db import models

from bemi_django.log.lossless_json import LosslessDecoder


class RowField(models.JSONField):
    """A row as jsonb, with every digit of its numbers. To migrations it is a JSONField like any other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "decoder": LosslessDecoder})

    def deconstruct(self) -> Any:
        name, _, arguments, options = super().deconstruct()
        options.pop("decoder")
        return name, "django.db.models.JSONField", arguments, options
