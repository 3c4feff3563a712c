from __future__ import annotations

from typing import Any

import pytest

from bemi_django.capture.proxies import TrustedProxies, client_address

OURS = ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "client"),
    [
        (0, "203.0.113.7", "", "203.0.113.7"),
        (0, "203.0.113.7", "6.6.6.6", "203.0.113.7"),
        ([], "203.0.113.7", "6.6.6.6", "203.0.113.7"),
        (1, "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (1, "10.0.0.1", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (2, "10.0.0.1", "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (2, "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (1, "10.0.0.1", "", "10.0.0.1"),
        (1, "", "203.0.113.7", "203.0.113.7"),
        (1, "10.0.0.1", "unknown", None),
        (OURS, "203.0.113.7", "6.6.6.6", "203.0.113.7"),
        (OURS, "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (OURS, "10.0.0.1", "6.6.6.6,203.0.113.7 , 10.0.0.2", "203.0.113.7"),
        (OURS, "10.0.0.1", "10.0.0.9, 203.0.113.7", "203.0.113.7"),
        (OURS, "10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        (OURS, "10.0.0.1", "", "10.0.0.1"),
        (OURS, "10.0.0.1", "6.6.6.6, <script>, 10.0.0.2", None),
        (OURS, "10.0.0.1", "6.6.6.6, , 10.0.0.2", None),
        (OURS, "::ffff:10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        (OURS, "2001:db8::1", "[2001:db9::7]:4711", "2001:db9::7"),
        (OURS, "2001:db8::1", "2001:db9:0::7", "2001:db9::7"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (OURS, "", "203.0.113.7", None),
        ([*OURS, "unix:"], "", "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (["unix:"], "", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (["unix:"], "", "", None),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(
    proxies: Any, remote: str, forwarded: str, client: str | None
) -> None:
    trusted = TrustedProxies.of(proxies)
    assert trusted is not None
    assert client_address(remote, forwarded, trusted) == client


@pytest.mark.parametrize("proxies", [-1, True, "everybody", ["10.0.0.1/8"], [7.5], 1.5, [1], b"1"])
def test_what_is_no_network_and_no_number_is_refused(proxies: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        TrustedProxies.of(proxies)
