"""Changes sent to a webhook: signed, in order, and again with the same id until they are accepted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django.alerts import webhook
from bemi_django.alerts.webhook import signature_of
from bemi_django.exceptions import ReplicationError
from tests.support.exporting import Sink
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import DEADLINE, until
from tests.support.receiver import NEVER, Receiver, receiving

SECRET = "a secret for tests"


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.BEMI_WEBHOOK_HTTP = True
    settings.BEMI_WEBHOOK_NETWORKS = ["127.0.0.0/8"]
    settings.BEMI_SINK_SECRET = SECRET
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def sent(trail: LoadPipeline, receiver: Receiver) -> Iterator[Sink]:
    """A sink that sends to the receiver, begun."""
    sink = Sink(trail, receiver.url, list)
    sink.run()
    yield sink
    sink.drop()


def numbers(receiver: Receiver) -> list[list[int]]:
    """Return the numbers of the rows in each request."""
    return [[change["after"]["n"] for change in one.notice["changes"]] for one in receiver.received]


def test_a_transaction_is_a_signed_request(sent: Sink, receiver: Receiver) -> None:
    sent.trail.source.run("INSERT INTO load (id, n) VALUES (1, 1), (2, 2)")
    sent.trail.write(1)
    assert sent.run() == 3
    assert numbers(receiver) == [[1, 2], [3]]
    first = receiver.received[0]
    signature = signature_of(SECRET, first.headers["Bemi-Timestamp"], first.body)
    assert first.headers["Bemi-Signature"] == f"sha256={signature}"
    notice = first.notice
    assert first.headers["Bemi-Delivery"] == notice["delivery"]
    assert notice["delivery"] == f"{sent.slot}:0:{notice['lsn']}:0"
    assert (notice["version"], notice["history"], notice["first"], notice["is_last"]) == (1, 0, 0, True)
    assert notice["committed_at"] == notice["changes"][0]["committed_at"]
    assert notice["changes"][0]["table"] == "load"


def test_a_large_transaction_comes_in_parts_with_the_same_ids(sent: Sink, receiver: Receiver) -> None:
    sent.trail.source.run("INSERT INTO load SELECT i, i, repeat('x', 1000) FROM generate_series(1, 2500) i")
    # The second part is refused once, and the whole transaction comes again.
    receiver.statuses[:] = [200, 503]
    sent.run()
    deliveries = [one.notice["delivery"] for one in receiver.received]
    parts = len(set(deliveries))
    assert parts >= 3 and deliveries == deliveries[:2] + deliveries[2:] and deliveries[2:4] == deliveries[:2]
    assert receiver.received[0].notice["changes"][0]["id"] == receiver.received[2].notice["changes"][0]["id"]
    whole = {one.notice["delivery"]: one.notice for one in receiver.received}
    assert [change["after"]["n"] for one in whole.values() for change in one["changes"]] == list(
        range(1, 2501)
    )
    assert [one["is_last"] for one in whole.values()] == [False] * (parts - 1) + [True]


def test_what_is_not_accepted_is_sent_again_and_the_slot_waits(sent: Sink, receiver: Receiver) -> None:
    receiver.statuses[:] = [500] * 3
    with sent.trail.worker(config=sent.config):
        sent.trail.write(2)
        until(lambda: "has not accepted changes: the server answered 500" in sent.trouble())
        until(lambda: sent.confirmed() == sent.checkpoint() and len(receiver.received) >= 5)
    assert numbers(receiver)[-2:] == [[1], [2]]
    assert {tuple(one) for one in numbers(receiver)[:-1]} == {(1,)}
    until(lambda: not sent.trouble())


def test_what_is_refused_too_often_becomes_a_dead_letter(
    sent: Sink, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_SINK_ATTEMPTS = 2
    # What concerns the moment counts as no refusal, nor does a receiver that is slow.
    receiver.statuses[:] = [503, 422, 429, NEVER, 410]
    # Only the one that never answers is given up, however slow the others are.
    timeouts = iter([DEADLINE if status != NEVER else 0.2 for status in receiver.statuses])

    def deliver(*arguments: Any) -> Any:
        monkeypatch.setattr(webhook, "TIMEOUT", next(timeouts, DEADLINE))
        return webhook.deliver(*arguments)

    monkeypatch.setattr("bemi_django.sinks.receiver.deliver", deliver)
    sent.trail.write(2)
    assert sent.run() == 2
    assert numbers(receiver) == [[1]] * 5 + [[2]]
    assert len({one.notice["delivery"] for one in receiver.received}) == 2
    ((reason, delivery, message),) = sent.trail.log.run(
        "SELECT reason, origin ->> 'delivery', message FROM _bemi.dead_letters WHERE slot = %s", [sent.slot]
    )
    assert reason == "http://127.0.0.1 has not accepted changes: the server answered 410"
    assert (delivery, bytes(message)) == (receiver.received[4].notice["delivery"], receiver.received[4].body)


def test_without_a_limit_nothing_is_given_up(sent: Sink, receiver: Receiver) -> None:
    receiver.statuses[:] = [422] * 4
    sent.trail.write(1)
    sent.run()
    assert numbers(receiver) == [[1]] * 5


def test_a_webhook_needs_a_secret(sent: Sink, settings: Any) -> None:
    settings.BEMI_SINK_SECRET = "short"
    with pytest.raises(ReplicationError, match="a webhook needs BEMI_SINK_SECRET"):
        sent.run()


def test_no_message_names_the_url(sent: Sink, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.statuses[:] = [308]
    sent.trail.write(1)
    sent.run()
    assert "the server answered 308: redirects are not followed" in caplog.text
    assert "of-the-path" not in caplog.text and "/hook" not in caplog.text
