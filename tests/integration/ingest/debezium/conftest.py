"""A source and a log that Debezium's records are written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.debezium_trail import DebeziumTrail

#: Writes lines to the log, and returns the number of changes.
Consume = Callable[[Sequence[bytes]], int]


@pytest.fixture(scope="package")
def databases(source_cluster: Cluster) -> Iterator[DebeziumTrail]:
    with closing(DebeziumTrail(source_cluster)) as trail:
        yield trail


@pytest.fixture
def records(databases: DebeziumTrail) -> DebeziumTrail:
    databases.empty()
    return databases


@pytest.fixture
def consume(records: DebeziumTrail, tmp_path: Path) -> Consume:
    """Write lines from a file."""

    def consume(lines: Sequence[bytes]) -> int:
        file = tmp_path / "records.jsonl"
        file.write_bytes(b"\n".join(lines))
        return records.consume(file)

    return consume
