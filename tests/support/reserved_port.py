"""Ports for servers of the tests that stop, and start again where they were."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


class ReservedPort:
    """A free port that the system gives to nobody else until it is closed.

    A socket is bound to it that does not listen. Servers may do so all the same: they set ``SO_REUSEADDR``.
    Otherwise, another run of tests could get the port while the server is down.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
