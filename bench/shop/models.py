"""One model, recorded by the package that ``BENCH_VARIANT`` names."""

from __future__ import annotations

import os

from django.db import models

VARIANT = os.environ.get("BENCH_VARIANT", "nothing")


class Shape(models.Model):
    owner_id = models.IntegerField()
    title = models.CharField(max_length=100)
    body = models.TextField()
    is_done = models.BooleanField(default=False)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    created_at = models.DateTimeField()

    class Meta:
        abstract = True


if VARIANT == "django-pghistory":
    import pghistory

    @pghistory.track()
    class Item(Shape):
        pass

elif VARIANT == "django-auditlog":
    from auditlog.registry import auditlog

    class Item(Shape):
        pass

    auditlog.register(Item)

elif VARIANT == "django-simple-history":
    from simple_history.models import HistoricalRecords

    class Item(Shape):
        history = HistoricalRecords()

else:

    class Item(Shape):
        pass
