"""A queue between the worker and the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_server import NatsServer
from tests.support.queued_pipeline import QueuedPipeline


@pytest.fixture(scope="package")
def nats_server() -> Iterator[NatsServer]:
    with closing(NatsServer()) as server:
        yield server


@pytest.fixture
def queued(trail: LoadPipeline, nats_server: NatsServer) -> Iterator[QueuedPipeline]:
    yield QueuedPipeline(trail, nats_server)
    nats_server.delete()
