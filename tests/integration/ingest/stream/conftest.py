"""Proxies before both servers, and what the worker says about its attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.support.load_pipeline import LoadPipeline
from tests.support.proxy import Proxy

Warned = Callable[..., int]


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Warned:
    """How many lines of the worker say that it tries again, for a reason that holds these words."""

    def count(words: str = "") -> int:
        return sum("trying again in" in line and words in line for line in caplog.messages)

    return count


@pytest.fixture
def source_proxy(trail: LoadPipeline) -> Iterator[Proxy]:
    with closing(Proxy(trail.source.server.port)) as proxy:
        trail.config.source["port"] = proxy.port
        yield proxy


@pytest.fixture
def log_proxy(trail: LoadPipeline) -> Iterator[Proxy]:
    with closing(Proxy(trail.log.server.port)) as proxy:
        trail.config.destination["port"] = proxy.port
        yield proxy
