"""``bemi baseline --to``: a sink gets all rows as they are, in their place between the changes."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import psycopg2.errors
import pytest

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.baseline.ranges import Ranges
from bemi_django.exceptions import BemiError
from tests.support.cluster import transaction
from tests.support.exporting import Delivered, Sink
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until
from tests.support.roles import OWNER, WORKER

_GRANTED = "SELECT ON _bemi.baselines, _bemi.baseline_rows"


@pytest.fixture(autouse=True)
def forgotten(trail: LoadPipeline) -> Iterator[None]:
    """Let the worker read ranges, and forget them afterwards."""
    trail.source.run(f"GRANT {_GRANTED} TO {WORKER}")
    yield
    trail.source.run(f"REVOKE {_GRANTED} FROM {WORKER}")
    trail.source.run("DELETE FROM _bemi.baselines; DELETE FROM _bemi.baseline_rows")


def run(sink: Sink, **options: Any) -> list[str]:
    """Give a sink all rows; return what the command says."""
    trail = sink.trail
    source, log = (cluster.parameters_of(OWNER) for cluster in (trail.source, trail.log))
    config = sink.config._replace(source=source, destination=log, export=None)
    return [str(one) for one in baseline(config, BaselineOptions(sink=sink.slot, **options))]


def complete(sink: Sink) -> list[Delivered]:
    """Wait until the sink has everything; check that rows are what the changes around them say."""
    last = sink.trail.source.one("SELECT max(n) FROM load")
    until(lambda: any(one.after["n"] == last for one in sink.read()[-1:]), why=lambda: sink.url)
    found, table = sink.read(), dict[int, int]()
    ids = [change.id for change in found]
    assert ids == sorted(set(ids))
    for change in found:
        key, n = change.after["id"], change.after["n"]
        if change.operation == "BASELINE":
            assert table.get(key, n) == n
        table[key] = n
    assert table == dict(sink.trail.source.run("SELECT id, n FROM load"))
    return found


def test_a_sink_gets_all_rows_while_they_are_written(sink: Sink, settings: Any) -> None:
    settings.BEMI_SINK_SECRET, settings.BEMI_WEBHOOK_NETWORKS = "a secret of sinks", ["127.0.0.0/8"]
    trail = sink.trail
    trail.write(100)
    with trail.worker(config=sink.config):
        until(lambda: sink.is_begun)
        with ThreadPoolExecutor(1) as pool:
            # No more than a slow machine can keep up with.
            writing = pool.submit(trail.write, 90)
            (said,) = run(sink, rows=20)
            writing.result()
        trail.write(1)
        found = complete(sink)
    rows = Counter(one.after["id"] for one in found if one.operation == "BASELINE")
    assert set(rows.values()) == {1}
    assert said == f"public.load: {len(rows)} rows, {len(rows)} of them recorded" and len(rows) >= 67
    # The log has nothing of it, and nothing is read once more.
    assert trail.run() > 0
    assert trail.log.one("SELECT count(*) FROM changes WHERE operation = 'BASELINE'") == 0
    assert run(sink) == [f"{said} by an earlier run (--anew reads them again)"]


def test_an_interrupted_run_and_a_killed_worker_go_on(file_sink: Sink) -> None:
    sink, trail = file_sink, file_sink.trail
    trail.write(90)

    def interrupt(table: str, part: float) -> None:
        if part:
            raise KeyboardInterrupt

    with sink.process() as worker:
        until(lambda: sink.is_begun, why=lambda: worker.errors)
        with pytest.raises(KeyboardInterrupt):
            run(sink, rows=10, watch=interrupt)
        worker.send(signal.SIGKILL)
        worker.ends()
    with trail.worker(config=sink.config):
        assert run(sink, rows=10) == ["public.load: 60 rows, 60 of them recorded"]
        trail.write(1)
        found = complete(sink)
    assert [one.operation for one in found] == ["BASELINE"] * 60 + ["CREATE"]


def test_a_worker_begins_with_the_rows_by_itself(file_sink: Sink) -> None:
    sink, trail = file_sink, file_sink.trail
    trail.write(9)
    for cluster in (trail.source, trail.log):
        cluster.run(f"GRANT {OWNER} TO {WORKER}")
    try:
        with sink.process("--baseline") as worker:
            worker.says("baseline of public.load: 6 rows, 6 of them recorded")
            trail.write(1)
            found = complete(sink)
            worker.send(signal.SIGTERM)
            assert worker.ends() == 0
    finally:
        for cluster in (trail.source, trail.log):
            cluster.run(f"REVOKE {OWNER} FROM {WORKER}")
    assert [one.operation for one in found] == ["BASELINE"] * 6 + ["CREATE"]


def test_a_row_that_somebody_changes_is_waited_for(
    file_sink: Sink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, trail = file_sink, file_sink.trail
    monkeypatch.setattr("bemi_django.baseline.baseline._ATTEMPTS", 3)
    monkeypatch.setattr("bemi_django.baseline.ranges._GIVE_WAY", "SET LOCAL lock_timeout = '20ms'")
    trail.write(9)
    with trail.worker(config=sink.config):
        until(lambda: sink.is_begun)
        with transaction(trail.source) as cursor:
            cursor.execute("UPDATE load SET filler = '' WHERE id = 5")
            (said,) = run(sink, rows=4)
            assert "is being changed or locked all the time" in said
        assert run(sink, rows=4) == ["public.load: 6 rows, 6 of them recorded"]
    assert (
        "begins with what is committed from now on: 'manage.py bemi run --to ... --baseline'" in caplog.text
    )


def test_rows_that_are_locked_here_and_there_do_not_end_it(
    file_sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ranges without rows that meet the condition, none is waited for."""
    leave_next, is_free = Ranges.leave_next, cycle([False, True])

    def leave_now_and_then(ranges: Ranges, upto: list[str] | None, rows: int) -> int | None:
        if not next(is_free):
            raise psycopg2.errors.LockNotAvailable
        return leave_next(ranges, upto, rows)

    monkeypatch.setattr(Ranges, "leave_next", leave_now_and_then)
    monkeypatch.setattr("bemi_django.baseline.baseline._ATTEMPTS", 3)
    file_sink.run()
    file_sink.trail.write(9)
    assert run(file_sink, rows=1, only=["public.load"], condition="n < 0") == [
        "public.load: 6 rows, 0 of them recorded"
    ]


def test_a_sink_that_has_not_begun_is_refused(file_sink: Sink) -> None:
    file_sink.trail.write(1)
    with pytest.raises(BemiError, match=f"there is no log of the slot {file_sink.slot} yet"):
        run(file_sink)
