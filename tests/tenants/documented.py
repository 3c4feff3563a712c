"""The examples of docs/tenants.md."""

from __future__ import annotations

import re
from typing import Any

from tests.support.paths import ROOT
from tests.tenants.steps import run


class Search:
    def __init__(self) -> None:
        self.indexed: list[list[str]] = []

    def index(self, tenant: str, note: object) -> None:
        self.indexed.append([tenant, str(note)])


def page() -> dict[str, Any]:
    """What the examples of docs/tenants.md do, and whether their settings are those of this project."""
    from django.conf import settings
    from django_tenants.utils import schema_context

    from bemi_django.handlers import on_change
    from bemi_django.models import Change
    from bemi_django.time_travel import as_of
    from tests.tenants.notes.models import Note

    text = (ROOT / "docs/tenants.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    given: dict[str, Any] = {}
    exec(examples[0], given)
    with schema_context("red"):
        note, moment = Note.objects.first(), Change.objects.last()
    exec(examples[1], {"Note": Note, "note": note, "moment": moment, "as_of": as_of})
    search = Search()
    exec(examples[2], {"__name__": __name__, "Note": Note, "on_change": on_change, "search": search})
    run()
    with schema_context("blue"):
        Note.objects.create(text="To be found")
    run()
    return {
        "examples": len(examples),
        "settings": [
            name
            for name in given.keys() - {"__builtins__", "DATABASES"}
            if repr(given[name]) != repr(getattr(settings, name)).replace("tests.tenants.", "")
        ],
        "engine": given["DATABASES"]["default"]["ENGINE"],
        "indexed": search.indexed,
    }
