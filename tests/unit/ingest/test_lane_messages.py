"""The reading of a lane ends at whatever moment it is closed, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from itertools import cycle
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bemi_django.ingest.queue.server import connection, lane_messages
from bemi_django.ingest.queue.server.lane_messages import LaneMessages
from tests.support.polling import DEADLINE


class NearServer:
    """Answers in the next step of the loop: a request gets its messages, or less, or its consumer is gone."""

    def __init__(self) -> None:
        self.lanes, self.subscriptions, self.lost = 0, set[str](), list[object]()
        self.client = self.jetstream = self
        self._answers, self._inboxes = cycle((8, 3, 0)), iter(range(10_000))

    def new_inbox(self) -> str:
        return f"inbox.{next(self._inboxes)}"

    async def subscribe(self, inbox: str, cb: Any) -> Any:
        await asyncio.sleep(0)
        self._take = cb
        self.subscriptions.add(inbox)

        async def unsubscribe() -> None:
            self.subscriptions.discard(inbox)
            await asyncio.sleep(0)

        return SimpleNamespace(unsubscribe=unsubscribe)

    async def publish(self, subject: str, asked: bytes, reply: str) -> None:
        await asyncio.sleep(0)
        number = min(next(self._answers), json.loads(asked)["batch"])
        sequence = SimpleNamespace(sequence=SimpleNamespace(stream=1))
        found = [SimpleNamespace(headers=None, metadata=sequence)] * number
        if number < 8:
            found.append(SimpleNamespace(headers={"Status": "408" if number else "409"}, metadata=None))
        for message in found:
            asyncio.get_running_loop().create_task(self._take(message))

    async def add_consumer(self, stream: str, config: Any) -> Any:
        await asyncio.sleep(0)
        return SimpleNamespace(name="reader")

    async def consumer_info(self, stream: str, consumer: str) -> None:
        raise asyncio.TimeoutError

    def unavailable(self, error: BaseException) -> BaseException:
        return error

    def lose(self, failure: object) -> None:
        self.lost.append(failure)


def test_a_reading_ends_after_any_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nats")
    monkeypatch.setattr(connection, "_AGAIN_SECONDS", 0.0005)
    monkeypatch.setattr(lane_messages, "_FULL", 0)

    async def close_after(steps: int) -> None:
        server = NearServer()
        lane = LaneMessages.__new__(LaneMessages)
        lane._connection, lane._stream, lane._subject = cast(Any, server), "bemi", "bemi.slot.0"
        lane._wake = lambda: None
        reading = asyncio.get_running_loop().create_task(lane._fetch(1, deque(maxlen=1)))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.wait_for(connection.end({reading}), DEADLINE)
        assert (server.lost, server.lanes, server.subscriptions) == ([], 0, set()), f"after {steps} steps"

    async def close_after_each() -> None:
        for steps in range(60):
            await close_after(steps)

    asyncio.run(close_after_each())
