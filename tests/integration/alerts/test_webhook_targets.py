"""Webhooks are sent where they may be sent to, and nowhere else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from bemi_django.alerts import webhook
from bemi_django.alerts.webhook import AlertFailed, checked, post
from bemi_django.models import AlertRule
from tests.support.polling import DEADLINE, until
from tests.support.receiver import receiving

NOTICE = {"change": None}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exam ple.com/",
        "https://example.com/\r\nHost: x",
        "https://[::1/",
        "file:///etc/passwd",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(AlertFailed, match="URL"):
        checked(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "fec0::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:0:0:0:0:80ff:fefe",
    ],
)
def test_addresses_that_are_not_public_are_refused(monkeypatch: Any, address: str) -> None:
    # Of several addresses, all have to be public: which one is connected to is not the name's choice.
    found = [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(AlertFailed, match="not public"):
        post(AlertRule(pk=1, url="https://example.com/"), NOTICE)


@pytest.mark.parametrize("error", [ConnectionRefusedError, ConnectionResetError, BrokenPipeError])
def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: Any, error: type[OSError]
) -> None:
    lookups: list[object] = []
    connected: list[object] = []

    def look_up(host: str, port: int, **kwargs: object) -> Any:
        lookups.append(host)
        return [(0, 0, 0, "", ("93.184.216.34", port))]

    def connect(address: Any, timeout: float) -> Any:
        connected.append(address)
        raise error("93.184.216.34 token")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(AlertFailed) as failure:
        post(AlertRule(pk=1, url="https://example.com/token"), NOTICE)
    assert str(failure.value) == f"the server could not be reached: {error.__name__}"
    assert (lookups, connected) == (["example.com"], [("93.184.216.34", 443)])


def test_the_settings_open_http_and_networks(settings: Any) -> None:
    settings.BEMI_WEBHOOK_HTTP = True
    with receiving() as receiver:
        rule = AlertRule(pk=1, url=receiver.url, salt=webhook.new_salt())
        with pytest.raises(AlertFailed, match="not public"):
            post(rule, NOTICE)
        settings.BEMI_WEBHOOK_NETWORKS = ["127.0.0.0/8"]
        assert post(rule, NOTICE) == (200, "thank you")
        receiver.statuses = [301]
        with pytest.raises(AlertFailed, match="the server answered 301"):
            post(rule, NOTICE)
    assert [one.path for one in receiver.received] == ["/hook?token=of-the-path"] * 2


def test_a_server_that_answers_too_slowly_is_given_up(settings: Any, monkeypatch: Any) -> None:
    settings.BEMI_WEBHOOK_HTTP, settings.BEMI_WEBHOOK_NETWORKS = True, ["127.0.0.0/8"]
    monkeypatch.setattr(webhook, "LONGEST", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(AlertFailed, match="could not be reached"):
            post(AlertRule(pk=1, url=url), NOTICE)


def test_a_server_that_answers_byte_by_byte_is_given_up(settings: Any, monkeypatch: Any) -> None:
    """Each byte comes in time, so that no timeout of a socket ends it."""
    settings.BEMI_WEBHOOK_HTTP, settings.BEMI_WEBHOOK_NETWORKS = True, ["127.0.0.0/8"]
    sent: list[bytes] = []

    class TimeIsOver(threading.Thread):
        """A timer whose time is over when some bytes have come."""

        def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
            super().__init__()
            self._cut = cut

        def run(self) -> None:
            until(lambda: len(sent) > 1)
            self._cut()

        def cancel(self) -> None: ...

    monkeypatch.setattr(webhook, "threading", SimpleNamespace(Timer=TimeIsOver))

    def drip(server: socket.socket) -> None:
        connection, _address = server.accept()
        with connection, suppress(OSError):
            # What has come when the connection is cut would be taken for an answer.
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(1000):
                connection.sendall(b"a")
                sent.append(b"a")
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=[server])
        thread.start()
        with pytest.raises(AlertFailed, match="could not be reached"):
            post(AlertRule(pk=1, url=f"http://127.0.0.1:{server.getsockname()[1]}/"), NOTICE)
        thread.join()
    assert len(sent) < 1000


@pytest.mark.parametrize(
    ("answer", "reads", "expected"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n%s", True, "took it"),
        (b"%s", True, "took it"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", True, "answered 101"),
        (b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n", False, "answered 413"),
        (b"%s", False, "answered before it had everything"),
        (b"HTTP/1.1 2", True, "could not be reached"),
        (b"", True, "could not be reached"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: a\r\n" * 200 + b"\r\n", True, "could not be reached"),
        (b"HTTP/1.1 503 Away\r\nContent-Length: 99999999999\r\n\r\n" + b"a" * 100_000, True, "answered 503"),
    ],
)
def test_answers_of_every_kind(settings: Any, answer: bytes, reads: bool, expected: str) -> None:
    settings.BEMI_WEBHOOK_HTTP, settings.BEMI_WEBHOOK_NETWORKS = True, ["127.0.0.0/8"]
    body = b"x" * 8_000_000
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ntook it"

    def serve(server: socket.socket) -> None:
        connection, _address = server.accept()
        with connection, suppress(OSError):
            connection.settimeout(DEADLINE)
            left = len(body) if reads else 1
            while left > 0:
                left -= len(connection.recv(1 << 20))
            connection.sendall(answer.replace(b"%s", final))

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE)
        thread = threading.Thread(target=serve, args=[server], daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        try:
            said = webhook.deliver(url, body, "secret", "1").text
        except AlertFailed as error:
            said = str(error)
        thread.join()
    assert expected in said


def test_each_salt_makes_another_secret() -> None:
    first, second = AlertRule(pk=1, salt=webhook.new_salt()), AlertRule(pk=1, salt=webhook.new_salt())
    assert webhook.secret_of(first) == webhook.secret_of(first) != webhook.secret_of(second)
