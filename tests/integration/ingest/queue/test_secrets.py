"""What must not be kept is in no message of a queue, nor in a file of its server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.ingest.rows.test_masking import CONTROL, MARK, accounts, hits, write_secrets
from tests.support.nats_server import NatsServer
from tests.support.queued_pipeline import QueuedPipeline


@pytest.fixture
def masked(queued: QueuedPipeline) -> Iterator[QueuedPipeline]:
    """Tables with secrets, which the publisher masks and encrypts."""
    trail = queued.trail
    with accounts(trail):
        queued.config = queued.config._replace(masking=trail.config.masking)
        yield queued


def messages(queued: QueuedPipeline) -> dict[str, bytes]:
    """Return what is in the stream now, with the headers."""

    async def read(jetstream: Any) -> dict[str, bytes]:
        state = (await jetstream.stream_info("bemi")).state
        found = {}
        for number in range(state.first_seq, state.last_seq + 1):
            message = await jetstream.get_msg("bemi", number)
            found[f"message {number}"] = message.data + json.dumps(dict(message.headers or {})).encode()
        return found

    return queued.server.ask(read)


def test_no_secret_is_in_the_queue(masked: QueuedPipeline, nats_server: NatsServer) -> None:
    write_secrets(masked.trail.source)
    masked.publish()
    held = messages(masked)
    kept = {str(path): path.read_bytes() for path in nats_server.directory.rglob("*") if path.is_file()}
    for haystacks in (held, kept):
        assert hits(CONTROL, haystacks)
        assert hits(f"{MARK}-", haystacks) == []
    # The keys are beside the log, so that an erasure reaches what is still in the queue.
    assert masked.trail.log.one("SELECT count(*) FROM _bemi.subject_keys") == 1
    assert any(b"encrypted:" in message for message in held.values())
    masked.consume()
    diary = "SELECT after ->> 'diary' FROM changes WHERE \"table\" = 'account' AND primary_key = '17'"
    assert {text[:10] for (text,) in masked.trail.log.run(diary)} == {"encrypted:"}


def test_what_is_in_the_queue_cannot_be_read_after_the_deletion_of_its_key(masked: QueuedPipeline) -> None:
    masked.trail.source.run("INSERT INTO account (id, diary) VALUES (17, 'dear diary')")
    masked.publish()
    masked.trail.log.run("DELETE FROM _bemi.subject_keys")
    assert masked.consume() == 1
    # A consumer makes no keys, and needs none.
    assert masked.trail.log.one("SELECT count(*) FROM _bemi.subject_keys") == 0
    ((row,),) = masked.trail.log.run("SELECT after FROM changes WHERE primary_key = '17'")
    assert row["diary"].startswith("encrypted:")
