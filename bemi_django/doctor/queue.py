"""Whether the queue of ``BEMI_SINK`` is there, and keeps what it is given."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django.doctor.finding import Finding
from bemi_django.exceptions import QueueUnavailable, ReplicationError
from bemi_django.ingest.queue.server.stream_config import examine_stream
from bemi_django.sinks.configured import sink_address
from bemi_django.wire.queue_address import STREAM, QueueAddress

#: What mends a setting of a stream, as an option of ``nats stream edit``; the others cannot be changed.
_OPTIONS = {
    f"subjects {STREAM}.>": f"--subjects '{STREAM}.>'",
    "discard new": "--discard new",
    "no max_age": "--max-age 0s",
    "no max_msgs_per_subject": "--max-msgs-per-subject=-1",
    "no max_msg_size": "--max-msg-size=-1",
    "acknowledgements": "--ack",
}
_REPLICAS = 3


def findings() -> Iterator[Finding]:
    """Yield what is wrong with the queue; nothing if there is none, or if its address is wrong."""
    try:
        address = sink_address()
        if not isinstance(address, QueueAddress):
            return
        found = examine_stream(address)
    except QueueUnavailable as error:
        yield Finding(
            "bemi.D018",
            f"The queue of BEMI_SINK cannot be used: {error}. The replication slot keeps WAL until it can.",
            "Start nats-server with JetStream (nats-server -js), let this machine reach it, or correct "
            "BEMI_SINK.",
            stops=True,
        )
        return
    except ReplicationError:
        # The system check bemi.E029 says it.
        return
    if found is None:
        return
    name = address.stream
    if found.lacking:
        yield Finding(
            "bemi.D019",
            f"The stream {name} of the queue would lose changes or hold them up: it needs "
            f"{', '.join(found.lacking)}.",
            _remedy(name, found.lacking),
            stops=True,
        )
    if found.replicas < _REPLICAS and not address.is_synced:
        yield Finding(
            "bemi.D020",
            f"What the server of the stream {name} has acknowledged may be lost when its machine fails: it "
            f"has fewer than {_REPLICAS} replicas, and it is not known to write each message to its disk.",
            "Set sync_interval: always in the configuration of the server and add sync=always to BEMI_SINK, "
            f"or run nats stream edit {name} --replicas {_REPLICAS} on a cluster.",
        )


def _remedy(name: str, lacking: list[str]) -> str:
    if all(setting in _OPTIONS for setting in lacking):
        return f"Run nats stream edit {name} {' '.join(_OPTIONS[setting] for setting in lacking)}."
    return (
        f"Let manage.py bemi consume write what it has, then run nats stream rm {name}: "
        "manage.py bemi run makes it with the right settings."
    )
