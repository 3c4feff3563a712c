"""Read a stream in a process of its own: ``python -m bench.consume HOW ARGUMENTS``, answers in JSON."""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
import threading
import time
from typing import Any

from bemi_django.wal.decoder import Decoder
from bemi_django.wal.job import Job
from bemi_django.wal.messages import Message
from bemi_django.wal.progress import Progress
from bemi_django.wal.rows import RowWriter
from bemi_django.wal.stitcher import Stitcher
from bemi_django.wal.worker import Worker
from bench.stream import END


def work(job: Job) -> None:
    """All of it, into the table ``changes``."""
    worker = Worker(job, Progress())
    try:
        worker.run(until_current=True)
    finally:
        worker.close()


def serve(job: Job) -> None:
    """Like :func:`work`, until SIGTERM."""
    worker = Worker(job, Progress())
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    # libpq waits in C, where no signal is heard.
    thread = threading.Thread(target=worker.run)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    worker.close()


def decode(job: Job) -> None:
    """Only to messages."""
    _read(job, lambda data: None)


def render(job: Job) -> None:
    """To rows as COPY takes them, which nobody takes."""
    from bemi_django.wal.catalog import Catalog

    server = job.connect_source()
    catalog = Catalog(server, "source")
    stitcher = Stitcher()
    writer = RowWriter("1", "source", 1, catalog.shapes)

    def take(message: Any) -> None:
        for change in stitcher.feed(message):
            writer.row(change)

    _read(job, take)
    server.close()


def _read(job: Job, take: Any) -> None:
    source = job.connect_stream("UTF8", 60.0)
    decoder = Decoder()
    source.start(job.slot, job.publication, 0)
    while True:
        data = source.read()
        if data is None:
            source.wait(0.5, source._connection)
            continue
        message = decoder.decode(data)
        if message is None:
            continue
        if isinstance(message, Message) and message.prefix == END:
            break
        take(message)
    source.close()


def main() -> None:
    how, source, destination, slot = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    job = Job(json.loads(source), json.loads(destination), slot, "bemi")
    began = time.perf_counter()
    {"work": work, "serve": serve, "decode": decode, "render": render}[how](job)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss / 1024}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
