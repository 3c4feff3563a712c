from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from sample_project.todos.models import Todo

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = "Complete the todos that are older than some days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=_days, default=30, help="age in days (default: 30)")

    def handle(self, *args: Any, **options: Any) -> None:
        limit = timezone.now() - timedelta(days=options["days"])
        old = Todo.objects.filter(is_completed=False, created_at__lt=limit)
        count = old.update(is_completed=True)
        self.stdout.write(self.style.SUCCESS(f"Completed {count} todos."))


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_DAYS:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {MAX_DAYS}")
    return int(text)
