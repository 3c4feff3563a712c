"""A NATS server with JetStream, on the loopback interface, that tests may kill and start again."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.support.polling import DEADLINE, until

T = TypeVar("T")

_CONFIGURATION = """
host: 127.0.0.1
port: {port}
max_payload: {payload}
jetstream {{ store_dir: "{directory}", sync_interval: always }}
"""


class NatsServer:
    """The ``nats-server`` of the wheel; it keeps its port and its data.

    Args:
        payload: Bytes that a message may have.
    """

    def __init__(self, payload: int = 64 * 1024) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="bemi-nats-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._configuration = self._directory / "nats.conf"
        self._configuration.write_text(
            _CONFIGURATION.format(port=self.port, payload=payload, directory=self._directory / "data")
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, stream: str = "bemi", **options: object) -> str:
        """Return the address of a stream."""
        query = "&".join(f"{name}={value}" for name, value in {"sync": "always", **options}.items())
        return f"nats://127.0.0.1:{self.port}/{stream}?{query}"

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
        """Stop the server and remove its data."""
        self.kill()
        shutil.rmtree(self._directory)

    def ask(self, question: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Return what a function answers, which is called with a JetStream context."""

        async def run() -> T:
            import nats

            client = await nats.connect(f"nats://127.0.0.1:{self.port}")
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def messages(self, stream: str = "bemi") -> int:
        """Return the number of messages of a stream."""

        async def count(jetstream: Any) -> int:
            return int((await jetstream.stream_info(stream)).state.messages)

        return self.ask(count)

    def delete(self, stream: str = "bemi") -> None:
        """Delete a stream, if it is there."""

        async def delete(jetstream: Any) -> None:
            from nats.js.errors import NotFoundError

            with suppress(NotFoundError):
                await jetstream.delete_stream(stream)

        self.ask(delete)

    def _listens(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0
