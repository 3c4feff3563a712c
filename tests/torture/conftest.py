from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.support.cluster import Cluster
from tests.support.torture_pipeline import TorturePipeline


@pytest.fixture
def pipeline() -> Iterator[TorturePipeline]:
    with ExitStack() as stack:
        source, log = (stack.enter_context(closing(Cluster())) for _ in range(2))
        yield stack.enter_context(closing(TorturePipeline(source, log)))
