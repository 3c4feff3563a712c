"""Publishers and consumers need no more rights in the queue than docs/scaling.md gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.ingest.queue.server.stream_config import examine_stream
from bemi_django.ingest.queue.server.stream_info import messages_of
from bemi_django.wire.queue_address import QueueAddress, parse
from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_server import NatsServer
from tests.support.paths import ROOT
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline

(USERS,) = re.findall(
    r"^```\n(authorization \{.*?^\}\n)```$", (ROOT / "docs/scaling.md").read_text(), re.DOTALL | re.MULTILINE
)
#: The user of the test itself, which may do everything.
_ANYBODY = '\n  users: [\n    {user: anybody, password: "secret"}'


@pytest.fixture
def queued(trail: LoadPipeline) -> Iterator[QueuedPipeline]:
    users = re.sub(r"\$\w+_PASSWORD", '"secret"', USERS).replace("\n  users: [", _ANYBODY)
    with closing(NatsServer(member=f"{users}\nno_auth_user: anybody")) as server:
        yield QueuedPipeline(trail, server)


def address_of(queued: QueuedPipeline, user: str) -> QueueAddress:
    return parse(queued.url.replace("nats://", f"nats://{user}:secret@"))


def test_the_documented_rights_are_enough(queued: QueuedPipeline) -> None:
    trail = queued.trail
    publisher, consumer = (address_of(queued, user) for user in ("publisher", "consumer"))
    publishing = trail.config._replace(queue=publisher)
    trail.run(publishing)
    trail.write(20)
    # One that is sent in parts.
    trail.source.run("INSERT INTO load (id, n, filler) SELECT 21, 21, repeat('x', 300000)")
    trail.run(publishing)

    async def poison(jetstream: Any) -> None:
        await jetstream.publish(f"bemi.{trail.slot}.1", b"{")

    queued.server.ask(poison)
    trail.source.run("INSERT INTO load (id, n) SELECT 22, 22")
    # It begins anew, and looks at what is in the queue.
    trail.run(publishing)
    for address in (publisher, consumer):
        assert examine_stream(address) and messages_of(address, f"bemi.{trail.slot}.*")
        with closing(Broker(address)) as broker:
            assert broker.has_messages(trail.slot) and broker.sources() and broker.room()
            assert len(broker.ends(trail.slot, range(3))) == 3
            queued.server.ask(poison)
            broker.discard(max(end.message for end in broker.ends(trail.slot, range(3)).values()))
            broker.raise_if_lost()
    for keep in (1, 0):
        consuming = trail.config._replace(queue=consumer._replace(keep=keep))
        Consumer(consuming, QUICK).run(until_current=True)
    until(lambda: queued.server.messages() == 0)
    trail.check()


def test_a_right_that_is_missing_is_named(queued: QueuedPipeline) -> None:
    """Who may consume may not publish."""
    config = queued.trail.config._replace(queue=address_of(queued, "consumer"))
    queued.trail.write(1)
    with pytest.raises(QueueUnavailable, match='refuses a right.*"bemi.bemi_trail'):
        Supervisor(config, QUICK._replace(patience=0.0)).run(until_current=True)
