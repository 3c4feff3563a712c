"""A NATS server with JetStream for one run, which syncs each message before it acknowledges it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

_CONFIGURATION = """
host: 127.0.0.1
port: {port}
max_payload: 1MB
jetstream {{ store_dir: "{directory}", sync_interval: always }}
"""


class QueueServer(NamedTuple):
    port: int
    process: psutil.Process

    def url(self, lanes: int) -> str:
        return f"nats://127.0.0.1:{self.port}/bemi?lanes={lanes}&sync=always"

    def processor_seconds(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def bytes(self) -> int:
        """Return the bytes that the stream takes."""

        async def ask(jetstream: Any) -> int:
            return int((await jetstream.stream_info("bemi")).state.bytes)

        return int(asyncio.run(self._ask(ask)))

    def clear(self) -> None:
        """Delete the stream, if it is there."""

        async def delete(jetstream: Any) -> None:
            from nats.js.errors import NotFoundError

            with suppress(NotFoundError):
                await jetstream.delete_stream("bemi")

        asyncio.run(self._ask(delete))

    async def _ask(self, question: Any) -> Any:
        import nats

        client = await nats.connect(f"nats://127.0.0.1:{self.port}")
        try:
            return await question(client.jetstream())
        finally:
            await client.close()


@contextmanager
def queue_server() -> Iterator[QueueServer]:
    """Run the ``nats-server`` of the wheel on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bemi-nats-") as directory:
        configuration = Path(directory) / "nats.conf"
        configuration.write_text(_CONFIGURATION.format(port=port, directory=f"{directory}/data"))
        command = [Path(sys.executable).parent / "nats-server", "-c", configuration]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait(port)
                yield QueueServer(port, psutil.Process(process.pid))
            finally:
                process.terminate()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError("nats-server does not listen")
        time.sleep(0.02)
