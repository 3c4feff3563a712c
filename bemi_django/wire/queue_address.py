"""The address of a queue: ``nats://[user:password@]host[:port][,host[:port]...][/stream][?lanes=4]``."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from bemi_django.secrecy.hidden import HiddenText

STREAM = "bemi"
LANES = 4
#: A lane is at least a row of a table, a lock and a consumer of the server.
_MOST_LANES = 64
_NUMBERS = frozenset(map(str, range(_MOST_LANES)))
_DURATION = re.compile("([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: Seconds that are 100 years: a moment that lies before them is one that Python knows.
_LONGEST = 36500 * 86400
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORM = "use nats://HOST:PORT/STREAM, with ?lanes=4, replicas=3, keep=7d or sync=always where they are wanted"


class QueueAddress(NamedTuple):
    """Where a queue is.

    ``servers`` are URLs with credentials, which must not be printed, and ``stream`` names the stream.
    ``lanes`` is the number of lanes of a source that begins, ``replicas`` that of the replicas of a stream
    that is made. ``is_synced`` says that the operator has set ``sync_interval: always``, which the server
    does not tell. Messages that were written are removed after ``keep`` seconds.
    """

    servers: tuple[str, ...]
    stream: str = STREAM
    lanes: int = LANES
    is_synced: bool = False
    replicas: int = 1
    keep: int = 0

    @property
    def hosts(self) -> str:
        """The servers without credentials, for messages."""
        return ", ".join(server.rpartition("@")[2].removeprefix("nats://") for server in self.servers)

    def subject(self, source: str, lane: int) -> str:
        """Return the subject of a lane; ``source`` is the name of a slot."""
        return f"{STREAM}.{source}.{lane}"


def is_lane(text: str) -> bool:
    """Return whether a part of a subject is the number of a lane."""
    return text in _NUMBERS


def parse(url: str) -> QueueAddress:
    """Return the address that a URL holds.

    Raises:
        ValueError: It is not one of a queue. The message does not repeat it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"the address of the queue is not valid: {_FORM}") from None
    stream = parts.path.strip("/") or STREAM
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    lanes = options.pop("lanes", str(LANES))
    replicas = options.pop("replicas", "1")
    kept = _DURATION.fullmatch(options.pop("keep", "0s"))
    sync = options.pop("sync", "")
    # What follows # may be the end of a password.
    if parts.scheme not in ("nats", "tls") or not parts.netloc or not _NAME.fullmatch(stream) or "#" in url:
        raise ValueError(f"the address of the queue is not valid: {_FORM}")
    if options or sync not in ("", "always"):
        raise ValueError(f"an option of the queue's address is not known: {_FORM}")
    if not lanes.isdecimal() or not 1 <= int(lanes) <= _MOST_LANES:
        raise ValueError(f"lanes of the queue's address must be a number from 1 to {_MOST_LANES}")
    if replicas not in ("1", "3", "5"):
        raise ValueError("replicas of the queue's address must be 1, 3 or 5")
    seconds = 0 if kept is None else int(kept[1]) * _SECONDS[kept[2]]
    if kept is None or seconds > _LONGEST:
        raise ValueError(
            "keep of the queue's address must be a duration: 90s, 30m, 12h or 7d, 36500d at most"
        )
    user, at, hosts = parts.netloc.rpartition("@")
    if not all(map(_is_host, hosts.split(","))):
        raise ValueError(f"a host or a port of the queue's address is not valid: {_FORM}")
    servers = tuple(HiddenText(f"{parts.scheme}://{user}{at}{host}") for host in hosts.split(","))
    return QueueAddress(servers, stream, int(lanes), sync == "always", int(replicas), seconds)


def _is_host(text: str) -> bool:
    """Return whether a text is a host, with or without a port."""
    try:
        found = urlsplit(f"//{text}")
        return bool(found.hostname) and found.port != 0
    except ValueError:
        return False
