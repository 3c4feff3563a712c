"""A proxy that asks the client of a stream for its position between any two messages of the server."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from struct import pack, unpack_from

from tests.support.proxy import Link, Proxy

_EPOCH = 946_684_800


class AskingProxy(Proxy):
    """Relays a server, and puts a keepalive that asks for an answer behind each of its stream's messages.

    Args:
        target: The port of the server.
        on_status: Called with the flush position of each status update of a client.
        shutdown: The chance that the server shuts down behind a message, from 0 to 1.
    """

    def __init__(self, target: int, on_status: Callable[[int], None], shutdown: float = 0.0) -> None:
        self.on_status = on_status
        self.shutdown = shutdown
        self.random = random.Random(1)
        #: Questions that were put, and shutdowns.
        self.asked = self.shutdowns = 0
        super().__init__(target)

    def _link(self, client: socket.socket, server: socket.socket) -> Link:
        return _AskingLink(self, client, server)


class _AskingLink(Link):
    def __init__(self, proxy: AskingProxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(client, server)
        self._proxy = proxy
        self._of_client, self._of_server = bytearray(), bytearray()
        self._has_begun = False
        self._is_streaming = False
        self._is_down = False
        self._position = 0

    def _passed(self, end: socket.socket, data: bytes) -> bytes:
        if self.kind != "stream" or self._is_down:
            return b"" if self._is_down else data
        if end is self.client:
            self._of_client += data
            self._listen()
            return data
        self._of_server += data
        return b"".join(map(self._followed, _messages(self._of_server)))

    def _listen(self) -> None:
        if not self._has_begun and len(self._of_client) >= 4:
            # The first one has no kind.
            del self._of_client[: unpack_from(">i", self._of_client)[0]]
            self._has_begun = True
        for message in _messages(self._of_client):
            if message[:1] == b"d" and message[5:6] == b"r":
                self._proxy.on_status(unpack_from(">Q", message, 14)[0])

    def _followed(self, message: bytes) -> bytes:
        if self._is_down:
            return b""
        self._is_streaming |= message[:1] == b"W"
        if not self._is_streaming:
            return message
        if message[:1] == b"d":
            # Where the server is: of XLogData behind the start of the message.
            self._position = max(
                self._position, unpack_from(">Q", message, 14 if message[5:6] == b"w" else 6)[0]
            )
        clock = 0
        self._proxy.asked += 1
        question = b"k" + pack(">QqB", self._position, clock, 1)
        message += b"d" + pack(">i", len(question) + 4) + question
        if self._proxy.random.random() < self._proxy.shutdown:
            self._proxy.shutdowns += 1
            self._is_down = True
            message += b"C" + pack(">i", 11) + b"COPY 0\0"
        return message


def _messages(buffer: bytearray) -> list[bytes]:
    """Take the whole messages from a buffer."""
    found = []
    while len(buffer) >= 5:
        end = 1 + unpack_from(">i", buffer, 1)[0]
        if len(buffer) < end:
            break
        found.append(bytes(buffer[:end]))
        del buffer[:end]
    return found
