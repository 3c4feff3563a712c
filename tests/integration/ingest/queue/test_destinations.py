"""Several destinations read one queue: each change is in one of them, once, whatever is killed or away."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import isolate_apps
from psycopg2.extras import Json

from bemi_django.destinations import choosing
from bemi_django.exceptions import BemiError, LogBehind, QueueUnavailable, ReplicationError
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.course.course_follower import CourseFollower
from bemi_django.log.blame import blame
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import sql
from bemi_django.schema.database_names import aliases_of
from bemi_django.seals.anchoring import AnchorWriter
from bemi_django.seals.verify import snapshot, verify_over
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.divided_pipeline import DividedPipeline
from tests.support.load_pipeline import load_cluster
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.project_database import moved
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.skewed_queue import skew_queue
from tests.support.switched_project import load_model

BLOWS = int(os.environ.get("BEMI_BLOWS", "1"))
SEED = int(os.environ.get("BEMI_SEED", "1"))
IMPATIENT = QUICK._replace(patience=0.0)
BY_HASH = {"hash": "1/2"}
#: Where a log is, as a backup has it with its changes.
_BACKUP = """
CREATE TABLE kept_lanes AS TABLE _bemi.lanes;
CREATE TABLE kept_checkpoint AS TABLE _bemi.checkpoint;
"""
_RESTORE = """
SET ROLE NONE;
DELETE FROM changes WHERE id > %s::uuid;
TRUNCATE _bemi.lanes, _bemi.checkpoint;
INSERT INTO _bemi.lanes TABLE kept_lanes;
INSERT INTO _bemi.checkpoint TABLE kept_checkpoint;
DROP TABLE kept_lanes, kept_checkpoint;
"""
BY_TABLE = {"tables": ["public.load"]}


@pytest.fixture(scope="module")
def second_log() -> Iterator[Cluster]:
    with closing(load_cluster(wal_level="replica")) as cluster:
        yield cluster


@pytest.fixture
def by_hash(queued: QueuedPipeline, second_log: Cluster) -> Iterator[DividedPipeline]:
    with DividedPipeline(queued, second_log, BY_HASH).emptied() as divided:
        yield divided


@pytest.fixture
def by_table(queued: QueuedPipeline, second_log: Cluster) -> Iterator[DividedPipeline]:
    with DividedPipeline(queued, second_log, BY_TABLE).emptied() as divided:
        yield divided


def test_each_destination_has_its_part_and_its_position(by_table: DividedPipeline) -> None:
    divided, queued = by_table, by_table.queued
    divided.trail.source.run("ALTER PUBLICATION bemi ADD TABLE junk")
    divided.trail.write(10)
    divided.trail.source.run("INSERT INTO junk VALUES ('a'), ('b')")
    divided.trail.source.run("TRUNCATE load")
    assert divided.publish() == 13
    assert divided.consume("second") == 11
    # The first one lacks all of it.
    assert queued.server.messages() > 0
    assert divided.consume("log") == 2
    tables = 'SELECT DISTINCT "table", operation FROM changes ORDER BY 1, 2'
    assert divided.trail.log.run(tables) == [("junk", "CREATE")]
    assert divided.second.run(tables) == [("load", "CREATE"), ("load", "TRUNCATE"), ("load", "UPDATE")]
    divided.are_complete()
    # A transaction of which a destination gets nothing moves its position.
    divided.trail.source.run("INSERT INTO junk VALUES ('c')")
    assert (divided.publish(), divided.consume("second"), divided.consume("log")) == (1, 0, 1)
    divided.are_complete()
    again = "SELECT slot, system_identifier, timeline, publication, database FROM _bemi.checkpoint"
    assert divided.second.run(again) == divided.trail.log.run(again)


def test_an_update_of_the_key_is_in_one_destination(by_hash: DividedPipeline) -> None:
    divided = by_hash
    divided.trail.write(20)
    divided.trail.source.run("UPDATE load SET id = -id")
    rows = divided.trail.source.one("SELECT count(*) FROM load")
    assert divided.publish() == 20 + rows
    written = divided.consume("log"), divided.consume("second")
    assert sum(written) == 20 + rows
    assert min(written) > 0
    keys = "SELECT id::text FROM changes WHERE previous_primary_key IS NOT NULL"
    assert len({*divided.trail.log.run(keys), *divided.second.run(keys)}) == rows


def test_the_queue_keeps_what_a_destination_lacks_that_is_away(
    by_hash: DividedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its clock, the stream is made after all that is written.
    skew_queue(monkeypatch, 3)
    divided, queued = by_hash, by_hash.queued
    divided.trail.write(10)
    divided.publish()
    divided.second.stop()
    try:
        divided.consume("log")
        divided.trail.write(10)
        divided.publish()
        divided.consume("log")
        assert queued.server.messages() > 0
    finally:
        divided.second.start()
    divided.consume("second")
    divided.catch_up()
    divided.are_complete()
    with divided.running("log", "second"):
        until(lambda: queued.server.messages() == 0)


@pytest.fixture
def project(by_hash: DividedPipeline, django_db_blocker: Any) -> Iterator[DividedPipeline]:
    with django_db_blocker.unblock(), by_hash.project():
        yield by_hash


def test_a_stream_that_is_made_again_keeps_what_a_destination_lacks(
    by_hash: DividedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its clock, the second stream is made before what was written of the first one.
    skew_queue(monkeypatch, -3)
    divided = by_hash
    for _ in range(3):
        divided.trail.write(2)
        divided.publish()
    divided.consume("log")
    divided.consume("second")
    divided.queued.server.delete()
    divided.trail.write(10)
    divided.publish()
    with divided.running("log"):
        # The time in which it looks at what the other one has.
        until(lambda: divided.checkpoint("log") >= divided.trail.confirmed())
        time.sleep(1.0)
    assert divided.queued.server.messages() > 0
    divided.consume("second")
    divided.catch_up()
    divided.are_complete()


def test_one_destination_is_asked_or_all_of_them(project: DividedPipeline) -> None:
    project.trail.write(30)
    # Keys that move between the destinations.
    project.trail.source.run("UPDATE load SET id = id + 1000; UPDATE load SET n = n + 100 WHERE id = 1001")
    rows = project.trail.source.one("SELECT count(*) FROM load")
    project.publish()
    total = project.consume("log") + project.consume("second")
    place = Place("postgres", "public", "load")
    everywhere = Change.objects.everywhere().of_table(place)
    assert everywhere.count() == total == 31 + rows
    found = list(everywhere)
    assert [change.pk for change in found] == sorted(change.pk for change in found)
    assert {change.destination for change in found} == {"log", "second"}
    for alias in ("log", "second"):
        one = Change.objects.using(alias).of_table(place)
        assert list(one) == [change for change in found if change.destination == alias]
    assert list(Change.objects.all()) == list(Change.objects.using("log"))
    assert everywhere[:5] == found[:5] and everywhere[5:9] == found[5:9] and everywhere[7] == found[7]
    assert list(everywhere.desc()) == found[::-1]
    assert (everywhere.first(), everywhere.last()) == (found[0], found[-1])
    assert everywhere.updated().filter(previous_primary_key=None).count() == 30 - rows + 1
    assert everywhere.exists() and not everywhere.deleted().exists()
    with pytest.raises(IndexError):
        everywhere[total]
    with isolate_apps("tests.shop"):
        load = load_model()
    row = load.objects.using("shop").get(pk=1001)
    history = [
        (change.operation, change.primary_key) for change in Change.objects.everywhere().for_object(row)
    ]
    assert history == [("CREATE", "1"), ("UPDATE", "1001"), ("UPDATE", "1001")]
    with pytest.raises(BemiError, match=r"are in log and second .*: ask Change.objects.everywhere\(\)"):
        Change.objects.for_object(row)
    with pytest.raises(BemiError, match="are in log and second"):
        Change.objects.for_model(load, "shop")
    # A change that both have, since somebody has copied it, is there once.
    twice = project.second.run("SELECT * FROM changes ORDER BY id LIMIT 1")
    columns = ", ".join(["%s"] * len(twice[0]))
    project.trail.log.run(
        f"INSERT INTO changes VALUES ({columns})",  # noqa: S608 - only places
        [Json(value) if isinstance(value, dict) else value for value in twice[0]],
    )
    assert list(everywhere) == found
    assert everywhere.count() == total + 1
    # As all logs have a gap.
    for log in project.logs.values():
        log.run(
            "SET ROLE NONE; UPDATE changes SET operation = 'GAP', \"table\" = '' WHERE id = %s", [twice[0][0]]
        )
    whole = Change.objects.everywhere()
    assert whole.count() == len(list(whole)) == total


def test_the_destination_of_a_table_is_found(by_table: DividedPipeline, django_db_blocker: Any) -> None:
    divided = by_table
    divided.trail.write(3)
    divided.publish()
    divided.consume("second")
    with django_db_blocker.unblock(), divided.project(), isolate_apps("tests.shop"):
        load = load_model()
        row = load.objects.using("shop").get(n=3)
        changes = Change.objects.for_object(row)
        assert [change.destination for change in changes] == ["second", "second"]
        assert Change.objects.for_model(load, "shop").count() == 3
        newest = changes.latest("id")
        assert blame(row)["n"].change == newest
        assert not Change.objects.all().exists()
        divided.consume("log")
        plan = newest.revert(dry_run=True)
        assert [step.primary_key for step in plan.steps] == ["2"]
        with choosing("log"):
            assert not Change.objects.for_object(row).exists()


def test_what_was_changed_together_is_reverted_from_all_destinations(project: DividedPipeline) -> None:
    divided, source = project, project.trail.source
    divided.trail.write(20)
    source.run("DELETE FROM load")
    divided.publish()
    divided.consume("log")
    deleted = Change.objects.everywhere().deleted()
    number = deleted.count()
    # Who may not read how far a log is, does not know whether it has all of a transaction.
    divided.second.run("CREATE ROLE stranger; GRANT SELECT ON changes TO stranger")
    with connections["second"].cursor() as cursor:
        cursor.execute("SET ROLE stranger")
        with pytest.raises(LogBehind, match="the log in second has all .* is not known"):
            deleted.revert()
        cursor.execute("RESET ROLE")
    divided.second.run("REVOKE SELECT ON changes FROM stranger; DROP ROLE stranger")
    # The other destination has not come to it: half of a transaction is not reverted.
    with pytest.raises(LogBehind, match="the log in second does not have all changes"):
        deleted.revert()
    divided.consume("second")
    assert deleted.count() > number > 0
    with choosing("log"), pytest.raises(CommandError, match="no changes of transaction 1:"):
        call_command("bemi", "revert", "--database", "shop", "--transaction", "1", "--noinput")
    transaction = str(deleted[0].transaction_id)
    server = source.server
    with moved(
        HOST=server.host, PORT=server.port, NAME=server.dbname, USER=server.user, PASSWORD=server.password
    ):
        call_command("bemi", "revert", "--transaction", transaction, "--noinput")
    assert source.one("SELECT count(*) FROM load") == deleted.count()
    # Logs may be in databases of the same name.
    found = aliases_of(server.dbname)
    assert found.index("shop") < min(found.index("log"), found.index("second"))
    # A table that another destination has removed is named.
    divided.second.run(sql.up("retention_v1"))
    gone = """
        INSERT INTO _bemi.completeness
        SELECT database, 'public', 'gone', %s, true, 1, id, committed_at, transaction_id FROM changes
        LIMIT 1"""
    divided.second.run(gone, [deleted[0].committed_at.date().replace(day=1)])
    (chosen,) = Change.objects.using("log").deleted()[:1]
    assert [pruned.table for pruned in chosen.revert(dry_run=True).pruned] == ["gone"]


def verified(divided: DividedPipeline, name: str) -> tuple[list[str], int]:
    """Return what is wrong with the seals of a destination, and the number of changes that they cover."""
    with closing(psycopg2.connect(**divided.logs[name].parameters)) as connection:
        connection.autocommit = True
        found = verify_over(connection, (), lambda what, part: None, snapshot)
    return [finding.kind for finding in found.findings], found.changes


def test_each_destination_seals_its_part(
    by_hash: DividedPipeline, tmp_path: Path, django_db_blocker: Any
) -> None:
    divided, queued = by_hash, by_hash.queued
    queued.config = queued.config._replace(is_sealed=True)

    try:
        for _ in range(2):
            divided.trail.write(20)
            divided.publish()
            for name in divided.logs:
                divided.consume(name)
                count = divided.logs[name].one("SELECT count(*) FROM changes")
                assert verified(divided, name) == ([], count)
        anchors, said = str(tmp_path / "anchors.jsonl"), io.StringIO()

        def compare(name: str) -> None:
            with django_db_blocker.unblock(), divided.project():
                call_command(
                    "bemi", "verify", "--chain", "--anchor", anchors, "--destination", name, stdout=said
                )

        with django_db_blocker.unblock(), divided.project():
            assert AnchorWriter([anchors]).write()
        compare("log")
        compare("second")
        divided.second.run(
            "SET ROLE NONE; UPDATE changes SET context = '{}' WHERE id = (SELECT id FROM changes LIMIT 1)"
        )
        assert verified(divided, "second")[0] == ["edited"]
        assert verified(divided, "log")[0] == []
        # Chains that were removed with their links are missed where they were, and only there.
        divided.second.run("SET ROLE NONE; TRUNCATE _bemi.links, _bemi.chains")
        with pytest.raises(CommandError, match="differ in"):
            compare("second")
        compare("log")
        written = [json.loads(line)["destination"] for line in Path(anchors).read_text().splitlines()]
        assert set(written) == {"log", "second"}
        others = f"anchors of other destinations, which were not compared: {written.count('second')}\n"
        assert others in said.getvalue()
    finally:
        divided.trail.log.run("TRUNCATE _bemi.links, _bemi.chains")


def test_a_destination_follows_another_number_of_lanes(by_hash: DividedPipeline) -> None:
    divided = by_hash
    more = DividedPipeline(
        QueuedPipeline(divided.trail, divided.queued.server, lanes=5), divided.second, BY_HASH
    )
    divided.trail.write(10)
    divided.publish()
    with divided.running("log", "second"):
        until(lambda: divided.queued.server.messages() == 0)
    divided.trail.write(10)
    more.publish()
    assert more.consume("log") + more.consume("second") == 10
    more.catch_up()
    more.are_complete()
    assert [lane for lane, *_ in more.second.run("SELECT lane FROM _bemi.lanes ORDER BY lane")] == [
        0,
        1,
        2,
        3,
        4,
    ]
    # A destination that lacks changes of the former lanes does not go on.
    more.second.run(
        "DELETE FROM _bemi.lanes WHERE lane = 4; UPDATE _bemi.lanes SET sequence = 0 WHERE lane = 1"
    )
    more.trail.write(1)
    more.publish()
    with pytest.raises(ReplicationError, match="5 lanes of bemi_trail, and the 4 in this log lack some"):
        more.consume("second")


def test_a_consumer_that_runs_follows_another_number_of_lanes(
    by_hash: DividedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It has time to take what comes before it looks at how many lanes there are.
    monkeypatch.setattr("bemi_django.ingest.queue.consumption._BALANCE", 1.5)
    divided = by_hash
    more = DividedPipeline(
        QueuedPipeline(divided.trail, divided.queued.server, lanes=5), divided.second, BY_HASH
    )
    with divided.running("log", "second"):
        divided.trail.write(10)
        divided.publish()
        until(lambda: divided.queued.server.messages() == 0)
        divided.trail.write(20)
        more.publish()
        more.catch_up()
    more.are_complete()


def test_what_was_published_with_another_division_is_never_divided_anew(by_hash: DividedPipeline) -> None:
    former, url = by_hash, by_hash.queued
    present = DividedPipeline(url, former.second, {"hash": "2/2"})
    former.trail.write(20)
    former.publish()
    for name in ("log", "second"):
        with pytest.raises(ReplicationError, match="with another BEMI_DESTINATIONS .* for log, second"):
            present.consume(name)
    assert former.consume("log") > 0
    former.trail.write(10)
    with pytest.raises(QueueUnavailable, match="another BEMI_DESTINATIONS, and second lacks"):
        Supervisor(present.publishing, IMPATIENT).run(until_current=True)
    # One that knows no other destination removes nothing that the other one lacks.
    assert url.consume() == 0
    assert url.server.messages() > 0
    former.consume("second")
    assert present.publish() == 10
    for name in ("log", "second"):
        with pytest.raises(ReplicationError, match="first those with the former one"):
            former.consume(name)
        assert present.consume(name) > 0
    present.catch_up()
    present.are_complete()
    with present.running("log", "second"):
        until(lambda: url.server.messages() == 0)


def test_a_destination_that_is_restored_from_a_backup_reads_again_what_is_kept(
    queued: QueuedPipeline, second_log: Cluster
) -> None:
    keeping = QueuedPipeline(queued.trail, queued.server, keep="1h")
    with DividedPipeline(keeping, second_log, BY_HASH).emptied() as divided:
        divided.trail.write(10)
        divided.publish()
        divided.consume("log")
        divided.consume("second")
        divided.second.run(_BACKUP)
        kept = divided.logged("second")
        divided.trail.write(10)
        divided.publish()
        divided.consume("second")
        assert len(divided.logged("second")) > len(kept)
        divided.second.run(_RESTORE, [kept[-1][0]])
        assert divided.logged("second") == kept
        divided.consume("log")
        divided.consume("second")
        divided.catch_up()
        divided.are_complete()


def test_databases_that_were_exchanged_are_noticed(by_hash: DividedPipeline) -> None:
    divided = by_hash
    divided.trail.write(10)
    divided.publish()
    divided.consume("log")
    right = dict(divided.logs)
    for wrong, name in (
        ({"log": right["second"], "second": right["log"]}, "second"),
        ({"log": right["log"], "second": right["log"]}, "second"),
    ):
        divided.logs = wrong
        with pytest.raises(ReplicationError, match=f"{name} is a database .* for the destination log"):
            divided.consume(name)
    divided.logs = right
    divided.consume("second")
    divided.trail.write(10)
    divided.publish()
    divided.logs = {"log": right["second"], "second": right["log"]}
    with pytest.raises(ReplicationError, match="log is a database .* for the destination second"):
        divided.consume("log")
    divided.logs = right
    assert divided.consume("log") + divided.consume("second") == 10
    divided.catch_up()
    divided.are_complete()


def test_a_new_destination_has_nothing_that_was_published_before_it(by_hash: DividedPipeline) -> None:
    divided, queued = by_hash, by_hash.queued
    divided.trail.write(10)
    queued.publish()
    assert divided.consume("second") == 0
    with pytest.raises(ReplicationError, match="for one log"):
        divided.consume("log")
    divided.trail.write(10)
    with pytest.raises(QueueUnavailable, match="the log lacks"):
        Supervisor(divided.publishing, IMPATIENT).run(until_current=True)
    assert queued.consume() == 10
    divided.publish()
    with pytest.raises(ReplicationError, match="for log, second"):
        queued.consume()
    assert 0 < divided.consume("second") + divided.consume("log") == 10
    divided.catch_up()
    divided.are_complete()


def test_a_gap_is_followed_whoever_is_killed(
    by_hash: DividedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided, trail = by_hash, by_hash.trail
    gapped = divided.publishing._replace(accept_gap=True)
    divided.queued.config = divided.queued.config._replace(is_sealed=True)
    trail.write(10)
    divided.publish()
    divided.consume("log")
    publish = Broker.publish
    for number, lane in enumerate(("none", ".1"), 1):
        trail.source.run("SELECT pg_drop_replication_slot(%s)", [trail.slot])
        trail.source.run("UPDATE load SET filler = 'lost'")

        # The publisher is killed when the gap is in the first log, and before the queue knows all of it.
        def publish_some(
            broker: Broker, messages: Sequence[Outgoing], acknowledgements: Acknowledgements, lane: str = lane
        ) -> None:
            stored = [one for one in messages if one.subject.endswith(lane)]
            publish(broker, stored, Acknowledgements(len(stored), lambda: None))
            acknowledgements.fail(QueueUnavailable("killed"))

        with monkeypatch.context() as patched:
            patched.setattr(Broker, "publish", publish_some)
            with pytest.raises(QueueUnavailable, match="killed"):
                Supervisor(gapped, IMPATIENT).run(until_current=True)
        trail.write(10)
        divided.publish()
        divided.consume("log")
        assert trail.log.one("SELECT count(*) FROM changes WHERE operation = 'GAP'") == number
    take, taken = CourseFollower._take, iter(range(9))

    def take_some(follower: CourseFollower, *what: Any) -> None:
        take(follower, *what)
        if next(taken) < 2:
            raise psycopg2.OperationalError("killed")

    monkeypatch.setattr(CourseFollower, "_take", take_some)
    divided.consume("second")
    divided.catch_up()
    divided.are_complete()
    gaps = "SELECT id::text, committed_at, context FROM changes WHERE operation = 'GAP' ORDER BY id"
    assert divided.second.run(gaps) == trail.log.run(gaps)
    state = "SELECT lane, sequence FROM _bemi.lanes ORDER BY lane"
    assert divided.second.run(state) == trail.log.run(state)
    with divided.running("log", "second"):
        until(lambda: divided.queued.server.messages() == 0)
    try:
        for name in divided.logs:
            assert verified(divided, name) == ([], divided.logs[name].one("SELECT count(*) FROM changes"))
    finally:
        trail.log.run("TRUNCATE _bemi.links, _bemi.chains")


def test_a_gap_is_no_excuse_for_what_only_another_destination_has(by_hash: DividedPipeline) -> None:
    divided, trail = by_hash, by_hash.trail
    trail.write(10)
    divided.publish()
    divided.consume("second")
    trail.write(10)
    divided.publish()
    divided.consume("log")
    # Somebody has emptied the stream, and the first log goes on after a gap.
    divided.queued.server.delete()
    trail.source.run("SELECT pg_drop_replication_slot(%s)", [trail.slot])
    trail.write(1)
    trail.run(divided.publishing._replace(accept_gap=True))
    trail.write(10)
    divided.publish()
    assert divided.consume("log") > 0
    with pytest.raises(ReplicationError, match="begin it again in a new database, with --from"):
        divided.consume("second")
    numbers = {n for _, n in divided.logged("second")}
    assert numbers and max(numbers) <= 10
    said = "SELECT trouble FROM _bemi.checkpoint WHERE slot = %s"
    assert "in a new database, with --from" in divided.second.one(said, [trail.slot])
    assert divided.queued.server.messages() > 0


def test_nothing_is_lost_and_nothing_twice(by_hash: DividedPipeline) -> None:
    divided, url = by_hash, by_hash.queued.url
    chance = random.Random(SEED)
    arguments = {
        "publisher": ("run", "--to", url),
        "log": ("consume", url),
        "second": ("consume", url, "--destination", "second"),
    }
    # What is not struck is a thread, which begins sooner.
    struck = ("second", "log", "publisher")[:BLOWS]
    with ExitStack() as stack:

        def start(name: str) -> Command:
            return stack.enter_context(divided.process(*arguments[name]))

        with divided.trail.load():
            running = {name: start(name) for name in struck}
            if "publisher" not in struck:
                stack.enter_context(divided.trail.worker(config=divided.publishing))
            if "log" not in struck:
                stack.enter_context(divided.running("log"))
            until(
                lambda: divided.logged("log") and divided.logged("second"),
                why=lambda: "".join(one.out + one.errors for one in running.values()),
            )
            for blow in range(BLOWS):
                # Random moments are what this is about.
                time.sleep(chance.uniform(0.05, 0.4))
                name = struck[blow % len(struck)]
                if name == "second":
                    divided.second.stop(is_crash=True)
                    time.sleep(chance.uniform(0.0, 0.3))
                    divided.second.start()
                running[name].send(signal.SIGKILL)
                assert running[name].ends() == -signal.SIGKILL
                running[name] = start(name)
        divided.catch_up()
        divided.are_complete()
        until(lambda: divided.queued.server.messages() == 0)
        assert not any("row-value" in one.out + one.errors for one in running.values())
