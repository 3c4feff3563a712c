"""Consumers seal what they write: each lane has a chain, and all of them together hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.seals import verify
from bemi_django.seals.anchors import Anchor
from bemi_django.seals.chain_links import ChainLinks
from bemi_django.seals.findings import ChainReport
from bemi_django.seals.records import note_changed_rows
from bemi_django.seals.verify import snapshot, verify_over
from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.superuser import Superuser

#: How often lanes are attacked.
ATTACKS = int(os.environ.get("BEMI_ATTACKS", "12"))
_OTHERS = """database, schema, "table", operation, before, after, context, committed_at, queued_at,
    transaction_id, position"""
#: A copy of a change, at another place of the same source.
INSERTED = f"""
INSERT INTO changes (id, {_OTHERS}) SELECT overlay(id::text PLACING '1' FROM 20 FOR 1)::uuid, {_OTHERS}
FROM changes ORDER BY id OFFSET {{}} LIMIT 1
"""  # noqa: S608 - names of our own


@pytest.fixture
def sealed(trail: LoadPipeline, nats_server: NatsServer) -> Iterator[QueuedPipeline]:
    trail.config = trail.config._replace(is_sealed=True)
    trail.run()
    yield QueuedPipeline(trail, nats_server)
    nats_server.delete()
    trail.log.run("TRUNCATE _bemi.links, _bemi.chains")


def set_sealing(queued: QueuedPipeline, *, is_on: bool) -> None:
    queued.config = queued.config._replace(is_sealed=is_on)


def record(queued: QueuedPipeline, number: int) -> None:
    queued.trail.write(number)
    queued.publish()
    assert queued.consume() == number


def report(queued: QueuedPipeline, progress: Path | None = None) -> ChainReport:
    with closing(psycopg2.connect(**queued.trail.log.parameters)) as connection:
        connection.autocommit = True
        path = None if progress is None else str(progress)
        return verify_over(connection, (), lambda what, part: None, snapshot, path)


def kinds(queued: QueuedPipeline) -> list[str]:
    return [finding.kind for finding in report(queued).findings]


def whole(queued: QueuedPipeline) -> tuple[int, int]:
    """Return the numbers of sealed and of other changes of a log of which nothing is wrong."""
    found = report(queued)
    assert list(map(str, found.findings)) == []
    counted = queued.trail.log.one("SELECT count(*) FROM changes")
    assert found.changes + found.unsealed == counted
    return found.changes, found.unsealed


def chains(queued: QueuedPipeline) -> dict[str, bool]:
    return dict(queued.trail.log.run("SELECT name, is_open FROM _bemi.chains ORDER BY name"))


def test_what_consumers_write_is_sealed_by_lane(sealed: QueuedPipeline) -> None:
    record(sealed, 30)
    assert chains(sealed) == {"bemi_trail": False, **{f"bemi_trail.{lane}": True for lane in range(3)}}
    record(sealed, 10)
    assert whole(sealed) == (40, 0)
    lanes = "SELECT count(*) FROM _bemi.links WHERE kind = 'changes' AND chain LIKE 'bemi_trail.%'"
    assert sealed.trail.log.one(lanes) >= 6


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        ("""UPDATE changes SET after = '{}' WHERE id = {change}""", ["edited"]),
        ("DELETE FROM changes WHERE id = {change}", ["removed"]),
        (INSERTED.format(10), ["inserted"]),
        ("DELETE FROM _bemi.links WHERE chain = 'bemi_trail.1' AND number = 2", ["link"]),
        (
            "DELETE FROM _bemi.links WHERE chain = 'bemi_trail.1';"
            "DELETE FROM _bemi.chains WHERE name = 'bemi_trail.1'",
            ["link"],
        ),
        ("DELETE FROM _bemi.chains WHERE name = 'bemi_trail.1'", ["link"]),
    ],
)
def test_what_is_done_to_a_lane_is_found(sealed: QueuedPipeline, attack: str, found: list[str]) -> None:
    record(sealed, 20)
    change = "(SELECT id FROM changes ORDER BY id OFFSET 10 LIMIT 1)"
    sealed.trail.log.run("SET ROLE NONE;" + attack.replace("{change}", change))
    assert set(found) <= set(kinds(sealed))


def test_random_attacks_on_lanes_are_found_and_forged_chains_by_anchors(sealed: QueuedPipeline) -> None:
    log = sealed.trail.log
    told: list[bool] = []
    with closing(Superuser(log.parameters, seed=13)) as superuser:
        kept: list[Anchor] = []
        for _ in range(2):
            record(sealed, 12)
            erase_and_remove(sealed)
            whole(sealed)
            for _ in range(-(-ATTACKS // 2)):
                superuser.attack()
            told += [superuser.forge(kept) for _ in range(max(ATTACKS // 100, 3))]
            # Half of the changes have come since: a few forgeries may all be of these, or of the others.
            while kept and len(set(told)) < 2 and len(told) < 50:
                told.append(superuser.forge(kept))
            heads = log.run("SELECT name, number, encode(hash, 'hex'), '' FROM _bemi.chains WHERE number > 0")
            kept = [Anchor(*head) for head in heads]
    assert set(told) == {True, False}


def test_sealing_begins_and_ends_in_all_lanes(sealed: QueuedPipeline) -> None:
    set_sealing(sealed, is_on=False)
    record(sealed, 5)
    assert not any(chains(sealed).values())
    set_sealing(sealed, is_on=True)
    # One lane has changes.
    record(sealed, 1)
    record(sealed, 10)
    set_sealing(sealed, is_on=False)
    record(sealed, 5)
    assert whole(sealed) == (11, 10)
    # Without a queue it begins again.
    sealed.trail.write(5)
    sealed.trail.run()
    set_sealing(sealed, is_on=True)
    record(sealed, 5)
    assert whole(sealed) == (21, 10)
    sealed.trail.write(5)
    sealed.trail.run()
    assert chains(sealed) == {"bemi_trail": True, **{f"bemi_trail.{lane}": False for lane in range(3)}}
    assert whole(sealed) == (26, 10)
    sealed.trail.log.run("DELETE FROM changes WHERE (after ->> 'n')::int IN (7, 25)")
    assert kinds(sealed) == ["removed", "removed"]


def test_another_number_of_lanes_has_other_chains(sealed: QueuedPipeline) -> None:
    record(sealed, 20)
    for lanes in (5, 2):
        more = QueuedPipeline(sealed.trail, sealed.server, lanes=lanes)
        record(more, 20)
        assert len(more.lanes()) == lanes
        assert sum(chains(more).values()) == lanes
    assert whole(sealed) == (60, 0)
    for place in (10, 30, 48):
        sealed.trail.log.run(INSERTED.format(place))
    assert kinds(sealed) == ["inserted"] * 3


def test_the_chains_hold_while_consumers_write_and_are_killed(
    sealed: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMPER_EVIDENCE", "1")
    trail = sealed.trail
    with (
        trail.load(),
        sealed.publisher(),
        sealed.consumers(2),
        sealed.process("consume", sealed.url) as consumer,
    ):
        consumer.says("writing lane")
        count = len(trail.logged())
        until(lambda: len(trail.logged()) >= count + 20)
        assert report(sealed).findings == []
        consumer.send(signal.SIGKILL)
    sealed.publish()
    sealed.consume()
    trail.check()
    assert whole(sealed)[1] == 0


def test_a_verification_of_lanes_that_was_interrupted_goes_on(
    sealed: QueuedPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        record(sealed, 6)
    sealed.trail.log.run("DELETE FROM changes WHERE (after ->> 'n')::int IN (3, 20)")
    monkeypatch.setattr(ChainLinks.read, "__defaults__", (1,))
    monkeypatch.setattr(verify, "SAVE_EVERY", 0)
    expected = report(sealed)
    assert [one.kind for one in expected.findings] == ["removed", "removed"]
    path = tmp_path / "progress"
    steps = 0

    def watch(chain: str, part: float) -> None:
        nonlocal steps
        steps += 1
        if steps % 3 == 0:
            raise KeyboardInterrupt

    with closing(psycopg2.connect(**sealed.trail.log.parameters)) as connection:
        connection.autocommit = True
        while True:
            try:
                found = verify_over(connection, (), watch, snapshot, str(path))
                break
            except KeyboardInterrupt:
                continue
    assert steps > 6
    assert found == expected


def test_a_gap_is_sealed(sealed: QueuedPipeline) -> None:
    record(sealed, 5)
    sealed.trail.source.run(f"SELECT pg_drop_replication_slot('{sealed.trail.slot}')")
    sealed.trail.write(2)
    sealed.trail.run(sealed.config._replace(accept_gap=True))
    record(sealed, 3)
    assert whole(sealed) == (9, 0)
    sealed.trail.log.run("DELETE FROM changes WHERE operation = 'GAP'")
    assert kinds(sealed) == ["removed"]


def test_changes_that_were_published_before_sealing_began_are_sealed(sealed: QueuedPipeline) -> None:
    """Their JSON is not what jsonb prints."""
    source = sealed.trail.source
    set_sealing(sealed, is_on=False)
    source.run("ALTER TABLE load ADD raw json, ADD number float8")
    try:
        source.run("""INSERT INTO load VALUES (1, 1, 'x', '{"bb": 1,   "a": [1.50, {}]}', 1e-7)""")
        sealed.publish()
        set_sealing(sealed, is_on=True)
        assert sealed.consume() == 1
        assert whole(sealed) == (1, 0)
    finally:
        source.run("ALTER TABLE load DROP raw, DROP number")


def test_what_the_destination_refuses_is_sealed_without_its_values(sealed: QueuedPipeline) -> None:
    refuse = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.after ->> 'n' = '3' THEN RAISE 'refused' USING ERRCODE = '22000'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION refuse()"""
    sealed.trail.log.run(refuse)
    try:
        record(sealed, 5)
    finally:
        sealed.trail.log.run("DROP TRIGGER refuse ON changes; DROP FUNCTION refuse")
    assert sealed.trail.log.one("SELECT count(*) FROM changes WHERE unavailable IS NOT NULL") == 1
    assert whole(sealed) == (5, 0)
    sealed.trail.log.run("DELETE FROM _bemi.dead_letters")


def test_consumers_of_two_minds_leave_chains_that_hold(sealed: QueuedPipeline) -> None:
    record(sealed, 5)
    sealed.trail.write(5)
    sealed.publish()
    off: Any = sealed.config._replace(is_sealed=False)
    Consumer(off, QUICK).run(until_current=True)
    record(sealed, 5)
    assert whole(sealed) == (10, 5)


def erase_and_remove(queued: QueuedPipeline) -> tuple[list[str], str]:
    """Replace two changes and remove one, as the package does; return their ids."""
    trail = queued.trail
    ids = [identifier for (identifier,) in trail.log.run("SELECT id::text FROM changes ORDER BY id")]
    erased, removed = ids[3:5], ids[7]
    with closing(psycopg2.connect(**trail.log.parameters)) as opened, opened, opened.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = '{}' WHERE id = ANY (%s::uuid[])", [erased])
        who = {"reason": "request 7"}
        note_changed_rows(cursor, "changes", list(map(UUID, erased)), who, is_erased=True)
        cursor.execute("DELETE FROM changes WHERE id = %s", [removed])
        cursor.execute(
            "SELECT _bemi.note_v1('removed', '{\"changes\": 1}', decode(%s, 'hex'))",
            [removed.replace("-", "")],
        )
    return erased, removed


def test_what_the_package_erases_in_a_lane_is_none_of_the_edits(sealed: QueuedPipeline) -> None:
    record(sealed, 12)
    trail = sealed.trail
    erased, _ = erase_and_remove(sealed)
    found = report(sealed)
    assert list(map(str, found.findings)) == [] and found.changes == 11
    assert any("2 changes replaced" in line for line in found.operations)
    # Nobody finds out by trying what was erased: each salt is one of 16 bytes.
    salts = trail.log.run("SELECT ids, salts FROM _bemi.links WHERE kind = 'changes'")
    gone = [
        bytes(packed[at : at + 16]).hex()
        for packed, drawn in ((bytes(packed), bytes(drawn)) for packed, drawn in salts)
        for at in range(0, len(packed), 16)
        if drawn[at : at + 16] == bytes(16)
    ]
    assert sorted(gone) == sorted(one.replace("-", "") for one in erased)
    trail.log.run("UPDATE changes SET after = '{\"n\": 4}' WHERE id = %s", [erased[0]])
    assert kinds(sealed) == ["edited"]
