"""A worker that seals what it writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from bemi_django import conf
from bemi_django.schema import tracking
from bemi_django.seals.findings import ChainReport
from bemi_django.seals.verify import verify_chains
from tests.integration.retention.conftest import RECORDS
from tests.support.old_months import old_months
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

SLOT = "bemi_seals"


def whole() -> ChainReport:
    """Verify the chains, of which nothing is wrong."""
    report = verify_chains()
    assert list(map(str, report.findings)) == []
    return report


@pytest.fixture
def sealing(transactional_db: None) -> Iterator[Pipeline]:
    """A pipeline that seals, on an empty log without any chain."""
    tracking.sync()
    execute("TRUNCATE changes")
    made = Pipeline.of_project(SLOT)
    made.config = made.config._replace(is_sealed=True)
    made.run()
    yield made
    made.drop()
    execute("TRUNCATE changes")
    for table in ("links", "chains"):
        execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own


@pytest.fixture
def old_log(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty log with two months of the past, and no chain."""
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    tracking.sync()
    execute("TRUNCATE changes")
    with old_months():
        yield
    execute("TRUNCATE changes")
    for table in (*RECORDS, "links", "chains"):
        execute(f"DELETE FROM _bemi.{table}")  # noqa: S608 - names of our own


class AnchorHook(BaseHTTPRequestHandler):
    """A webhook that keeps what is posted to it."""

    posted: ClassVar[list[str]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(self.status)
        self.send_header("Location", "/login")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[str]:
    AnchorHook.posted.clear()
    AnchorHook.status = 200
    with HTTPServer(("127.0.0.1", 0), AnchorHook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/?token=row-value"
        server.shutdown()
        thread.join()
