"""Three NATS servers that keep a stream together, each of which tests may kill and start again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.support.nats_server import Nats, NatsServer
from tests.support.polling import until
from tests.support.reserved_port import ReservedPort

_MEMBER = """
server_name: node{number}
cluster {{ name: bemi, listen: "127.0.0.1:{port}", routes: [{routes}] }}
"""


class NatsCluster(Nats):
    """A cluster with a stream of three replicas; its servers write to their disks now and then.

    Args:
        payload: Bytes that a message may have.
    """

    def __init__(self, payload: int = 64 * 1024) -> None:
        self._ports = [ReservedPort() for _ in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{port.number}"' for port in self._ports)
        self.nodes = [
            NatsServer(payload, _MEMBER.format(number=number, port=port.number, routes=routes))
            for number, port in enumerate(self._ports)
        ]
        self._wait_for_leader()

    @property
    def servers(self) -> list[str]:
        return [server for node in self.nodes for server in node.servers]

    def url(self, stream: str = "bemi", **options: object) -> str:
        return super().url(stream, replicas=3, **options)

    def wait(self, stream: str = "bemi") -> None:
        """Wait until all replicas of a stream are there and have what the others have."""

        async def is_whole(jetstream: Any) -> bool:
            cluster = (await jetstream.stream_info(stream)).cluster
            return bool(cluster.leader) and all(one.current for one in cluster.replicas)

        self._until(is_whole)

    def leader(self, stream: str = "bemi") -> NatsServer:
        """Return the server that leads the stream: it takes what is published."""

        async def read(jetstream: Any) -> str:
            return str((await jetstream.stream_info(stream)).cluster.leader)

        return self.nodes[int(self.ask(read).removeprefix("node"))]

    def _wait_for_leader(self) -> None:
        async def answers(jetstream: Any) -> bool:
            return bool(await jetstream.account_info())

        self._until(answers)

    def _until(self, question: Callable[[Any], Coroutine[Any, Any, bool]]) -> None:
        def is_true() -> bool:
            from nats.errors import Error

            try:
                return self.ask(question, seconds=0.5)
            except Error:
                return False

        until(is_true)

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        for port in self._ports:
            port.close()
