"""A huge transaction is ingested in bounded memory, and the small ones around it in order; so it is verified.

``BEMI_ROWS`` is the number of its rows: 10,000,000 in ``make torture``.
"""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from tests.support.roles import OWNER, WORKER
from tests.support.torture_pipeline import TorturePipeline

ROWS = int(os.environ.get("BEMI_ROWS", "100_000"))
MEGABYTES = 200


def test_a_large_transaction_is_ingested_in_little_memory(
    pipeline: TorturePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.manage("bemi", "run", "--until-current", role=WORKER)
    with (
        closing(pipeline.connect(pipeline.source)) as large,
        closing(pipeline.connect(pipeline.source)) as small,
    ):
        small.autocommit = True
        with large.cursor() as cursor, small.cursor() as other:
            cursor.execute("CREATE TABLE item (id int PRIMARY KEY, body text)")
            large.commit()
            cursor.execute("INSERT INTO item SELECT i, 'row ' || i FROM generate_series(1, %s) i", [ROWS])
            other.execute("INSERT INTO note VALUES ('before', 1)")
            cursor.execute("UPDATE item SET body = 'changed' WHERE id = %s", [ROWS])
            large.commit()
            other.execute("INSERT INTO note VALUES ('after', 2)")
    output, peak = pipeline.manage_measured("bemi", "run", "--until-current")
    with capsys.disabled():
        print(f"\n{ROWS:,} rows in one transaction: peak RSS of the worker {peak:.0f} MB")  # noqa: T201
    assert f"{ROWS + 3} changes written" in output
    with closing(pipeline.connect(pipeline.log)) as connection, connection.cursor() as cursor:
        cursor.execute(
            'SELECT "table", count(*), count(DISTINCT id), min(primary_key::int), max(primary_key::int) '
            'FROM changes GROUP BY position, "table" ORDER BY min(id::text)'
        )
        assert cursor.fetchall() == [
            ("note", 1, 1, None, None),
            ("item", ROWS + 1, ROWS + 1, 1, ROWS),
            ("note", 1, 1, None, None),
        ]
    assert peak < MEGABYTES
    if "BEMI_ROWS" not in os.environ:
        # tests/integration/verification has a form that takes less time.
        return
    pipeline.start_worker()
    output, peak = pipeline.manage_measured("bemi", "verify", "public.item", role=OWNER)
    with capsys.disabled():
        print(f"{ROWS:,} rows verified: peak RSS {peak:.0f} MB")  # noqa: T201
    assert output == f"public.item: {ROWS} rows, as in the log\n"
    assert peak < MEGABYTES
