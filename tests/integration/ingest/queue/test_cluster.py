"""Three servers keep the stream: one at a time is killed under load, and the log is complete and in order.

``BEMI_NODES`` is the number of kills: 20 in ``make torture``.
"""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_cluster import NatsCluster
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline

KILLS = int(os.environ.get("BEMI_NODES", "1"))


def test_a_server_that_is_killed_stops_nothing(trail: LoadPipeline, caplog: pytest.LogCaptureFixture) -> None:
    with closing(NatsCluster()) as cluster:
        queued = QueuedPipeline(trail, cluster)
        with queued.publisher(), queued.consumers(2):
            with trail.load():
                until(trail.logged)
                for _ in range(KILLS):
                    cluster.wait()
                    killed = cluster.leader()
                    killed.kill()
                    try:
                        goes_on(trail)
                    finally:
                        killed.start()
            queued.catch_up()
    # Three replicas need no other promise.
    assert "sync=always" not in caplog.text


def goes_on(trail: LoadPipeline) -> None:
    """Wait until the log has what was written later."""
    written = trail.source.one("SELECT max(n) FROM load")
    until(lambda: trail.logged()[-1] > written + 20)
