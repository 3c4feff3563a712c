"""What the tests of time travel share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.test import override_settings

from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.timeouts import Timeouts
from tests.integration.conftest import release, worker_config
from tests.support.pipeline import execute

#: For tests whose worker has written all there is.
settled = override_settings(BEMI_AS_OF_PATIENCE=0)


@contextmanager
def worker(slot: str) -> Iterator[None]:
    """One at work meanwhile."""
    supervisor = Supervisor(worker_config(slot), Timeouts(idle=0.05))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join()
        release(slot)


def here() -> str:
    """The LSN after what was committed."""
    ((lsn,),) = execute("SELECT pg_current_wal_insert_lsn()::text")
    return str(lsn)
