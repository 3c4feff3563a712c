"""Chunks, lanes, and the order in which a lane is read, without a server."""

from __future__ import annotations

import random
from collections import deque
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from bemi_django.exceptions import ProtocolError, ReplicationError, Superseded
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.destination.lanes import LaneMove, LaneState, advance
from bemi_django.ingest.protocol.messages import Begin, Relation
from bemi_django.ingest.queue import lane_reader
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.division import removal
from bemi_django.ingest.queue.division.taken_chunk import TakenChunk
from bemi_django.ingest.queue.held_lanes import HeldLanes
from bemi_django.ingest.queue.lane_reader import LaneReader
from bemi_django.ingest.queue.lane_source import LaneSource
from bemi_django.ingest.queue.message import parts
from bemi_django.ingest.queue.message.chunk import Chunk, decode
from bemi_django.ingest.queue.message.headers import END_HEADER, IDENTIFIER_HEADER, PART_HEADER, attempt_of
from bemi_django.ingest.queue.message.row_values import lane_of, position_of, row_of, values_of
from bemi_django.ingest.queue.publisher import QueueSink
from bemi_django.ingest.queue.server.stream_info import Room
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_layout import RowLayout, head, template
from bemi_django.ingest.rows.row_writer import COLUMNS, RowWriter
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.queue_address import parse
from bemi_django.wire.sequence import FIRST_HISTORY, HistoryStart, sequence_of
from tests.support.polling import until

LAYOUT = RowLayout(head("db", "public", "t"), ("a",), template(("a",)), (values.text,), (0,))
WRITER = RowWriter(ChangeIds("1", "db", 0), lambda change: iter([LAYOUT]))
TABLE = Relation(1, "public", "t", ())
NOVEMBER = 815_000_000 * 1_000_000


def row(lsn: int, key: bytes, ordinal: int = 0, old: bytes | None = None) -> Pending:
    operation = "CREATE" if old is None else "UPDATE"
    before: list[bytes | None] | None = None if old is None else [old]
    change = Stitched(Begin(lsn, NOVEMBER, 1), ordinal, TABLE, operation, before, [key], b'{"user": 1}')
    return Pending(WRITER.row(change), change, b"")


class MemoryBroker:
    """Keeps what is published, and acknowledges it at once."""

    largest, connection = 2000, None

    def __init__(self, lanes: int = 3) -> None:
        self.address = parse(f"nats://localhost/bemi?lanes={lanes}")
        self.sent: list[Outgoing] = []

    def publish(self, messages: list[Outgoing], acknowledgements: Acknowledgements) -> None:
        self.sent += messages
        for _ in messages:
            acknowledgements.take()

    def room(self) -> Room:
        return Room(-1, 0)

    def raise_if_lost(self) -> None:
        """It never is."""

    def close(self) -> None:
        """Nothing is open."""

    def chunks(self, lane: int) -> list[Chunk]:
        subject = self.address.subject("slot", lane)
        return [decode(one.payload) for one in self.sent if one.subject == subject and one.part == "1/1"]


def sink(broker: MemoryBroker, omissions: Omissions | None = None) -> QueueSink:
    def outline(pending: Pending) -> tuple[bytes, RejectedMessage]:
        raise AssertionError("every value is text")

    source = LaneSource("slot", broker.address.lanes, (FIRST_HISTORY,), Origin("7", 1, 2), False, "", {})
    return QueueSink(cast(Any, broker), source, 8, outline, omissions=omissions)


def transaction(made: QueueSink, lsn: int, *rows: Pending) -> None:
    for one in rows:
        made.add(one)
    made.end(lsn + 8, NOVEMBER)


def test_a_row_is_the_same_on_the_other_side() -> None:
    for pending in (row(16, "ä\0".encode().replace(b"\0", b"")), row(16, b"new", 3, b"old")):
        found = values_of(pending.row)
        assert row_of(found) == pending.row
        assert position_of(UUID(found[0]).bytes) == LanePosition(16, pending.change.ordinal)


def test_a_lane_depends_on_the_row_and_on_nothing_else() -> None:
    lanes = {key: lane_of(values_of(row(16, key).row), 8) for key in (b"1", b"2", b"3", b"4", b"5")}
    assert lanes == {key: lane_of(values_of(row(800, key, 7).row), 8) for key in lanes}
    assert len(set(lanes.values())) > 1
    assert lane_of(values_of(row(16, b"new", old=b"old").row), 8) is None


def test_every_lane_is_cut_at_the_same_positions() -> None:
    broker = MemoryBroker()
    made = sink(broker)
    transaction(made, 16, row(16, b"1"), row(16, b"2", 1))
    transaction(made, 64, row(64, b"3"))
    made.send()
    made.settle()
    assert (made.written, made.checkpoint, made.in_flight) == (3, 72, 0)
    for lane in range(3):
        (chunk,) = broker.chunks(lane)
        assert (chunk.begin, chunk.end) == (LanePosition(8), LanePosition(72))
        assert {lane_of(change, 3) for change in chunk.changes} <= {lane}
    assert sum(len(broker.chunks(lane)[0].changes) for lane in range(3)) == 3
    made.close()


def test_a_changed_key_waits_for_all_lanes_and_they_for_it() -> None:
    broker = MemoryBroker()
    made = sink(broker)
    transaction(made, 16, row(16, b"1"), row(16, b"new", 1, b"1"), row(16, b"2", 2))
    made.send()
    first, moved, last = broker.chunks(0)
    assert moved.after == moved.begin == LanePosition(16, 1)
    assert [change[COLUMNS.index("previous_primary_key")] for change in moved.changes] == ["1"]
    assert moved.end == last.begin == LanePosition(16, 2)
    assert first.end == moved.begin
    for lane in (1, 2):
        before, beside, after = broker.chunks(lane)
        assert (before.after, beside.after, after.after) == (LanePosition(8), LanePosition(8), moved.end)
        assert beside.changes == []
    made.close()


def test_parts_of_a_chunk_are_of_one_attempt() -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    transaction(made, 16, row(16, b"x" * 5000))
    made.send()
    parts = [one.part for one in broker.sent]
    assert parts == [f"{number}/{len(parts)}" for number in range(1, len(parts) + 1)]
    assert len(parts) > 2
    again = sink(other := MemoryBroker(1))
    transaction(again, 16, row(16, b"x" * 5000))
    again.send()
    assert not {one.identifier for one in broker.sent} & {one.identifier for one in other.sent}
    assert b"".join(one.payload for one in broker.sent).count(b"x") >= 5000
    made.close()
    again.close()


def test_letters_and_omissions_come_once_wherever_a_chunk_is_cut() -> None:
    letter = RejectedMessage(16, None, b"\0bytes", {}, "no JSON")
    broker, omissions = MemoryBroker(), Omissions()
    made = sink(broker, omissions)
    made.add(row(16, b"1"))
    made.add_letter(letter)
    omissions.count(("public", "t"), "unchanged", 16)
    omissions.columns["public", "t", ("a", "b")] = 16
    made.end(24, NOVEMBER)
    made.send()
    made.settle()
    assert made.kept == 1
    (chunk,) = broker.chunks(0)
    assert [one for _, one in chunk.letters] == [letter]
    ((_, found),) = chunk.omissions
    assert found.changes == {("public", "t", "unchanged"): (1, 16)}
    assert found.columns == {("public", "t", ("a", "b")): 16}
    for position, count in ((LanePosition(8), 1), (chunk.end, 0)):
        taken = TakenChunk(chunk, position, 1)
        assert (len(taken.letters), len(taken.omissions)) == (count, count)
    made.close()


def test_what_is_written_already_is_left_out_of_a_chunk() -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    transaction(made, 16, row(16, b"1"), row(16, b"2", 1), row(16, b"3", 2))
    made.send()
    (chunk,) = broker.chunks(0)
    taken = TakenChunk(chunk, LanePosition(16, 2), 1)
    assert [change[COLUMNS.index("primary_key")] for change in taken.changes] == ["3"]
    made.close()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


#: A value that the key of a chunk must not have, and one of no key.
UNSOUND: dict[str, list[Any]] = {
    "source": [None, 1],
    "lane": [None, "1", -1, True],
    "lanes": [None, "1", -1, 2**63],
    "begin": [None, [], [1], ["a", 0], [-1, 0], [2**63, 0]],
    "end": [None, [1, 2, 3], [1.5, 0], [8, 2**63]],
    "after": [1, ["a", "b"], [0, -1]],
    "committed_at": ["now", 1.5, 2**63, True, -(2**62)],
    "canonical": [None, 1],
    "origin": [
        None,
        [],
        ["7", "1", 2],
        [7, 1, 2, 0],
        ["7", 1, 2, 2**63],
        ["7", 2**31, 2, 0],
        ["\0", 1, 2, 0],
    ],
    "letters": [
        None,
        [[]],
        [["a", 0, 1, None, "", {}, ""]],
        [[8, 0, 1, 5, "", {}, ""]],
        [[8, 0, 2**63, None, "", {}, ""]],
        [[8, 0, 1, None, 5, {}, ""]],
        [[8, 0, 1, None, "", [], ""]],
        [[8, 0, 1, None, "", {}, 5]],
        [[8, 0, 1, None, "", {}, "\0"]],
        [[8, 0, 1, None, "", {"a": ["\\\0"]}, ""]],
    ],
    "omissions": [
        None,
        [[8, 0]],
        [[8, 0, [["public", "t", [1], 8]], []]],
        [[8, 0, [["public", "t", ["a"], "8"]], []]],
        [[8, 0, [], [["public", None, "unchanged", 1, 8]]]],
        [[8, 0, [], [["public", "t", "unchanged", 1, 2**63]]]],
        [[8, 0, [], [["public", "t", "unchanged", 2**62, 8]]]],
        [[8, 0, [], [["public", "\0", "unchanged", 1, 8]]]],
        [[8, 0, [], [["public", "t" * 5000, "unchanged", 1, 8]]]],
    ],
    "course": [
        {"source": 2**30, "histories": [[0, 0, "7", 1, ""]], "gaps": []},
        {"source": 1, "histories": [[0, 0, "7", 2**31, ""]], "gaps": []},
        {"source": 1, "histories": [[0, 0, "7", 1, "\0"]], "gaps": []},
        {"source": 1, "histories": [[1, 0, "7", 1, ""], [1, 8, "7", 1, ""]], "gaps": []},
    ],
}


@pytest.mark.parametrize("key", UNSOUND)
def test_a_chunk_has_what_it_should(key: str) -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    transaction(made, 16, row(16, b"1"))
    made.send()
    content = orjson.loads(broker.sent[0].payload)
    decode(orjson.dumps(content))
    for value in UNSOUND[key]:
        with pytest.raises(ProtocolError):
            decode(orjson.dumps({**content, key: value}))
    made.close()


#: Values that a change must not have.
OF_NO_CHANGE: dict[str, list[Any]] = {
    "id": [None, "0" * 36, "3" * 32 + " " * 4, "{" + "a" * 32 + "}}}"],
    "database": [None, 1],
    "schema": [None],
    "table": [None],
    "operation": [None],
    "before": [None],
    "after": [None],
    "context": [None],
    "committed_at": [2**63, -(2**62)],
    "queued_at": [2**63],
    "transaction_id": [2**63, -1],
    "position": [2**63, -1],
}


@pytest.mark.parametrize("name", OF_NO_CHANGE)
def test_a_change_has_values_that_a_column_takes(name: str) -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    transaction(made, 16, row(16, b"1"))
    made.send()
    content = orjson.loads(broker.sent[0].payload)
    for value in OF_NO_CHANGE[name]:
        content["changes"][0][COLUMNS.index(name)] = value
        with pytest.raises(ProtocolError):
            decode(orjson.dumps(content))
    made.close()


@pytest.mark.parametrize("context", ["[]", '{"from_lsn":"0/8","to_lsn":"0/8","a":"\\u0000"}', "{"])
def test_a_course_has_gaps_that_a_log_takes(context: str) -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    transaction(made, 16, row(16, b"1"))
    made.send()
    content = orjson.loads(broker.sent[0].payload)
    gap = content["changes"].pop()
    content["course"] = {"source": 1, "histories": [[0, 0, "7", 1, ""]], "gaps": [gap]}
    gap[COLUMNS.index("context")] = '{"from_lsn":"0/8","to_lsn":"0/8","a":"\\\\u0000"}'
    assert decode(orjson.dumps(content)).course is not None
    gap[COLUMNS.index("context")] = context
    with pytest.raises(ProtocolError):
        decode(orjson.dumps(content))
    made.close()


def test_a_chunk_of_another_version_is_not_taken_for_none() -> None:
    with pytest.raises(ReplicationError, match="upgrade the consumers"):
        decode(b'{"version": 2, "columns": []}')


class Message:
    """A message as nats-py has it."""

    def __init__(self, sent: Outgoing, number: int) -> None:
        self.data = sent.payload
        end = f"{sent.end.sequence}.{sent.end.ordinal}"
        self.headers = {PART_HEADER: sent.part, IDENTIFIER_HEADER: sent.identifier, END_HEADER: end}
        self.metadata = SimpleNamespace(sequence=SimpleNamespace(stream=number))


class StoredLane(LaneReader):
    """Reads messages that a queue has, in their order."""

    def __init__(
        self, broker: MemoryBroker, messages: list[Outgoing], position: LanePosition, number: int = 0
    ) -> None:
        self.stored = [Message(sent, number) for number, sent in enumerate(messages, 1)]
        super().__init__(cast(Any, broker), "slot", 0, LaneState(position, number), lambda: None)

    def _start(self) -> None:
        self._messages = deque(one for one in self.stored if one.metadata.sequence.stream > self.message)

    def close(self) -> None:
        """Nothing is open."""

    def read_all(self) -> list[tuple[LanePosition, LanePosition]]:
        found = []
        while (chunk := self.peek()) is not None:
            found.append((self.position, chunk.end))
            self.take()
        return found


def published() -> tuple[MemoryBroker, list[Outgoing]]:
    """Four chunks that follow each other; the third has parts."""
    broker = MemoryBroker(1)
    made = sink(broker)
    for lsn, size in ((16, 1), (64, 1), (128, 5000), (192, 1)):
        transaction(made, lsn, row(lsn, b"x" * size))
        made.send()
    made.close()
    return broker, broker.sent


def test_a_lane_is_read_in_order() -> None:
    broker, messages = published()
    lane = StoredLane(broker, messages, LanePosition(8))
    assert lane.read_all() == [
        (LanePosition(begin), LanePosition(end)) for begin, end in ((8, 24), (24, 72), (72, 136), (136, 200))
    ]
    assert lane.message == len(messages)


def test_what_came_too_early_is_read_again() -> None:
    broker, messages = published()
    first, second, *rest = messages
    # The second was refused at first, and what followed it was not.
    lane = StoredLane(broker, [first, *rest, second], LanePosition(8))
    assert [end.sequence for _, end in lane.read_all()] == [24, 72, 136, 200]
    assert lane.ahead_since is None


def test_what_lies_before_a_position_is_known_after_a_restart() -> None:
    broker, messages = published()
    first, second, *rest = messages
    lane = StoredLane(broker, [first, *rest], LanePosition(8))
    assert [end.sequence for _, end in lane.read_all()] == [24]
    assert lane.ahead_since is not None
    # What is ahead must be found again.
    assert lane.message == 1
    again = StoredLane(broker, [first, *rest, second], LanePosition(24))
    again.message = 1
    again._start()
    assert [end.sequence for _, end in again.read_all()] == [72, 136, 200]


def test_what_lies_before_a_number_of_another_stream_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, messages = published()
    lane = StoredLane(broker, messages, LanePosition(24), number=2)
    assert lane.read_all() == []
    lane.look_back()
    assert lane.read_all() == []
    monkeypatch.setattr(lane_reader, "_LATE", 0.0)
    lane.look_back()
    assert [end.sequence for _, end in lane.read_all()] == [72, 136, 200]
    assert lane.ahead_since is None
    # What is not there either is not looked for again and again.
    lane = StoredLane(broker, messages, LanePosition(24), number=2)
    whole, lane.stored = lane.stored, lane.stored[2:]
    for stored in (lane.stored, whole):
        assert lane.read_all() == []
        lane.stored = stored
        lane.look_back()
    assert lane.read_all() == []


def test_a_lane_that_is_read_from_its_beginning_holds_up_no_other() -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    for lsn in range(16, 16 + 50 * 48, 48):
        transaction(made, lsn, row(lsn, b"x"))
        made.send()
    made.close()
    position = LanePosition(decode(broker.sent[45].payload).begin.sequence)
    lane = StoredLane(broker, broker.sent, position)
    assert lane.peek() is None and 0 < lane.seen < 30
    assert lane.peek() is None and lane.seen < 50
    assert lane.peek() is not None
    assert len(lane.read_all()) == 5


def test_a_chunk_that_waits_for_other_lanes_is_no_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_reader, "_LOST", 0.0)
    broker, messages = published()
    first, second, *rest = messages
    lane = StoredLane(broker, [*rest, first, second], LanePosition(8))
    # It is there, but what it comes after is not.
    assert lane.peek() is not None
    assert lane.trouble == ""
    lane.look_back()
    assert [end.sequence for _, end in lane.read_all()] == [24, 72, 136, 200]


def test_what_is_looked_for_in_the_whole_lane_is_not_lost_before_it_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane_reader, "_LATE", 0.0)
    monkeypatch.setattr(lane_reader, "_LOST", 0.0)
    broker, messages = published()
    lane = StoredLane(broker, messages[2:], LanePosition(24), number=2)
    assert lane.read_all() == []
    assert "lacks changes" in lane.trouble
    lane.look_back()
    assert lane.trouble == ""
    assert lane.read_all() == []
    assert "lacks changes" in lane.trouble


def test_what_comes_after_a_promotion_waits_until_the_log_has_it() -> None:
    broker = MemoryBroker(1)
    made = sink(broker)
    transaction(made, 16, row(16, b"1"))
    made.send()
    promoted = HistoryStart(1, 20)
    made._source = made._source._replace(histories=(FIRST_HISTORY, promoted))
    transaction(made, 64, row(64, b"2"))
    made.send()
    made.close()
    lane = StoredLane(broker, broker.sent, LanePosition(8))
    assert [end for _, end in lane.read_all()] == [LanePosition(24)]
    assert "lane 0 of the queue lacks changes" in lane.trouble
    lane.histories = (FIRST_HISTORY, promoted)
    assert lane.trouble == ""
    assert [end.sequence for _, end in lane.read_all()] == [sequence_of(1, 72)]


def test_parts_that_are_not_complete_are_left_out() -> None:
    broker, messages = published()
    first, second, part, *others, last = messages
    stored = [first, second, part, others[0], part, *others, last, first]
    lane = StoredLane(broker, stored, LanePosition(8))
    assert [end.sequence for _, end in lane.read_all()] == [24, 72, 136, 200]
    assert lane.message == len(stored)


def test_two_publishers_that_send_side_by_side_hide_nothing() -> None:
    # The first one was paused while it sent a chunk in parts, and goes on when another one sends the next.
    first, *of_paused = published()[1]
    broker = MemoryBroker(1)
    made = sink(broker)
    for lsn, size in ((16, 1), (64, 1), (128, 5000), (192, 5000)):
        transaction(made, lsn, row(lsn, b"x" * size))
        made.send()
    made.close()
    chance = random.Random(1)
    for _ in range(20):
        late = list(of_paused)
        stored = [first]
        for one in broker.sent:
            stored.append(one)
            while late and chance.random() < 0.4:
                stored.append(late.pop(0))
        stored += late
        lane = StoredLane(broker, stored, LanePosition(8))
        assert [end.sequence for _, end in lane.read_all()] == [24, 72, 136, 200]
        # A consumer may end after any chunk, and begins again after the messages that are done with.
        position, message, found = LanePosition(8), 0, []
        while position.sequence < 200:
            again = StoredLane(broker, stored, position)
            again.message = message
            again._start()
            assert again.peek() is not None
            again.take()
            position, message = again.position, again.message
            found.append(position.sequence)
        assert found == [24, 72, 136, 200]


def test_a_part_that_no_other_follows_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, messages = published()
    alone = Outgoing("s", f"s.8.0-9.0.{'a1' * 8}.1", b"", LanePosition(sequence_of(7, 0)), "1/2")
    for seconds, message in ((60.0, 1), (0.0, len(messages) + 1)):
        monkeypatch.setattr(parts, "_LATEST", seconds)
        lane = StoredLane(broker, [messages[0], alone, *messages[1:]], LanePosition(8))
        assert [end.sequence for _, end in lane.read_all()] == [24, 72, 136, 200]
        assert lane.message == message


def test_many_parts_that_no_other_follows_take_no_memory() -> None:
    broker, messages = published()
    alone = [
        Outgoing("s", f"s.8.0-9.0.{number:016x}.1", b"", LanePosition(sequence_of(7, 0)), "1/2")
        for number in range(100)
    ]
    lane = StoredLane(broker, [*alone, *messages], LanePosition(8))
    assert [end.sequence for _, end in lane.read_all()] == [24, 72, 136, 200]
    assert len(lane._parts._kept) <= parts._ATTEMPTS


def test_a_part_that_was_sent_again_is_one_of_its_attempt() -> None:
    parts = [
        Outgoing("s", f"s.8.0-24.0.{'a1' * 8}.{number}", b"", LanePosition(24), f"{number}/25")
        for number in range(1, 26)
    ]
    for attempt in (0, 1, 2, 12, 25):
        again = [one.of_attempt(attempt) if attempt else one for one in parts]
        found = {attempt_of(one.identifier, one.part.partition("/")[0]) for one in again}
        assert found == {f"s.8.0-24.0.{'a1' * 8}{f'.{attempt}' * bool(attempt)}"}


@pytest.mark.parametrize("lanes", [1, 2])
def test_what_is_divided_among_another_number_of_lanes_is_not_taken_by_this_one(lanes: int) -> None:
    broker, messages = published()
    lane = StoredLane(broker, messages, LanePosition(8))
    lane.lanes = lanes
    assert bool(lane.read_all()) is (lanes == 1)
    # Another publisher has sent the same since.
    lane.lanes = 1
    assert lane.message == (len(messages) if lanes == 1 else 0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nats://localhost:4222", (("nats://localhost:4222",), "bemi", 4, False, 1, 0)),
        ("nats://u:p@a:1,b:2/audit?lanes=8", (("nats://u:p@a:1", "nats://u:p@b:2"), "audit", 8, False, 1, 0)),
        ("tls://a/bemi?sync=always", (("tls://a",), "bemi", 4, True, 1, 0)),
    ],
)
def test_addresses(url: str, expected: tuple[Any, ...]) -> None:
    assert tuple(parse(url)) == expected
    assert "p@" not in parse(url).hosts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a/b",
        "nats:///bemi",
        "nats://a/b.c",
        "nats://a?lanes=0",
        "nats://a?lanes=x",
        "nats://a?replicas=2",
        "nats://a?keep=7",
        "nats://a?keep=999999d",
        "nats://a?x=1",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="queue"):
        parse(url)


class MovedLanes:
    """A cursor that notes which lanes are moved by each statement, from where to where."""

    def __init__(self, lacking: int = 0) -> None:
        self.statements: list[list[tuple[Any, ...]]] = []
        self.rowcount, self._lacking = 0, lacking

    def execute(self, query: str, parameters: list[list[Any]]) -> None:
        rows = list(zip(*parameters, strict=True))
        self.statements.append([(row[1], row[2:4], row[4:6], row[6], row[7]) for row in rows])
        self.rowcount = len(rows) - self._lacking


def test_moves_of_a_lane_are_joined_on_the_same_wal() -> None:
    later = sequence_of(1, 40)
    moves = [
        LaneMove("slot", 0, LanePosition(8), LanePosition(16, 3), 5, 100),
        LaneMove("slot", 1, LanePosition(8), LanePosition(24), 6, None),
        LaneMove("slot", 0, LanePosition(16, 3), LanePosition(24), 7, 90),
        LaneMove("slot", 0, LanePosition(24), LanePosition(later), 9, None),
        LaneMove("slot", 0, LanePosition(32), LanePosition(later), 9, None),
    ]
    cursor = MovedLanes()
    advance(cursor, moves)
    assert cursor.statements == [
        [(0, (8, 0), (24, 0), 7, 100), (1, (8, 0), (24, 0), 6, None)],
        # Of WAL that may have left that of the move before, and from elsewhere: the database judges.
        [(0, (24, 0), (later, 0), 9, None)],
        [(0, (32, 0), (later, 0), 9, None)],
    ]
    with pytest.raises(Superseded):
        advance(MovedLanes(lacking=1), moves)


def test_lanes_of_others_are_read_when_what_is_known_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    held = HeldLanes.__new__(HeldLanes)
    held.readers, held._others, held._are_fresh = {}, {}, False
    stored = {("slot", lane): LanePosition(8) for lane in range(3)}

    def read(lanes: HeldLanes) -> None:
        reads.append(dict(stored))
        lanes._others, lanes._are_fresh = dict(stored), True

    monkeypatch.setattr(HeldLanes, "_read_others", read)

    def may_follow(after: int, lane: int = 0) -> bool:
        chunk = Chunk(
            "slot", lane, LanePosition(8), LanePosition(99), LanePosition(after), None, [], [], [], 3
        )
        return held.may_follow(chunk)

    # All lanes have to be known, not only those that this consumer has seen.
    assert may_follow(8) and len(reads) == 1
    held.look_anew()
    assert may_follow(8) and len(reads) == 1
    assert not may_follow(16) and not may_follow(16) and len(reads) == 2
    stored["slot", 0] = LanePosition(16)
    assert not may_follow(16, 1) and len(reads) == 2
    held.look_anew()
    assert may_follow(16, 1) and len(reads) == 3
    assert not may_follow(16) and len(reads) == 3


def test_a_destination_whose_parameters_cannot_be_computed_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(removal, "_RETRY", 0.001)
    asked: list[None] = []

    def ask() -> dict[str, Any]:
        asked.append(None)
        raise KeyError("a token")

    with closing(removal.OtherDestination("eu", ask, "stream")) as other:
        until(lambda: len(asked) > 2)
        assert other.written(("slot", 0)) == 0
    assert caplog.messages == ["the queue keeps what the destination eu lacks: KeyError"]
