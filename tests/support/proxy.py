"""A TCP proxy in front of a server, whose connections a test can break."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from select import select

from tests.support.reserved_port import HOST, ReservedPort


class Proxy:
    """Relays ``port`` to ``target``. Connections are of the kind "stream" (replication) or "plain"."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: list[Link] = []
        self._port = ReservedPort()
        self.port = self._port.number
        self.accept()

    def accept(self) -> None:
        """Accept new connections, at first and after ``refuse()``."""
        self._listener = socket.create_server((HOST, self.port))
        self._serving = threading.Thread(target=self._serve, args=[self._listener], daemon=True)
        self._serving.start()

    def refuse(self) -> None:
        """Refuse new connections; existing ones stay."""
        # A pending accept() would keep a merely closed socket open.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        # What it has accepted is among the links when this returns.
        self._serving.join()

    def cut(self, *kinds: str) -> None:
        """Close the connections of these kinds, or all."""
        for link in self._chosen(kinds):
            link.cut()

    def stall(self, *kinds: str) -> None:
        """Stop passing data on the connections of these kinds, which stay open."""
        for link in self._chosen(kinds):
            link.stall()

    @property
    def holds_back(self) -> bool:
        """Whether a client has sent data that is held back."""
        held = [link.client for link in self._links if not link.flowing.is_set()]
        return bool(select(held, [], [], 0)[0])

    def resume(self) -> None:
        for link in self._links:
            link.flowing.set()

    def close(self) -> None:
        self.refuse()
        self.cut()
        for link in self._links:
            link.join()
        self._port.close()

    def _chosen(self, kinds: tuple[str, ...]) -> list[Link]:
        return [link for link in self._links if not kinds or link.kind in kinds]

    def _serve(self, listener: socket.socket) -> None:
        # Closing the listener ends the loop.
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection((HOST, self._target))
                except OSError:
                    client.close()
                    continue
                self._links.append(self._link(client, server))
                self._links[-1].start()

    def _link(self, client: socket.socket, server: socket.socket) -> Link:
        return Link(client, server)


class Link(threading.Thread):
    """Relays between two ends until one of them closes."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        super().__init__(daemon=True)
        self.client = client
        self._ends = {client: server, server: client}
        self.kind = ""
        self.flowing = threading.Event()
        self.flowing.set()
        self._relaying = threading.Lock()

    def run(self) -> None:
        with suppress(OSError):
            while self._relay(select(list(self._ends), [], [])[0]):
                pass
        for end in self._ends:
            end.close()

    def cut(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.flowing.set()

    def stall(self) -> None:
        """Pass nothing on from now on; what was read before has been passed on when this returns."""
        with self._relaying:
            self.flowing.clear()

    def _passed(self, end: socket.socket, data: bytes) -> bytes:
        """Return what is passed on of the data that an end has sent."""
        return data

    def _relay(self, readable: list[socket.socket]) -> bool:
        self.flowing.wait()
        with self._relaying:
            return not self.flowing.is_set() or all(map(self._relay_from, readable))

    def _relay_from(self, end: socket.socket) -> bool:
        data = end.recv(1 << 16)
        if not self.kind:
            self.kind = "stream" if b"replication\0" in data else "plain"
        self._ends[end].sendall(self._passed(end, data))
        return bool(data)
