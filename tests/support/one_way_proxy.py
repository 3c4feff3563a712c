"""A proxy that loses what one side sends, as networks do whose ways there and back are not the same."""

from __future__ import annotations

import socket

from tests.support.proxy import Link, Proxy


class _OneWay(Link):
    """Passes nothing on of what ``deaf`` would hear."""

    deaf: socket.socket | None = None

    def _passed(self, end: socket.socket, data: bytes) -> bytes:
        return b"" if self._ends[end] is self.deaf else data


class OneWayProxy(Proxy):
    """Relays as :class:`Proxy` does."""

    def lose(self, *, from_client: bool) -> None:
        """Lose what one side sends from now on over the connections that there are."""
        for link in self._links:
            assert isinstance(link, _OneWay)
            link.deaf = link._ends[link.client] if from_client else link.client

    def _link(self, client: socket.socket, server: socket.socket) -> Link:
        return _OneWay(client, server)
