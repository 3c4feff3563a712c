"""An archive in S3 is killed again and again while the log is written: what comes back is what was there."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support.fold import fold, live
from tests.support.roles import OWNER, WORKER, address
from tests.support.torture_pipeline import TorturePipeline
from tests.torture.test_torture import BLOWS, SEED, entries, load, strike

ROWS = int(os.environ.get("BEMI_ROWS", "0")) // 20
MONTHS = ("2003-05", "2003-06")
_MONTH = """
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, created_at, transaction_id, position)
SELECT _bemi.bound_v1(i * 8), 'shop', 'public', 'todo', i::text, 'UPDATE',
       jsonb_build_object('id', i, 'task', 'Sleep'), jsonb_build_object('id', i, 'task', md5(i::text)),
       '{"user_id": 7}', moment, moment, moment, i, i * 8
FROM generate_series(%s::bigint, %s::bigint) i,
     LATERAL (SELECT %s::timestamptz + i %% 2000000 * interval '1 s' AS moment) at
"""
_DIGEST = """
SELECT count(*), sum(hashtextextended(c::text, 0)::numeric) FROM changes c
WHERE committed_at >= %s::timestamptz AND committed_at < %s::timestamptz + interval '1 month'
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an archive, in a bucket as moto serves it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        found = "{}:{}".format(*server.get_host_and_port())
        boto3.resource("s3", endpoint_url=f"http://{found}", region_name="us-east-1").Bucket("logs").create()
        yield f"s3://logs/torture?endpoint_override={found}&scheme=http&region=us-east-1"
    finally:
        server.stop()


def fill(pipeline: TorturePipeline) -> list[tuple[int, int]]:
    """Have old months in the log; return their digests."""
    for number, month in enumerate(MONTHS):
        start = f"{month}-01 UTC"
        pipeline.log.run("SELECT _bemi.partition_v1(%s)", [start])
        pipeline.log.run(_MONTH, [number * ROWS + 1, (number + 1) * ROWS, start])
    return digests(pipeline)


def digests(pipeline: TorturePipeline) -> list[tuple[int, int]]:
    found = []
    for month in MONTHS:
        found += pipeline.log.run(_DIGEST, [f"{month}-01 UTC"] * 2)
    return found


@pytest.mark.skipif(not ROWS, reason="BEMI_ROWS says how many changes are archived: make torture")
def test_an_archive_in_s3_is_complete_whatever_is_killed(pipeline: TorturePipeline, place: str) -> None:
    chance = random.Random(SEED)
    pipeline.manage("bemi", "run", "--until-current", role=WORKER)
    before = fill(pipeline)
    assert [count for count, _ in before] == [ROWS, ROWS]
    pipeline.start_worker()
    archive = ("bemi", "archive", "--before", "2003-07", "--to", place)
    with load(address(pipeline.source.server.url, OWNER)) as writers:
        for blow in range(BLOWS):
            # Random moments are what this is about.
            with pipeline.command(*archive, "--keep") as command:
                time.sleep(chance.uniform(0.5, 5.0))
                if blow % 2:
                    strike(pipeline, blow // 2)
                command.send(signal.SIGKILL)
                command.ends()
        print(pipeline.manage(*archive))  # noqa: T201
        assert [count for count, _ in digests(pipeline)] == [0, 0]
        for month in MONTHS:
            for _ in range(BLOWS // 20 + 1):
                with pipeline.command("bemi", "import", month, "--from", place) as command:
                    time.sleep(chance.uniform(0.5, 3.0))
                    command.send(signal.SIGKILL)
                    command.ends()
            pipeline.manage("bemi", "import", month, "--missing", "--from", place)
    assert digests(pipeline) == before
    assert all(writer.committed for writer in writers)
    pipeline.log.run("DELETE FROM changes WHERE committed_at < '2004-01-01'")
    assert "as in the log" in pipeline.manage("bemi", "verify")
    assert pipeline.end_worker(signal.SIGTERM) == 0, pipeline.said()
    with closing(pipeline.connect(pipeline.source)) as connection, connection.cursor() as cursor:
        expected = live(cursor, ("account", "entry", "note"))
    found = fold(entries(pipeline.connect(pipeline.log)))
    assert {table: found.get(table) for table in expected} == expected
