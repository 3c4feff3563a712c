from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import F
from django.db.models.functions import Mod

from sample_project.store.models import Product


class Command(BaseCommand):
    help = "Add what the suppliers deliver at night."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--supplier", type=int, default=0)
        parser.add_argument("--of", type=int, default=4, help="number of suppliers")

    def handle(self, *args: Any, **options: Any) -> None:
        products = Product.objects.alias(share=Mod("pk", options["of"])).filter(share=options["supplier"])
        changed = products.update(stock=F("stock") + 3)
        self.stdout.write(f"{changed} products")
