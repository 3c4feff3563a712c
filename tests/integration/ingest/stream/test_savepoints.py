"""A transaction with very many savepoints, which the server decodes slowly, is recorded.

``BEMI_SAVEPOINTS`` is how many it has.
"""

from __future__ import annotations

import os

import pytest

from tests.integration.ingest.stream.conftest import Warned
from tests.support.cluster import transaction
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import DEADLINE, until

SAVEPOINTS = int(os.environ.get("BEMI_SAVEPOINTS", "5_000"))
#: Statements that are sent at a time.
_STEP = 1000
#: More than this in each other need more locks than the server has.
_NESTED = 5000
_ROW = "SAVEPOINT s; INSERT INTO load SELECT n, n FROM (VALUES (%s)) made (n); "


@pytest.mark.parametrize(
    ("count", "end"), [(SAVEPOINTS, "RELEASE SAVEPOINT s; "), (_NESTED, "")], ids=["released", "nested"]
)
def test_a_transaction_of_many_savepoints_with_a_row_each_is_recorded(
    count: int, end: str, trail: LoadPipeline, warned: Warned
) -> None:
    with transaction(trail.source) as cursor:
        for first in range(1, count + 1, _STEP):
            numbers = range(first, min(first + _STEP, count + 1))
            cursor.execute((_ROW + end) * len(numbers), list(numbers))
        cursor.connection.commit()
    with trail.worker():
        stream = trail.wait_until_read()
        until(lambda: trail.logged()[-1:] == [count], seconds=max(DEADLINE, count / 100))
        trail.check()
        assert trail.wait_until_read() == stream
    assert not warned()
