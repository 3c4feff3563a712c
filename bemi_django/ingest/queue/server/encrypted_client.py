"""A client of NATS that keeps to the TLS of its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bemi_django.exceptions import QueueUnavailable

if TYPE_CHECKING:
    from nats.aio.client import Client


def encrypted_client() -> Client:
    """Return a client that sends no password to a server without TLS where its address asks for TLS.

    That of nats-py takes ``tls://`` for a permission: whoever is between could leave TLS out.
    """
    from nats.aio.client import Client

    class EncryptedClient(Client):
        async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
            server = self._current_server
            if server is not None and server.uri.scheme == "tls" and info.get("tls_available"):
                # It would go on without TLS at a server that leaves the choice to its clients.
                info["tls_required"] = True
            await super()._process_info(info, initial_connection)

        def _connect_command(self) -> bytes:
            server = self._current_server
            if (
                server is not None
                and server.uri.scheme == "tls"
                and not self._server_info.get("tls_required")
            ):
                host = f"{server.uri.hostname}:{server.uri.port}"
                raise QueueUnavailable(f"the queue at {host} offers no TLS, which its address asks for")
            return super()._connect_command()

    return EncryptedClient()
