"""What queries take: elapsed time, and processor time of the server, which other work does not change."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection


@dataclass
class Spent:
    """Milliseconds."""

    elapsed: float = 0.0
    processor: float = 0.0


@contextmanager
def spent_on_queries() -> Iterator[Spent]:
    """Add up what Django's queries on the default database take in a block; its server must be local."""
    spent = Spent()

    def timed(execute: Any, *given: Any) -> Any:
        begun = time.perf_counter(), _processor_time()
        try:
            return execute(*given)
        finally:
            spent.elapsed += 1000 * (time.perf_counter() - begun[0])
            spent.processor += 1000 * (_processor_time() - begun[1])

    with connection.execute_wrapper(timed):
        yield spent


def spread(numbers: Sequence[float]) -> str:
    """Return the median, the least and the greatest number."""
    return f"{statistics.median(numbers):.0f} ({min(numbers):.0f}-{max(numbers):.0f})"


def _processor_time() -> float:
    opened: Any = connection.connection
    pid = opened.get_backend_pid() if hasattr(opened, "get_backend_pid") else opened.info.backend_pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
