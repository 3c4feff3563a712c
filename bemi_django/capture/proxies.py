"""Find a client's address behind trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Stands in a list of networks for a proxy that connects through a Unix socket and so has no address.
UNIX_SOCKET = "unix:"
# Some proxies add the port.
_WITH_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[\d.]+))(?::\d+)?")


class TrustedProxies(NamedTuple):
    """The proxies whose headers are believed: the last ``hops`` before the site, or those in ``networks``."""

    hops: int = 0
    networks: tuple[Network, ...] = ()
    unix_socket: bool = False

    @classmethod
    def of(cls, setting: int | str | Iterable[str] | None) -> TrustedProxies | None:
        """Parse a setting.

        Args:
            setting: Number of proxies in front of the site, or their networks (``"10.0.0.0/8"``;
                ``"unix:"`` stands for a Unix socket). None turns the recording of addresses off.

        Returns:
            The trusted proxies, or None if the setting is None.

        Raises:
            TypeError: The setting has another type.
            ValueError: The number is negative, or a network cannot be parsed.
        """
        if setting is None:
            return None
        if isinstance(setting, int):
            if isinstance(setting, bool) or setting < 0:
                raise ValueError(f"{setting!r} is not a number of proxies")
            return cls(hops=setting)
        names = [setting] if isinstance(setting, str) else list(setting)
        if not all(isinstance(name, str) for name in names):
            # A number would be taken for an address.
            raise TypeError("a network must be a text")
        networks = tuple(ip_network(name) for name in names if name != UNIX_SOCKET)
        return cls(networks=networks, unix_socket=UNIX_SOCKET in names)


def is_trusted_peer(remote: str, trusted: TrustedProxies | None) -> bool:
    """Return whether a request was sent by a trusted proxy.

    Args:
        remote: Address of the peer that connected, empty for a Unix socket.
        trusted: The proxies to believe, if any.
    """
    if trusted is None:
        return False
    return trusted.hops > 0 or _is_proxy(remote, _address(remote), trusted)


def client_address(remote: str, forwarded: str, trusted: TrustedProxies) -> str | None:
    """Return the address of the client that sent a request.

    Each proxy appends the address of its caller to the right of ``X-Forwarded-For``. The header is
    therefore read from the right, up to the first address that is not trusted: the client can put
    anything to the left of it.

    Args:
        remote: Address of the peer that connected, empty for a Unix socket.
        forwarded: Value of the ``X-Forwarded-For`` header, empty if there is none.
        trusted: The proxies to believe.

    Returns:
        The address, or None if it is not known.
    """
    chain = [entry.strip() for entry in forwarded.split(",")] if forwarded.strip() else []
    if trusted.hops:
        chain.append(remote)
        return _printed(_address(chain[-min(trusted.hops + 1, len(chain))]))
    client = _address(remote)
    is_proxy = _is_proxy(remote, client, trusted)
    while is_proxy and chain:
        client = _address(chain.pop())
        is_proxy = _is_among(client, trusted.networks)
    return _printed(client)


def _is_proxy(remote: str, address: Address | None, trusted: TrustedProxies) -> bool:
    return _is_among(address, trusted.networks) if remote else trusted.unix_socket


def _is_among(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


def _address(entry: str) -> Address | None:
    with_port = _WITH_PORT.fullmatch(entry)
    try:
        address = ip_address(with_port["six"] or with_port["four"] if with_port else entry)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _printed(address: Address | None) -> str | None:
    return None if address is None else str(address)
