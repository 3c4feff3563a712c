"""A server of the test that receives webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple

#: The status of a receiver that does not answer.
NEVER = 0


class Received(NamedTuple):
    """A request: its headers, body, and path."""

    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def notice(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """What was received, and with which statuses the next requests are answered: 200 when there are none.

    :data:`NEVER` gives no answer, as long as the sender waits for one.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=of-the-path"


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                # The sender was killed. What arrived of it is no request, as for any server.
                return
            receiver.received.append(Received(dict(self.headers), body, self.path))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            if status == NEVER:
                self.rfile.read(1)
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(b"thank you")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()
