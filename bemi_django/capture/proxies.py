"""Who sent a request? Behind proxies: the last address that one of them has seen and that is none of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Stands in a list of networks for a proxy that connects through a Unix socket, and so has no address.
UNIX_SOCKET = "unix:"
# Some proxies add the port.
_WITH_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[\d.]+))(?::\d+)?")


class Trusted(NamedTuple):
    """The proxies whose word is taken: so many in a row in front of the site, or those of some networks."""

    hops: int = 0
    networks: tuple[Network, ...] = ()
    unix_socket: bool = False

    @classmethod
    def of(cls, proxies: int | str | Iterable[str] | None) -> Trusted | None:
        """Read a setting: a number, or networks (``"10.0.0.0/8"``); None trusts no word and no address.

        Raises ValueError or TypeError for anything else.
        """
        if proxies is None:
            return None
        if isinstance(proxies, int):
            if isinstance(proxies, bool) or proxies < 0:
                raise ValueError(f"{proxies!r} is no number of proxies")
            return cls(hops=proxies)
        names = [proxies] if isinstance(proxies, str) else list(proxies)
        networks = tuple(ip_network(name) for name in names if name != UNIX_SOCKET)
        return cls(networks=networks, unix_socket=UNIX_SOCKET in names)


def client_address(remote: str, forwarded: str, trusted: Trusted) -> str | None:
    """Return the client's address, None when it is not known.

    ``remote`` is who connected to us, ``forwarded`` the header ``X-Forwarded-For``. Every proxy has
    added at the right whom it was called by, so it is read from there, and what stands left of an
    address that is not trusted may be anybody's invention.
    """
    chain = [entry.strip() for entry in forwarded.split(",")] if forwarded.strip() else []
    if trusted.hops:
        chain.append(remote)
        return _shown(_address(chain[-min(trusted.hops + 1, len(chain))]))
    client = _address(remote)
    is_proxy = _is_among(client, trusted.networks) if remote else trusted.unix_socket
    while is_proxy and chain:
        client = _address(chain.pop())
        is_proxy = _is_among(client, trusted.networks)
    return _shown(client)


def _is_among(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


def _address(entry: str) -> Address | None:
    with_port = _WITH_PORT.fullmatch(entry)
    try:
        address = ip_address(with_port["six"] or with_port["four"] if with_port else entry)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _shown(address: Address | None) -> str | None:
    return None if address is None else str(address)
