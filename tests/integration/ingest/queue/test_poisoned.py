"""A message that is no chunk, or a part of one, keeps nothing else from the log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import orjson
import pytest

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.queue.consumer import Consumer
from tests.support.cluster import Cluster
from tests.support.divided_pipeline import DividedPipeline
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.shared_log import OtherDatabase

LANE = "bemi.bemi_trail.1"


def last(queued: QueuedPipeline) -> Any:
    """Return the last message of a lane."""

    async def read(jetstream: Any) -> Any:
        return await jetstream.get_last_msg("bemi", LANE)

    return queued.server.ask(read)


def send(queued: QueuedPipeline, *messages: bytes, subject: str = LANE, **headers: str) -> None:
    async def publish(jetstream: Any) -> None:
        for message in messages:
            await jetstream.publish(subject, message, headers=headers or None)

    queued.server.ask(publish)


def letters(queued: QueuedPipeline) -> list[Any]:
    return queued.trail.log.run("SELECT reason, message FROM _bemi.dead_letters ORDER BY id")


def changed(edit: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """Return what edits the content of a message."""

    def change(data: bytes) -> bytes:
        content = orjson.loads(data)
        content["begin"], content["end"] = content["end"], [content["end"][0] + 8, 0]
        content["changes"] = [["0" * 36, "db", "public", "load", *[None] * (len(content["columns"]) - 4)]]
        edit(content)
        return orjson.dumps(content)

    return change


#: Subjects of the stream that are none of a lane.
ODD = (
    "bemi.a.0",
    "bemi.bemi_trail.7",
    "bemi.bemi_trail.99999999",
    "bemi.bemi_trail.01",
    "bemi.x",
    "bemi.a.b.c",
)


POISONS: dict[str, Callable[[bytes], bytes]] = {
    "not JSON": lambda data: b"\xff{",
    "cut": lambda data: data[: len(data) // 2],
    "another lane": changed(lambda content: content.update(lane=2, changes=[])),
    "no position": changed(lambda content: content.update(end=["a", None], changes=[])),
    "values of no change": changed(lambda content: None),
    "few values": changed(lambda content: content.update(changes=[["id"]])),
    "no version": changed(lambda content: content.update(version=None)),
}


def test_everything_else_is_recorded(queued: QueuedPipeline) -> None:
    queued.trail.write(10)
    queued.publish()
    good = last(queued).data
    for poison in POISONS.values():
        send(queued, poison(good))
    # Parts that are not numbered are of no chunk, either.
    send(queued, b"{", **{"Bemi-Part": "x/2"})
    queued.trail.write(10)
    queued.publish()
    assert queued.consume() == 20
    found = letters(queued)
    assert [bytes(message) for _, message in found] == [poison(good) for poison in POISONS.values()]
    assert all(reason.startswith("a message of the queue is") for reason, _ in found)
    until(lambda: queued.server.messages() == 0)
    queued.catch_up()
    assert queued.trail.checkpoint() == queued.trail.confirmed()


def test_messages_of_other_subjects_stop_nobody(queued: QueuedPipeline, log_cluster: Cluster) -> None:
    with closing(OtherDatabase(log_cluster, "second_log")) as second:
        divided = DividedPipeline(queued, second, {"hash": "1/2"})
        divided.publish()
        for subject in ODD:
            send(queued, b"{", subject=subject)
        # The end of a lane is none.
        send(queued, b"{", subject="bemi.bemi_trail.2", **{"Bemi-End": f"{'9' * 5000}.0"})
        for _ in range(2):
            divided.trail.write(10)
            assert divided.publish() == 10
            assert divided.consume("log") + divided.consume("second") == 10
        divided.catch_up()
        until(lambda: queued.server.messages() == len(ODD))


def test_a_chunk_that_was_damaged_stops_its_lane_alone(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.lane_reader._LOST", 0.1)
    queued.trail.write(10)
    queued.publish()
    whole = last(queued)

    async def damage(jetstream: Any) -> None:
        await jetstream.delete_msg("bemi", whole.seq)
        headers = {name: value for name, value in whole.headers.items() if name.startswith("Bemi")}
        await jetstream.publish(LANE, whole.data[:-1], headers=headers)

    queued.server.ask(damage)
    queued.trail.write(10)
    queued.publish()
    trouble = "SELECT trouble FROM _bemi.checkpoint"
    with queued.consumers(2):
        until(lambda: queued.trail.log.one(trouble), why=lambda: str(queued.lanes()))
    assert "lane 1 of the queue lacks changes" in queued.trail.log.one(trouble)
    assert len(letters(queued)) == 1
    positions = {lane: sequence for lane, sequence, _ in queued.lanes()}
    assert positions[1] < positions[0] == positions[2]
    # Nothing of the lane is skipped: it goes on when the chunk is there.
    send(queued, whole.data)
    queued.consume()
    queued.catch_up()


def test_what_is_not_of_a_lane_that_lacks_changes_is_written_before_a_run_fails(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.lane_reader._LOST", 0.0)
    # Each message is asked for by itself, so that the others have not come when the lack is seen.
    monkeypatch.setattr("bemi_django.ingest.queue.consumption._CHANGES", 1)
    queued.trail.write(10)
    queued.publish()
    lacking = last(queued)

    async def remove(jetstream: Any) -> None:
        await jetstream.delete_msg("bemi", lacking.seq)

    queued.trail.write(40)
    queued.publish()
    queued.server.ask(remove)
    with pytest.raises(ReplicationError, match="lane 1 of the queue lacks changes"):
        Consumer(queued.config, QUICK._replace(patience=0.0)).run(until_current=True)
    positions = {lane: sequence for lane, sequence, _ in queued.lanes()}
    assert positions[1] < positions[0] == positions[2]
    send(queued, lacking.data)
    queued.consume()
    queued.catch_up()


def test_a_chunk_of_another_version_ends_the_consumer(queued: QueuedPipeline) -> None:
    queued.trail.write(1)
    queued.publish()
    send(queued, changed(lambda content: content.update(version=2))(last(queued).data))
    number = last(queued).seq
    advice = f"message {number} of the stream bemi .*upgrade the consumers.*nats stream rmm bemi {number}"
    with pytest.raises(ReplicationError, match=advice):
        Consumer(queued.config, QUICK).run(until_current=True)
    assert letters(queued) == []


def test_what_no_database_takes_is_a_dead_letter_alone(queued: QueuedPipeline) -> None:
    queued.trail.source.run("INSERT INTO load (id, n) VALUES (1, 1)")
    queued.publish()
    contents = [found for found in read_all(queued) if found[1]["changes"]]
    ((subject, content),) = contents
    change = dict(zip(content["columns"], content["changes"][0], strict=True))
    poisoned = {**change, "id": change["id"][:-8] + "00000000", "table": "lo\0ad"}
    # One that is not an object, and one that comes again: who may publish can send anything.
    other = {**poisoned, "id": change["id"][:-8] + "00000001", "table": "load", "after": "NaN"}
    content["changes"] = [list(one.values()) for one in (change, poisoned, other, change)]
    content["end"][1] = 0

    async def replace(jetstream: Any) -> None:
        await jetstream.purge_stream("bemi", subject=subject)
        await jetstream.publish(subject, orjson.dumps(content))

    queued.server.ask(replace)
    queued.consume()
    assert queued.trail.log.one("SELECT count(*) FROM changes") == 2
    found = letters(queued)
    assert [reason for reason, _ in found] == ["not accepted by the destination"] * 3
    assert b"lo\\u0000ad" in bytes(found[0][1])


def read_all(queued: QueuedPipeline) -> list[tuple[str, Any]]:
    """Return subject and content of the last message of each lane."""

    async def read(jetstream: Any) -> list[tuple[str, Any]]:
        subjects = [f"bemi.bemi_trail.{lane}" for lane in range(3)]
        return [
            (subject, orjson.loads((await jetstream.get_last_msg("bemi", subject)).data))
            for subject in subjects
        ]

    return queued.server.ask(read)
