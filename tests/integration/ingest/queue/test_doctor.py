"""What ``bemi doctor`` and the system checks find out about the queue of ``BEMI_SINK``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import DatabaseError, connections

from bemi_django.checks.sinks import check_sink
from bemi_django.doctor import lost_messages, queue
from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.server import connection, stream_info
from bemi_django.wire.queue_address import parse
from tests.support.nats_server import NatsServer
from tests.support.pipeline import Pipeline
from tests.support.polling import DEADLINE
from tests.support.reserved_port import ReservedPort


@pytest.fixture
def server(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    # The doctor asks once, and takes a server that is slow, as on a machine under load, for one that is away.
    for module, name in (
        (connection, "_CONNECT_SECONDS"),
        (connection, "_ANSWER_SECONDS"),
        (stream_info, "_SECONDS"),
    ):
        monkeypatch.setattr(module, name, DEADLINE)
    yield nats_server
    nats_server.delete()


def made(server: NatsServer, **settings: Any) -> None:
    """Make the stream as an operator would."""

    async def make(jetstream: Any) -> None:
        from nats.js.api import DiscardPolicy, StreamConfig

        given = {"subjects": ["bemi.>"], "discard": DiscardPolicy.NEW, **settings}
        await jetstream.add_stream(StreamConfig(name="bemi", **given))

    server.ask(make)


def test_without_a_queue_there_is_nothing_to_find(settings: Any) -> None:
    for sink in (None, "file:///srv/changes.jsonl"):
        settings.BEMI_SINK = sink
        assert list(queue.findings()) == [] == check_sink()


def test_a_queue_that_is_right_or_to_be_made_is_no_finding(server: NatsServer, settings: Any) -> None:
    settings.BEMI_SINK = server.url()
    assert list(queue.findings()) == [] == check_sink()
    made(server)
    assert list(queue.findings()) == []


def test_a_queue_that_cannot_be_reached(settings: Any) -> None:
    with closing(ReservedPort()) as unused:
        settings.BEMI_SINK = f"nats://me:secret@127.0.0.1:{unused.number}/bemi"
        (found,) = queue.findings()
    assert found.id == "bemi.D018" and found.stops and "secret" not in found.message
    assert "nats-server -js" in found.remedy
    assert check_sink() == []


def test_a_stream_that_would_lose_changes(server: NatsServer, settings: Any) -> None:
    from nats.js.api import DiscardPolicy

    settings.BEMI_SINK = server.url()
    made(server, subjects=["bemi.old.*"], discard=DiscardPolicy.OLD, max_age=3600)
    (found,) = queue.findings()
    assert found.id == "bemi.D019" and found.stops
    options = "--subjects 'bemi.>' --discard new --max-age 0s"
    assert found.remedy == f"Run nats stream edit bemi {options}."


def test_a_stream_that_would_hold_changes_up(server: NatsServer, settings: Any) -> None:
    settings.BEMI_SINK = server.url()
    made(server, max_msg_size=1000, no_ack=True)
    (found,) = queue.findings()
    assert found.id == "bemi.D019" and found.stops
    assert found.remedy == "Run nats stream edit bemi --max-msg-size=-1 --ack."
    server.delete()
    # These cannot be changed.
    made(server, max_consumers=1, deny_purge=True)
    (found,) = queue.findings()
    assert "it needs no max_consumers, purges." in found.message and "nats stream rm bemi" in found.remedy
    server.delete()


#: Settings that cannot be taken back, as the server knows them; some are newer than the client may be.
UNFIT: dict[str, dict[str, Any]] = {
    "no persist_mode async": {"persist_mode": "async"},
    "no subject_transform": {"subject_transform": {"src": "bemi.>", "dest": "other.>"}},
    "no consumer_limits": {"consumer_limits": {"inactive_threshold": 1_000_000_000}},
    "purges, no sealing": {"sealed": True},
    "no mirror, subjects bemi.>, discard new": {"mirror": {"name": "old"}, "subjects": [], "discard": "old"},
}


def test_a_stream_that_would_do_something_else_with_messages(server: NatsServer, settings: Any) -> None:
    settings.BEMI_SINK = server.url()
    for missing, unfit in UNFIT.items():
        given = {"subjects": ["bemi.>"], "storage": "file", "discard": "new", **unfit}
        server.make(name="bemi", **given)
        (found,) = queue.findings()
        assert f"it needs {missing}." in found.message and "nats stream rm bemi" in found.remedy
        with pytest.raises(ReplicationError, match=missing):
            Broker(parse(settings.BEMI_SINK))
        server.delete()


def test_a_stream_in_memory_has_to_be_made_again(server: NatsServer, settings: Any) -> None:
    from nats.js.api import StorageType

    settings.BEMI_SINK = f"{server.servers[0]}/bemi"
    made(server, storage=StorageType.MEMORY)
    stream, durability = queue.findings()
    assert stream.id == "bemi.D019" and "nats stream rm bemi" in stream.remedy
    assert durability.id == "bemi.D020" and not durability.stops
    assert "sync=always" in durability.remedy


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ("nats://me:secret@host/bemi?lanes=0", "lanes of the queue's address"),
        ("kafka://me:secret@host/topic", "the address of the sink is not known"),
        ("nats://me:secret@[host/bemi", "the address"),
        (["nats://me:secret@host"], "of the type list"),
        ("https://example.com/secret", "BEMI_SINK_SECRET"),
    ],
)
def test_an_address_that_is_none_is_an_error(sink: Any, said: str, settings: Any) -> None:
    settings.BEMI_SINK, settings.BEMI_SINK_SECRET = sink, ""
    (found,) = check_sink()
    assert found.id == "bemi.E029" and said in found.msg and "secret@" not in found.msg
    assert list(queue.findings()) == []


@pytest.mark.parametrize(
    ("sink", "extra"), [("nats://host/bemi", "nats"), ("parquet:///srv/audit", "parquet")]
)
def test_an_extra_that_is_missing_is_named(
    sink: str, extra: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_SINK = sink
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (found,) = check_sink()
    assert found.hint == f"Run pip install 'bemi-django-wal[{extra}]'."


def test_messages_that_were_removed_before_they_were_written(
    server: NatsServer, pipeline: Pipeline, settings: Any
) -> None:
    settings.BEMI_SINK = server.url()
    made(server)
    confirmed = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = slot"
    lag = f"INSERT INTO _bemi.lanes (slot, lane, sequence) SELECT %s, lane, ({confirmed}) - 8 * lane"
    pipeline.log.run(f"{lag} FROM generate_series(0, 2) lane".replace("= slot", "= %s"), [pipeline.slot] * 2)

    async def publish(jetstream: Any) -> None:
        # Lane 0 has nothing to come, and lane 1 has it in the queue.
        await jetstream.publish(f"bemi.{pipeline.slot}.1", b"")

    server.ask(publish)
    (found,) = lost_messages.findings("default", pipeline.slot)
    assert found.id == "bemi.D022" and "lanes 2 do not get on" in found.message and found.stops
    assert list(lost_messages.findings("default", "bemi_of_nobody")) == []
    # Another destination is asked, too: this one has no log.
    settings.BEMI_DESTINATIONS = {"other": {"hash": "1/2"}}
    _, other = lost_messages.findings("default", pipeline.slot)
    assert other.id == "bemi.D023" and "destination other cannot be asked" in other.message


def test_a_log_that_stands_still_says_why(server: NatsServer, pipeline: Pipeline, settings: Any) -> None:
    settings.BEMI_SINK = server.url()
    made(server)
    trouble = "UPDATE _bemi.checkpoint SET trouble = 'another server sends it' WHERE slot = %s"
    pipeline.log.run(trouble, [pipeline.slot])
    found, *_ = lost_messages.findings("default", pipeline.slot)
    assert found.id == "bemi.D025" and found.stops
    assert f"the slot {pipeline.slot} stands still: another server sends it" in found.message


def test_a_destination_is_told_from_the_source_and_whatever_its_driver_raises(
    server: NatsServer, pipeline: Pipeline, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_SINK = server.url()
    settings.BEMI_DESTINATIONS = {"other": {"hash": "1/2"}}
    made(server)
    other = connections["other"]
    # A variable of the environment with a byte that is no text.
    monkeypatch.setitem(other.settings_dict, "PASSWORD", "secret\udcff")
    other.close()
    *_, found = lost_messages.findings("default", pipeline.slot)
    assert found.id == "bemi.D023" and "destination other cannot be asked" in found.message
    assert "UnicodeEncodeError" in found.message and "secret" not in found.message
    # What the source refuses is no fault of a destination.
    monkeypatch.setitem(other.settings_dict, "PASSWORD", "")
    monkeypatch.setitem(other.settings_dict, "PORT", "1")
    with pytest.raises(DatabaseError):
        list(lost_messages.findings("other", pipeline.slot))
