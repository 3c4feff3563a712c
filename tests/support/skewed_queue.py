"""A server of NATS whose clock is wrong, as its clients see it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest


def skew_queue(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Let the clock of all servers be ahead by hours, behind if they are negative."""
    from nats.aio.client import Client

    request = Client.request

    async def skewed(client: Any, subject: str, *arguments: Any, **options: Any) -> Any:
        answer = await request(client, subject, *arguments, **options)
        if subject.startswith("$JS.API.STREAM.INFO"):
            found = json.loads(answer.data)
            for name in {"created", "ts"} & found.keys():
                found[name] = _moved(found[name], hours)
            answer.data = json.dumps(found).encode()
        return answer

    monkeypatch.setattr(Client, "request", skewed)


def _moved(text: str, hours: float) -> str:
    whole, _, fraction = text.rstrip("Z").partition(".")
    return f"{(datetime.fromisoformat(whole) + timedelta(hours=hours)).isoformat()}.{fraction or '0'}Z"
