"""Exports of one database, in a process of its own; prints {format and masks: [changes a second]} as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import django
from django.contrib.admin import AdminSite
from django.core.management import call_command
from django.test import RequestFactory, override_settings

MASKS = {
    "no masks": [],
    "a masked column": ["shop_item.title"],
    "a masked key of contexts": ["context->path"],
    "both": ["shop_item.title", "context->path"],
}


def content(format: str) -> Iterator[bytes]:
    """Return the parts of a file for a user who may not see what is masked."""
    from bemi_django.admin.access.viewer import Viewer
    from bemi_django.admin.pages.export import response

    request: Any = RequestFactory().get("/", {"format": format})
    request.user = SimpleNamespace(pk=1, has_perm=lambda name: name != "bemi_django.unmask_change")
    return iter(response(Viewer(request, AdminSite())).streaming_content)  # type: ignore[arg-type]


def exported(format: str) -> float:
    """Export all changes, and return how many a second of processor time."""
    lines = 0
    began = time.process_time()
    for part in content(format):
        lines += part.count(b"\n")
    return lines / (time.process_time() - began)


def measured() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for number in range(4):
        for name, masks in MASKS.items():
            for format in ("csv", "jsonl"):
                with override_settings(BEMI_MASKED_FIELDS=masks, BEMI_ADMIN_EVENTS=False):
                    rate = exported(format)
                # The first round fills the caches.
                if number:
                    found.setdefault(f"{format}, {name}", []).append(rate)
    return found


def main() -> None:
    django.setup()
    if sys.argv[1] == "migrate":
        call_command("migrate", verbosity=0)
    else:
        sys.stdout.write(json.dumps(measured()))


if __name__ == "__main__":
    main()
