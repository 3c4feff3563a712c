"""Send a notice to a URL: signed, over HTTPS, and not into networks that are not public."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from django.utils.crypto import get_random_string, salted_hmac
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from bemi_django.alerts import configured
from bemi_django.exceptions import BemiError
from bemi_django.models import AlertRule

#: Seconds for the connection, and for each part of the answer.
TIMEOUT = 10
#: Seconds after which a server that answers a bit at a time is given up.
LONGEST = 30
#: Bytes of an answer that are read.
_MOST_ANSWER = 2000
_SALT_LENGTH = 22
_SUCCESS, _REDIRECTS = range(200, 300), range(300, 400)
# The addresses of these hold one of IPv4, or are of a site.
_TRANSLATED = tuple(
    map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "fec0::/10"))
)


class AlertFailed(BemiError):
    """An alert could not be sent. The message names neither secrets nor the URL.

    ``status`` is that of the answer, if there was one. Logs have the message in English.
    """

    def __init__(self, text: str, *, status: int | None = None, **values: object) -> None:
        self.status = status
        self._text, self._values = text, {"status": status, **values}
        super().__init__(text % self._values)

    @property
    def said(self) -> str:
        """The message in the reader's language."""
        return f"{capfirst(gettext(self._text) % self._values)}."


class WebhookAnswer(NamedTuple):
    """What a server has answered; ``text`` is the beginning of it."""

    status: int
    text: str


def new_salt() -> str:
    """Return what a new secret is derived from."""
    return get_random_string(_SALT_LENGTH)


def secret_of(rule: AlertRule) -> str:
    """Return the secret of a rule, with which its receiver checks the signature."""
    return salted_hmac("bemi_django.alerts", f"{rule.pk}:{rule.salt}", algorithm="sha256").hexdigest()


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a notice: the HMAC-SHA256 of the time, a full stop and the body."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def checked(url: str) -> SplitResult:
    """Return the parts of a URL. Raises AlertFailed if nothing is sent to one like it."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        raise AlertFailed(_("the URL is not valid")) from None
    schemes = ("https", "http") if configured.may_use_http() else ("https",)
    if parts.scheme not in schemes:
        names = " / ".join(f"{name}://" for name in schemes)
        raise AlertFailed(_("the URL has to begin with %(schemes)s"), schemes=names)
    if not parts.hostname or not has_port or any(char <= " " or char == "\x7f" for char in url):
        raise AlertFailed(_("the URL is not valid"))
    if parts.username is not None or parts.password is not None:
        raise AlertFailed(_("the URL must not have a user name or password"))
    return parts


def post(rule: AlertRule, notice: dict[str, Any]) -> WebhookAnswer:
    """Send a notice, and return what was answered. Redirects are not followed, proxies not used.

    Raises:
        AlertFailed: Nothing may be sent there, or nobody has accepted it.
    """
    delivery = f"{rule.pk}:{notice['change'] or int(time.time())}"
    return deliver(rule.url, json.dumps(notice).encode(), secret_of(rule), delivery)


def deliver(url: str, body: bytes, secret: str, delivery: str) -> WebhookAnswer:
    """Send JSON, and return what was answered. Redirects are not followed, proxies not used.

    Args:
        url: Where to send it.
        body: The JSON.
        secret: The receiver checks the signature with it.
        delivery: The id of what is sent, the same whenever it is sent again.

    Raises:
        AlertFailed: Nothing may be sent there, or nobody has accepted it.
    """
    parts = checked(url)
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "bemi_django",
        "Bemi-Delivery": delivery,
        "Bemi-Timestamp": timestamp,
        "Bemi-Signature": f"sha256={signature_of(secret, timestamp, body)}",
    }
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    try:
        with closing(_Connection(parts)) as connection, connection.limited():
            connection.connect()
            is_sent = False
            # A server may refuse what is too large for it before it has read all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", path, body, headers)
                is_sent = True
            with connection.getresponse() as response:
                text = response.read(_MOST_ANSWER).decode(errors="replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The text of some errors has the URL.
        raise AlertFailed(
            _("the server could not be reached: %(error)s"), error=type(error).__name__
        ) from None
    if response.status in _REDIRECTS:
        raise AlertFailed(
            _("the server answered %(status)s: redirects are not followed, give the address it leads to"),
            status=response.status,
        )
    if response.status not in _SUCCESS:
        raise AlertFailed(_("the server answered %(status)s"), status=response.status)
    if not is_sent:
        raise AlertFailed(_("the server answered before it had everything"))
    return WebhookAnswer(response.status, text)


class _Answer(http.client.HTTPResponse):
    """An answer after those that say that another one follows: RFC 9110, 15.2."""

    def begin(self) -> None:
        super().begin()
        while http.client.SWITCHING_PROTOCOLS < self.status < http.client.OK:
            # What was begun is not begun again.
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked: the name is not looked up again."""

    response_class = _Answer

    def __init__(self, parts: SplitResult) -> None:
        is_secure = parts.scheme == "https"
        self._context = ssl.create_default_context() if is_secure else None
        host = parts.hostname or ""
        self.default_port = 443 if is_secure else 80
        self._is_over = False
        super().__init__(host, parts.port or self.default_port, timeout=TIMEOUT)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Cut the connection in a block that takes too long."""
        timer = threading.Timer(LONGEST, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if self._is_over:
            # What had come by then can look like an answer.
            raise TimeoutError

    def _cut(self) -> None:
        self._is_over = True
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)

    def connect(self) -> None:
        """Connect to the first address that answers, if all that the name has may be sent to."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(_may_reach(address) for address in addresses):
            raise AlertFailed(
                _("the server has an address that is not public: BEMI_WEBHOOK_NETWORKS names such networks")
            )
        error: OSError | None = None
        for address in addresses:
            try:
                self.sock = socket.create_connection((address, self.port), TIMEOUT)
                break
            except OSError as failure:
                error = failure
            if self._is_over:
                break
        else:
            raise error or OSError
        if self._context is not None and not self._is_over:
            secure = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            # Assigned before the server may say anything, so that it can be cut.
            self.sock = secure
            secure.do_handshake()
        if self._is_over:
            raise TimeoutError


def _may_reach(text: str) -> bool:
    """Return whether an address is public, or in one of the networks that the settings name."""
    address = ip_address(text.partition("%")[0])
    if any(address in network for network in configured.private_networks()):
        return True
    return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return _is_public(inner)
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast
