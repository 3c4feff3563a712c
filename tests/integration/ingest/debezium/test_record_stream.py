"""Records from the stream of an installation of Debezium Server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.ingest.debezium.reading.record_stream import RecordStream
from bemi_django.wire.queue_address import parse
from tests.support.debezium_envelopes import Envelopes
from tests.support.debezium_trail import DebeziumTrail
from tests.support.nats_server import NatsServer
from tests.support.polling import DEADLINE, until
from tests.support.recorded_debezium import load
from tests.support.skewed_queue import skew_queue

_STREAM = "DebeziumStream"
_WHOLE = "SELECT operation, primary_key, before, after, context FROM changes ORDER BY id"


class Installation:
    """The stream of Debezium Server, on a server, and a consumer of its subject."""

    def __init__(self, server: NatsServer, records: DebeziumTrail) -> None:
        self._server, self._records = server, records
        self._address = parse(server.url(_STREAM))
        server.delete(_STREAM)
        server.ask(self._make)

    @staticmethod
    async def _make(jetstream: Any, **settings: Any) -> None:
        # As the server makes it: in memory, with the subjects of its configuration.
        subjects = ["bemi", "__debezium-heartbeat.*"]
        await jetstream.add_stream(name=_STREAM, subjects=subjects, storage="memory", **settings)

    def publish(self, lines: Sequence[bytes]) -> None:
        """Publish what is in lines as the server does: without their keys."""

        async def publish(jetstream: Any) -> None:
            for line in lines:
                record = json.loads(line)
                topic = record.get("topic", "bemi")
                subject = topic if topic.startswith("__") else "bemi"
                value = record["value"]
                await jetstream.publish(subject, b"" if value is None else json.dumps(value).encode())

        self._server.ask(publish)

    def consumer(self, *subjects: str, accept_gap: bool = False) -> Any:
        source = RecordSource(subjects=subjects or ("bemi",))
        return self._records.consumer(source, queue=self._address, accept_gap=accept_gap)

    def consume(self, *, accept_gap: bool = False) -> int:
        """Write what is there now."""
        return int(self.consumer(accept_gap=accept_gap).run(until_current=True))

    def remove(self, before: int = 0, number: int = 0) -> None:
        """Remove messages before one, as limits of a stream do, or one of them."""

        async def remove(jetstream: Any) -> None:
            if number:
                await jetstream.delete_msg(_STREAM, number)
            else:
                await jetstream.purge_stream(_STREAM, seq=before)

        self._server.ask(remove)

    def anew(self, **settings: Any) -> None:
        """Delete the stream, and make it again."""
        self._server.delete(_STREAM)
        self._server.ask(partial(self._make, **settings))


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with closing(NatsServer()) as server:
        yield server


@pytest.fixture
def installation(server: NatsServer, records: DebeziumTrail) -> Installation:
    return Installation(server, records)


def numbers(records: DebeziumTrail) -> list[int]:
    return [json.loads(one.after)["n"] for one in records.logged()]


def created(number: int) -> bytes:
    one = Envelopes(700 + number, 1000 * number)
    return one.change("c", "pairs", after={"a": number, "b": "b", "n": number})


def test_the_log_is_that_of_files_wherever_a_consumer_stops(
    records: DebeziumTrail, installation: Installation, tmp_path: Any
) -> None:
    lines = load("plain").lines_for(records)
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"\n".join(lines))
    records.consume(file)
    whole = records.run(records.log, _WHOLE)
    records.empty()
    begin = 0
    for end in (*range(29, len(lines), 30), len(lines)):
        installation.publish(lines[begin:end])
        begin = end
        installation.consume()
    assert records.run(records.log, _WHOLE) == whole
    assert installation.consume() == 0


def test_a_consumer_shows_the_last_transaction_though_nothing_tells_its_end(
    records: DebeziumTrail, installation: Installation
) -> None:
    consumer = installation.consumer()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(consumer.run)
        try:
            installation.publish([created(1), created(2)])
            until(lambda: numbers(records) == [1, 2])
            shown = "SELECT lsn - '0/0' FROM _bemi.checkpoint WHERE lsn > '0/0'"
            until(lambda: records.run(records.log, shown) == [(2008,)])
            installation.publish([created(2), created(3)])
            until(lambda: numbers(records) == [1, 2, 3])
        finally:
            consumer.stop()
            running.result(DEADLINE)


@pytest.mark.parametrize(
    ("removed", "told"),
    [
        ([{"before": 6}], "2 to 5"),
        ([{"number": 4}], "4"),
        ([{"number": number} for number in (4, 6, 7, 9)], "4, 6 to 7, 9"),
        ([{"number": number} for number in range(4, 28, 2)], "4, 6, .*, 22, others up to 26 .12 in all."),
    ],
    ids=["the first", "one between others", "several", "many"],
)
def test_removed_messages_are_named_and_not_passed_over(
    records: DebeziumTrail, installation: Installation, removed: list[dict[str, int]], told: str
) -> None:
    installation.publish([created(1), created(2)])
    installation.consume()
    installation.publish([created(number) for number in range(3, 30)])
    for which in removed:
        installation.remove(**which)
    with pytest.raises(ReplicationError, match=f"messages {told} of the stream DebeziumStream were removed"):
        installation.consume()
    installation.consume(accept_gap=True)
    gone = {which.get("number") for which in removed} | ({3, 4, 5} if "before" in removed[0] else set())
    assert numbers(records) == [number for number in range(1, 30) if number not in gone]
    ((reason, _),) = records.letters()
    assert re.search(f"messages {told} of", reason) and records.accepted == [reason]
    assert installation.consume() == 0


def test_a_stream_that_keeps_some_messages_of_each_subject_is_refused(installation: Installation) -> None:
    installation.anew(max_msgs_per_subject=1)
    with pytest.raises(ReplicationError, match="removes messages between others"):
        installation.consume()


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_stream_that_was_made_anew_is_noticed_by_any_clock(
    records: DebeziumTrail, installation: Installation, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    skew_queue(monkeypatch, hours)
    for number in (1, 2):
        installation.publish([created(number)])
        installation.consume()
    installation.anew()
    installation.publish([created(2), created(3)])
    with pytest.raises(ReplicationError, match="is another one than that of the message 1"):
        installation.consume()
    installation.consume(accept_gap=True)
    assert numbers(records) == [1, 2, 3]


def test_messages_that_are_removed_while_a_session_runs_are_missed(
    records: DebeziumTrail, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.publish([created(number) for number in range(1, 81)])
    fetch = RecordStream.fetch

    def fetch_slowly(stream: RecordStream) -> Any:
        found = fetch(stream)
        installation.remove(before=75)
        return found

    monkeypatch.setattr(RecordStream, "fetch", fetch_slowly)
    with pytest.raises(ReplicationError, match="messages 65 to 74 of the stream DebeziumStream were removed"):
        installation.consume()
    assert numbers(records) == [*range(1, 65)]
    installation.consume(accept_gap=True)
    assert numbers(records) == [*range(1, 65), *range(75, 81)]
    ((reason, _),) = records.letters()
    assert "were removed" in reason


def test_messages_of_other_subjects_are_not_missed(
    records: DebeziumTrail, installation: Installation
) -> None:
    heartbeat = json.dumps({"topic": "__debezium-heartbeat.bemi", "value": {"ts_ms": 1}}).encode()
    installation.publish([created(1), heartbeat, heartbeat, created(2)])
    installation.consume()
    installation.publish([heartbeat, created(3)])
    installation.consume()
    assert numbers(records) == [1, 2, 3]


def test_a_heartbeat_of_another_subject_tells_that_a_deletion_is_one(
    records: DebeziumTrail, installation: Installation
) -> None:
    row = {"a": 1, "b": "b", "n": 1}
    installation.publish([created(1), Envelopes(702, 2000).change("d", "pairs", before=row)])
    installation.consume()
    heartbeat = json.dumps({"topic": "__debezium-heartbeat.bemi", "value": {"ts_ms": 1}}).encode()
    installation.publish([heartbeat])
    assert installation.consume() == 0
    installation.consumer("bemi", "__debezium-heartbeat.*").run(until_current=True)
    assert [one.operation for one in records.logged()] == ["CREATE", "DELETE"]


def test_a_stream_that_is_empty_when_its_gap_is_accepted_is_read_from_its_first_message(
    records: DebeziumTrail, installation: Installation
) -> None:
    installation.publish([created(number) for number in range(1, 6)])
    installation.consume()
    installation.anew()
    installation.consume(accept_gap=True)
    installation.publish([created(number) for number in range(6, 16)])
    installation.consume()
    assert numbers(records) == [*range(1, 16)]
    assert len(records.letters()) == 1


def test_a_stream_without_records_of_debezium_ends_the_command(installation: Installation) -> None:
    installation.publish([json.dumps({"value": {"id": 1}}).encode()])
    with pytest.raises(ReplicationError, match="no record of Debezium"):
        installation.consumer().run()
