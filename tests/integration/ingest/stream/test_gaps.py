"""Lost history is never silent, and what is not lost is never called so."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import pytest

from bemi_django.exceptions import LogBehind, LostHistory
from bemi_django.ingest.stream.connections import connect_destination, connect_source
from bemi_django.verification.moment import Moment, wait_for_log
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.proxy import Proxy


def drop_slot(trail: LoadPipeline) -> None:
    trail.release()
    trail.source.run("SELECT pg_drop_replication_slot(%s)", [trail.slot])


def make_slot_again(trail: LoadPipeline) -> None:
    drop_slot(trail)
    trail.source.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [trail.slot])


def advance_slot(trail: LoadPipeline) -> None:
    trail.write()
    trail.source.run("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [trail.slot])


def invalidate_slot(trail: LoadPipeline) -> None:
    trail.source.run("ALTER SYSTEM SET max_slot_wal_keep_size = 1")
    trail.source.run("SELECT pg_reload_conf()")
    try:
        for _ in range(3):
            trail.source.run("SELECT pg_switch_wal(), txid_current()")
        trail.source.run("CHECKPOINT")
        status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"
        assert trail.source.one(status, [trail.slot]) == "lost"
    finally:
        trail.source.run("ALTER SYSTEM RESET max_slot_wal_keep_size")
        trail.source.run("SELECT pg_reload_conf()")


def copy_slot_without_its_wal(trail: LoadPipeline) -> None:
    trail.lose_wal(trail.slot)


def be_another_server(trail: LoadPipeline) -> None:
    trail.log.run("UPDATE _bemi.checkpoint SET system_identifier = '1'")


def restore_log(trail: LoadPipeline) -> None:
    lsn = trail.log.one("SELECT lsn::text FROM _bemi.checkpoint")
    trail.write(2)
    trail.run()
    trail.log.run("DELETE FROM changes WHERE position > %s::pg_lsn - '0/0'", [lsn])
    trail.log.run("UPDATE _bemi.checkpoint SET lsn = %s", [lsn])


def drop_publication(trail: LoadPipeline) -> None:
    trail.source.run("DROP PUBLICATION bemi")


def make_publication_again(trail: LoadPipeline) -> None:
    drop_publication(trail)
    trail.write()
    trail.publish()


LOSSES: dict[Callable[[LoadPipeline], None], str] = {
    drop_slot: "the replication slot is gone",
    make_slot_again: "it was made again or moved on",
    advance_slot: "it was made again or moved on",
    invalidate_slot: "the server does not have the WAL that the replication slot needs",
    copy_slot_without_its_wal: "the server does not have the WAL that the replication slot needs",
    be_another_server: "the server is another one (system 1, now ",
    restore_log: "or the log was restored to an older state",
    drop_publication: "the publication was dropped",
    make_publication_again: "the publication was dropped and made again",
}


@pytest.mark.parametrize(("lose", "reason"), LOSSES.items(), ids=[lose.__name__ for lose in LOSSES])
def test_lost_history_is_a_row_once_it_is_accepted(
    lose: Callable[[LoadPipeline], None], reason: str, trail: LoadPipeline
) -> None:
    trail.write(2)
    trail.run()
    lose(trail)
    from_lsn, known = trail.log.run("SELECT lsn::text, committed_at FROM _bemi.checkpoint")[0]
    for _ in range(2):
        with pytest.raises(LostHistory) as raised:
            trail.run()
        assert reason in str(raised.value) and f"the log ends at {from_lsn} (" in str(raised.value)
        assert "--accept-gap" in str(raised.value) and "\n" not in str(raised.value)
    assert trail.gaps() == []
    if lose in (drop_slot, invalidate_slot):
        # Who waits for the log is told at once.
        with (
            closing(connect_source(trail.config)) as source,
            closing(connect_destination(trail.config)) as log,
        ):
            never = Moment("", sys.maxsize)
            with pytest.raises(LogBehind, match=r"slot .* (is gone|has lost WAL).*: run .* --accept-gap"):
                wait_for_log(source, log, trail.slot, never, 1e9)

    config = trail.config._replace(accept_gap=True, publish=trail.publish)
    trail.run(config)
    trail.write(2)
    trail.run(config)
    trail.write(2)
    trail.run()
    (gap,) = trail.gaps()
    assert reason in gap["reason"] and gap["from_lsn"] == from_lsn
    assert datetime.fromisoformat(gap["from"]) == known <= datetime.fromisoformat(gap["to"])
    operations = [name for (name,) in trail.log.run("SELECT operation FROM changes ORDER BY id")]
    after = operations[operations.index("GAP") + 1 :]
    assert len(after) >= 4 and "GAP" not in after
    ((to, first),) = trail.log.run(
        "SELECT %s::pg_lsn - '0/0', min(position) FROM (SELECT * FROM changes ORDER BY id DESC LIMIT 4) last",
        [gap["to_lsn"]],
    )
    assert to <= first


@pytest.mark.parametrize("lose", [drop_publication, make_publication_again])
def test_a_publication_that_goes_away_under_the_worker_is_noticed(
    lose: Callable[[LoadPipeline], None], trail: LoadPipeline
) -> None:
    with pytest.raises(LostHistory, match="the publication was dropped"), trail.worker() as worker:
        trail.write()
        trail.catch_up()
        lose(trail)
        until(worker.done)


def test_the_command_goes_on_only_when_it_is_told_to(
    trail: LoadPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_slot(trail)
    with trail.command() as worker:
        assert worker.ends() == 1
        (line,) = worker.errors.splitlines()
        assert line.startswith("CommandError: the replication slot is gone; the log ends at ")
        assert line.endswith(f"). {LostHistory.__doc__}")
    with trail.command("--accept-gap", "--until-current") as worker:
        assert worker.ends() == 0 and "history was lost: the replication slot is gone" in worker.out
    drop_publication(trail)
    monkeypatch.setenv("ACCEPT_GAP", "1")
    # Not as the worker's role, which may make no publication.
    with trail.command("--until-current", source=trail.source.server.url) as worker:
        assert worker.ends() == 0 and "publication: bemi" in worker.out
    gaps = trail.gaps()
    assert [gap["reason"] for gap in gaps] == [
        "the replication slot is gone",
        "the publication was dropped",
    ]
    assert [gap["command"] for gap in gaps] == ["bemi run"] * 2
    assert [gap["arguments"] for gap in gaps] == [{"accept_gap": True}] * 2
    assert all(gap["os_user"] and gap["database_role"] for gap in gaps)


def test_a_worker_that_is_killed_at_any_moment_has_lost_nothing(trail: LoadPipeline) -> None:
    moment = random.Random()
    with trail.load():
        for _ in range(4):
            with trail.command() as worker:
                worker.says("reading the slot")
                count = len(trail.logged()) + moment.randrange(100)
                until(lambda: len(trail.logged()) >= count)  # noqa: B023
                worker.send(signal.SIGKILL)
    trail.run()
    trail.check()
    assert trail.gaps() == []
    # What is counted is in the transaction of the changes.
    counted = trail.log.run(
        "SELECT sum(changes)::bigint FROM _bemi.activity WHERE kind = 'operation' AND unit = 'day'"
    )
    assert counted == trail.log.run("SELECT count(*) FROM changes")


def test_the_slot_is_never_ahead_of_the_log(trail: LoadPipeline) -> None:
    """Else it could not be told from one that was made again."""
    silence = "SELECT extract(epoch FROM clock_timestamp() - max(reply_time)) FROM pg_stat_replication"

    def is_silent() -> bool:
        seconds = trail.source.one(silence)
        # A stream that the server has given up begins again.
        if seconds is None:
            proxy.resume()
        else:
            proxy.stall("plain")
        return (seconds or 0) > 5.5

    with closing(Proxy(trail.source.server.port)) as proxy:
        config = trail.config._replace(source={**trail.config.source, "port": proxy.port})
        with trail.worker(QUICK._replace(silence=10.0), config):
            trail.wait_until_read()
            trail.source.run("INSERT INTO junk VALUES ('x')")
            # The worker waits for an answer; the server says how far it is, and asks for an answer after 5 s.
            # It gives the stream up after 10 s.
            until(is_silent)
            proxy.resume()
            until(lambda: (trail.source.one(silence) or 9) < 0.5)
            for _ in range(20):
                confirmed = trail.confirmed()
                assert confirmed <= trail.checkpoint()
    trail.run()
