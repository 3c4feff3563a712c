from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from sample_project.store.models import Basket


class Command(BaseCommand):
    help = "Delete the baskets of the day."

    def handle(self, *args: Any, **options: Any) -> None:
        deleted, _ = Basket.objects.all().delete()
        self.stdout.write(f"{deleted} baskets")
