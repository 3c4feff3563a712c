"""Read a stream in a process of its own: ``python -m bench.consume HOW ARGUMENTS`` prints JSON."""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
import threading
import time
from typing import Any

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Message
from bemi_django.ingest.rows.calculator import Calculator
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitcher import PREFIX, Stitcher
from bemi_django.ingest.stream.connections import connect_calculator, connect_source, connect_stream
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.masking.settings import rules_of
from bench.stream import END


def work(config: WorkerConfig) -> None:
    """Write the whole stream to the table ``changes``."""
    worker = Worker(config, Progress())
    try:
        worker.run(until_current=True)
    finally:
        worker.close()


def seal(config: WorkerConfig) -> None:
    """Write the whole stream, sealed."""
    work(config._replace(is_sealed=True))


def mask(config: WorkerConfig) -> None:
    """Write the whole stream, with hashes of one of its columns."""
    work(config._replace(masking=rules_of({"item.title": "hash"}, "0123456789abcdef")))


def serve(config: WorkerConfig) -> None:
    """Write the stream to the table ``changes`` until SIGTERM."""
    worker = Worker(config, Progress())
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    # libpq waits in C, where Python handles no signal.
    thread = threading.Thread(target=worker.run)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    worker.close()


def decode(config: WorkerConfig) -> None:
    """Decode the stream to messages and drop them."""
    _read(config, lambda data: None)


def render(config: WorkerConfig) -> None:
    """Render the stream to rows in the format of COPY and drop them."""
    from bemi_django.ingest.rows.layout_catalog import LayoutCatalog

    server = connect_source(config)
    calculator = Calculator(lambda: connect_calculator(config), server)
    catalog = LayoutCatalog(server, "source", calculator)
    writer = RowWriter("1", "source", 1, catalog.layouts)
    stitcher = Stitcher(writer.named_by)

    def take(message: Any) -> None:
        if isinstance(message, Message) and message.prefix == PREFIX:
            stitcher.follow(message.content)
        for change in stitcher.feed(message):
            writer.row(change)

    _read(config, take)
    calculator.close()
    server.close()


def _read(config: WorkerConfig, take: Any) -> None:
    source = connect_stream(config, "UTF8", 60.0)
    decoder = Decoder()
    source.start(config.slot, config.publication, 0)
    while not _take_to_end(source, decoder, take):
        source.wait(0.5)
    source.close()


def _take_to_end(source: SlotSource, decoder: Decoder, take: Any) -> bool:
    for data in source.messages():
        message = decoder.decode(data)
        if isinstance(message, Message) and message.prefix == END:
            return True
        if message is not None:
            take(message)
    return False


def main() -> None:
    how, source, destination, slot = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    config = WorkerConfig(json.loads(source), json.loads(destination), slot, "bemi")
    began = time.perf_counter()
    {one.__name__: one for one in (work, seal, mask, serve, decode, render)}[how](config)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss / 1024}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
