"""The HTTP server of ``bemi run --metrics``."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.db import connections

from bemi_django.metrics.answers import Answer, Answers

logger = logging.getLogger(__name__)


class _Request(BaseHTTPRequestHandler):
    """A request; the server has a thread for each."""

    server: _Server
    #: A client that sends nothing is given up after these seconds.
    timeout = 10
    server_version = "bemi"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page of the path."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
            return
        try:
            status, content_type, body = page()
        finally:
            connections.close_all()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log no requests: probes come every few seconds."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answers: Answers, host: str, port: int) -> None:
        self.pages: dict[str, Callable[[], Answer]] = {
            "/metrics": answers.metrics,
            "/healthz": answers.health,
            "/readyz": answers.readiness,
        }
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a request failed. Clients that hang up are no errors of ours."""
        logger.debug("a request for metrics failed", exc_info=True)


def serving(answers: Answers, host: str, port: int) -> AbstractContextManager[int]:
    """Listen, and return a context manager that answers while its block runs and yields the port.

    Args:
        answers: What it answers.
        host: Name or address to listen on.
        port: Port to listen on; 0 stands for any free one.

    Raises:
        OSError: Nobody can listen there.
    """
    return _answering(_Server(answers, host, port))


@contextmanager
def _answering(server: _Server) -> Iterator[int]:
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True, name="bemi-metrics")
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
