"""A cluster of two servers that Patroni manages, with etcd as its store."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from sample_project.postgres_process import free_port
from sample_project.postgres_programs import account, run
from tests.support.patroni_node import SCOPE, Node, Place, programs
from tests.support.polling import DEADLINE, until

_POSITION = "SELECT pg_current_wal_lsn()"


class Patroni:
    """Two servers, of which Patroni lets one be the primary."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.nodes: list[Node] = []

    def add(self, name: str) -> Node:
        node = Node(self._place, name)
        self.nodes.append(node)
        return node

    def primary(self) -> Node:
        """Wait for a primary, and return it."""
        found = until(
            lambda: [node for node in self.nodes if node.is_primary()],
            why=lambda: "\n".join(node.said() for node in self.nodes),
        )
        return found[0]

    def standby_of(self, primary: Node) -> Node:
        """Wait until the other server follows, and has the permanent slots; return it."""
        (other,) = (node for node in self.nodes if node is not primary)
        # One on a branch of its own would connect as well, before Patroni makes a new copy of it.
        position = primary.one(_POSITION)

        def follows() -> bool:
            # Slots move on past such a record, which the server writes at checkpoints.
            primary.run("CHECKPOINT")
            return primary.is_followed_by(other, position) and other.may_be_promoted(self._place.slots)

        until(follows, why=other.said)
        return other

    def switch_over(self, primary: Node, candidate: Node) -> None:
        """Let Patroni make the candidate the primary, as an administrator does."""
        control = self._place.program.with_name("patronictl")
        who = ["--leader", primary.name, "--candidate", candidate.name]
        command = [control, "-c", primary.configuration, "switchover", SCOPE, *who, "--force"]

        def is_switched() -> bool:
            # Patroni refuses while it takes the candidate for unhealthy, and says so on its output only.
            if not candidate.is_primary():
                run([str(part) for part in command], account())
            return candidate.is_primary()

        until(is_switched, why=candidate.said)


@contextmanager
def patroni_cluster(*permanent_slots: str) -> Iterator[Patroni]:
    """Yield a cluster of two servers: a primary, and one that becomes its standby."""
    program = programs()
    slots = {
        name: {"type": "logical", "database": "postgres", "plugin": "pgoutput"} for name in permanent_slots
    }
    with ExitStack() as stack:
        made = Patroni(Place(program, stack.enter_context(_etcd()), slots))
        stack.enter_context(closing(made.add("one")))
        made.primary()
        stack.enter_context(closing(made.add("two")))
        yield made


@contextmanager
def _etcd() -> Iterator[str]:
    """Yield the address of an etcd of one member."""
    client, peer = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="bemi-etcd-") as directory:
        process = subprocess.Popen(
            [
                "etcd",
                f"--data-dir={directory}/data",
                f"--listen-client-urls=http://{client}",
                f"--advertise-client-urls=http://{client}",
                f"--listen-peer-urls=http://{peer}",
                f"--initial-advertise-peer-urls=http://{peer}",
                f"--initial-cluster=default=http://{peer}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield client
        finally:
            process.kill()
            process.wait(DEADLINE)
