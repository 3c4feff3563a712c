# ruff: noqa: S608 - the SQL of tests
"""DDL in one transaction, writes in another: each row is what the session that wrote it saw."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import transaction

from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.rows.catalog.layout_catalog import LayoutCatalog
from bemi_django.ingest.timeouts import Timeouts
from tests.support.pipeline import Pipeline, worker_config
from tests.support.project_database import another_session, execute, wait_until
from tests.support.server_conditions import no_standby
from tests.support.witness import Witness


@pytest.fixture
def witness(pipeline: Pipeline) -> Witness:
    execute("CREATE TYPE lab.pair AS (a int, b text)")
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, pair lab.pair)")
    made = Witness()
    made.keys["lab.t"] = ["id"]
    return made


def write_beside_ddl(witness: Witness, between: Callable[[], object]) -> None:
    """One transaction writes before, during and after another one's ALTER TYPE."""
    with another_session() as other, transaction.atomic():
        witness.insert("lab.t", "1, '(1,x)'")
        other.execute("ALTER TYPE lab.pair RENAME ATTRIBUTE a TO z")
        witness.insert("lab.t", "2, '(2,x)'")
        other.execute("COMMIT")
        between()
        witness.insert("lab.t", "3, '(3,x)'")


def test_a_type_is_altered_while_a_transaction_writes_it(pipeline: Pipeline, witness: Witness) -> None:
    write_beside_ddl(witness, pipeline.drain)
    assert pipeline.drain() == witness.expected
    assert ['"z"' in change.after for change in witness.expected] == [False, False, True]


def test_the_same_is_read_when_all_is_over(pipeline: Pipeline, witness: Witness) -> None:
    pipeline.stop()
    write_beside_ddl(witness, lambda: None)
    assert pipeline.drain() == witness.expected


def test_a_worker_that_starts_between_the_two_commits_may_know_the_new_names_only(
    pipeline: Pipeline, witness: Witness
) -> None:
    def start_anew() -> None:
        pipeline.drain()
        pipeline.stop()
        pipeline.advance()

    write_beside_ddl(witness, start_anew)
    changes = pipeline.drain()
    assert [changes[0], changes[2]] == [witness.expected[0], witness.expected[2]]
    # Unless it reads the ALTER once more, nobody tells it where that was committed: a limit that is written
    # down in the architecture. The values are right in any case.
    then = witness.expected[1].after
    assert changes[1].after in (then, then.replace('{"a": 2, "b": "x"}', '{"b": "x", "z": 2}'))


@pytest.mark.parametrize("is_stopped", [False, True], ids=["running", "stopped"])
def test_a_transaction_ends_before_the_one_that_altered_its_type(
    pipeline: Pipeline, witness: Witness, is_stopped: bool
) -> None:
    # A session that does not know the type yet would wait for its end.
    witness.insert("lab.t", "0, '(0,x)'")
    if is_stopped:
        pipeline.stop()
    with another_session() as other:
        other.execute("ALTER TYPE lab.pair RENAME ATTRIBUTE a TO z; ALTER TYPE lab.pair ADD ATTRIBUTE c int")
        witness.insert("lab.t", "1, '(1,x)'")
        other.execute("COMMIT")
    witness.update("lab.t", "id = 2", "id = 1")
    assert pipeline.drain() == witness.expected


def test_messages_that_look_like_ours_do_no_harm(
    pipeline: Pipeline, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[int] = []
    note = LayoutCatalog.note_ddl

    def counted(self: LayoutCatalog, xid: int, commit_lsn: int) -> None:
        noted.append(xid)
        note(self, xid, commit_lsn)

    monkeypatch.setattr(LayoutCatalog, "note_ddl", counted)
    for is_transactional in ("true", "false"):
        execute(f"SELECT pg_logical_emit_message({is_transactional}, '_bemi_ddl', 'x')")
        witness.insert("lab.t", f"{len(is_transactional)}, '(1,x)'")
    execute("SELECT pg_logical_emit_message(true, '_bemi_ddl', 'x') FROM generate_series(1, 50)")
    assert pipeline.drain() == witness.expected
    # Only transactions that have described tables are remembered.
    described = execute("SELECT since_xid::text::bigint FROM _bemi.relations")
    assert set(noted) <= {xid for (xid,) in described} and len(noted) == len(set(noted))


@pytest.fixture
def absent_standby(pipeline: Pipeline) -> Iterator[None]:
    with no_standby():
        yield


@pytest.mark.administrator
def test_what_the_server_sends_before_it_shows_it_is_waited_for(
    pipeline: Pipeline, witness: Witness, absent_standby: None
) -> None:
    pipeline.stop()
    worker = Worker(worker_config("bemi_laboratory"), Progress(), Timeouts(silence=1.0))
    work = threading.Thread(target=worker.run)
    work.start()
    try:
        with another_session(options="-c synchronous_commit=on") as other:
            pid = other.connection.info.backend_pid
            other.execute("ALTER TABLE lab.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (pair)")
            other.execute("INSERT INTO lab.t VALUES (1, '(1,x)')")
            commit = threading.Thread(target=other.connection.commit)
            commit.start()
            try:
                wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                asked = "query ~ 'SELECT CASE WHEN pg_[v]isible_in_snapshot'"
                wait_until(f"SELECT count(*) FROM pg_stat_activity WHERE {asked}")
                # The stream does not time out meanwhile.
                ((stream,),) = execute("SELECT active_pid FROM pg_replication_slots WHERE active")
                wait_until(
                    "SELECT count(*) FROM pg_stat_replication "
                    f"WHERE pid = {stream} AND clock_timestamp() > backend_start + interval '1.5 s'"
                )
                assert execute("SELECT count(*) FROM changes") == [(0,)]
            finally:
                execute(f"SELECT pg_cancel_backend({pid})")
                commit.join()
        wait_until("SELECT count(*) FROM changes")
    finally:
        worker.stop()
        work.join()
        worker.close()
        Pipeline.of_project("bemi_laboratory").release()
    assert execute("SELECT primary_key FROM changes") == [("(1,x)",)]
