"""A NATS server with JetStream, on the loopback interface, that tests may kill and start again."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.support.polling import DEADLINE, until
from tests.support.reserved_port import ReservedPort
from tests.support.server_folder import server_folder

T = TypeVar("T")

_CONFIGURATION = """
host: 127.0.0.1
port: {port}
max_payload: {payload}
jetstream {{ store_dir: "{directory}"{sync} }}
"""


class Nats(ABC):
    """One or several servers, as their clients see them."""

    @property
    @abstractmethod
    def servers(self) -> list[str]:
        """The addresses for clients."""

    @abstractmethod
    def close(self) -> None:
        """Stop what runs and remove its data."""

    def url(self, stream: str = "bemi", **options: object) -> str:
        """Return the address of a stream."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{','.join(self.servers).replace(',nats://', ',')}/{stream}?{query}"

    def ask(self, question: Callable[[Any], Coroutine[Any, Any, T]], seconds: float = DEADLINE) -> T:
        """Return what a function answers, which is called with a JetStream context."""

        async def run() -> T:
            import nats

            client = await nats.connect(self.servers)
            try:
                return await question(client.jetstream(timeout=seconds))
            finally:
                await client.close()

        return asyncio.run(run())

    def messages(self, stream: str = "bemi") -> int:
        """Return the number of messages of a stream."""

        async def count(jetstream: Any) -> int:
            return int((await jetstream.stream_info(stream)).state.messages)

        return self.ask(count)

    def make(self, **config: Any) -> None:
        """Make a stream with settings as the server knows them, which the client need not know."""

        async def make(jetstream: Any) -> None:
            for verb, settings in ("CREATE", {**config, "sealed": False}), ("UPDATE", config):
                # The server makes none that is sealed.
                if verb == "CREATE" or config.get("sealed"):
                    sent = json.dumps(settings).encode()
                    subject = f"$JS.API.STREAM.{verb}.{config['name']}"
                    answer = await jetstream._nc.request(subject, sent, timeout=DEADLINE)
                    assert "error" not in json.loads(answer.data), answer.data

        self.ask(make)

    def delete(self, stream: str = "bemi") -> None:
        """Delete a stream, if it is there."""

        async def delete(jetstream: Any) -> None:
            from nats.js.errors import NotFoundError

            with suppress(NotFoundError):
                await jetstream.delete_stream(stream)

        self.ask(delete)


class NatsServer(Nats):
    """The ``nats-server`` of the wheel; it keeps its port and its data.

    Args:
        payload: Bytes that a message may have.
        member: Configuration of a member of a cluster, which does not write each message to the disk.
    """

    def __init__(self, payload: int = 64 * 1024, member: str = "") -> None:
        self._directory = server_folder("bemi-nats-")
        self._port = ReservedPort()
        self.port = self._port.number
        self._configuration = self._directory / "nats.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(
                port=self.port,
                payload=payload,
                directory=self._directory / "data",
                sync="" if member else ", sync_interval: always",
            )
            + member
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def servers(self) -> list[str]:
        return [f"nats://127.0.0.1:{self.port}"]

    def url(self, stream: str = "bemi", **options: object) -> str:
        return super().url(stream, sync="always", **options)

    def start(self) -> None:
        binary = Path(sys.executable).parent / "nats-server"
        self._process = subprocess.Popen(
            [binary, "-c", self._configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens, why=lambda: "nats-server does not listen")

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE)

    def close(self) -> None:
        self.kill()
        self._port.close()
        shutil.rmtree(self._directory)

    @contextmanager
    def set_back(self) -> Iterator[None]:
        """Lose what is stored in the block, as a machine that fails loses what is not on its disk."""
        data, kept = self._directory / "data", self._directory / "kept"
        self.kill()
        shutil.copytree(data, kept)
        self.start()
        yield
        self.kill()
        shutil.rmtree(data)
        kept.rename(data)
        self.start()

    @property
    def directory(self) -> Path:
        """Where it keeps its data."""
        return self._directory

    def _listens(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0
