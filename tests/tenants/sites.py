"""What the admin sites of the tenants show."""

from __future__ import annotations

from typing import Any

from django.db import connection

from tests.tenants.steps import NAMES, run


def pages() -> dict[str, Any]:
    """What the site of each tenant shows, after each head has written a note there."""
    from django.test import Client
    from django_tenants.utils import schema_context

    from tests.tenants.notes.models import Note

    clients = {name: Client(headers={"host": f"{name}.example.com"}) for name in NAMES}
    for name, client in clients.items():
        client.post("/admin/login/", {"username": f"head of {name}", "password": "secret"})
        if name != "public":
            client.post("/admin/notes/note/add/", {"text": f"Secret of {name}"})
    run()
    with schema_context("red"):
        change = Note.history.created().get(after__text="Secret of red")
    shown: dict[str, Any] = {"context": change.context}
    addresses = {
        "list": "",
        "health": "health/",
        "activity": "activity/",
        "activity of user 1": "activity/?user=1",
        "change of red": f"{change.pk}/change/",
        "timeline": f"timeline/notes/note/{change.primary_key}/",
    }
    for name, client in clients.items():
        shown[name] = {
            page: seen(client.get(f"/admin/bemi_django/change/{address}"))
            for page, address in addresses.items()
        }
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    return shown


def seen(response: Any) -> dict[str, Any]:
    text = response.content.decode()
    phrases = [f"{what} of {name}" for what in ("Secret", "head", "user 1") for name in NAMES]
    return {"status": response.status_code, "phrases": [phrase for phrase in phrases if phrase in text]}
