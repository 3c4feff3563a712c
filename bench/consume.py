"""Read a stream in a process of its own: ``python -m bench.consume HOW ...`` prints JSON."""

from __future__ import annotations

import importlib
import json
import logging
import resource
import signal
import sys
import threading
import time
from typing import Any
from unittest import mock

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Message
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.ingest.rows.catalog.calculator import Calculator
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitcher import PREFIX, Stitcher
from bemi_django.ingest.stream.connections import connect_calculator, connect_source, connect_stream
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.masking import rules as masking_rules
from bemi_django.masking.actions import Masker
from bemi_django.masking.settings import rules_of
from bemi_django.wire.keyed_hash import keyed_hash
from bemi_django.wire.queue_address import parse
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


def code(config: WorkerConfig) -> None:
    """Write the whole stream, with the HMAC of one of its columns, but nothing else that a hash takes."""
    compute = keyed_hash(b"0123456789abcdef")
    instead = b'"hmac:' + b"0" * 32 + b'"'

    def hasher(key: bytes) -> Masker:
        return lambda text: compute(text) and instead

    with mock.patch.object(masking_rules, "text_hasher", hasher):
        mask(config)


def drop(config: WorkerConfig) -> None:
    """Write the whole stream, without one of its columns."""
    work(config._replace(masking=rules_of({"item.title": "drop"}, None)))


def rule(config: WorkerConfig) -> None:
    """Write the whole stream, of a table that none of the rules is about."""
    rules = {f"other_{number}.title": "hash" for number in range(20)}
    work(config._replace(masking=rules_of(rules, "0123456789abcdef")))


def draw(config: WorkerConfig) -> None:
    """Write what is in the queue to the table ``changes``."""
    Consumer(config).run(until_current=True)


def serve(config: WorkerConfig) -> None:
    """Write the stream to the table ``changes``, or publish it, until SIGTERM."""
    worker = Worker(config, Progress())
    _until_told(worker)
    worker.close()


def serve_queue(config: WorkerConfig) -> None:
    """Write what comes from the queue to the table ``changes`` until SIGTERM."""
    _until_told(Consumer(config))


def _until_told(running: Worker | Consumer) -> None:
    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    # libpq waits in C, where Python handles no signal.
    thread = threading.Thread(target=running.run)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)


def decode(config: WorkerConfig) -> None:
    """Decode the stream to messages and drop them."""
    _read(config, lambda data: None)


def render(config: WorkerConfig) -> None:
    """Render the stream to rows in the format of COPY and drop them."""
    from bemi_django.ingest.rows.catalog.layout_catalog import LayoutCatalog

    server = connect_source(config)
    calculator = Calculator(lambda: connect_calculator(config), server)
    catalog = LayoutCatalog(server, "source", calculator)
    writer = RowWriter(ChangeIds("1", "source", 1), catalog.layouts)
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
    how, source, destination, slot, *queue = sys.argv[1:]
    logging.basicConfig(level=logging.ERROR)
    config = WorkerConfig(json.loads(source), json.loads(destination), slot, "bemi")
    config = config._replace(queue=parse(queue[0]) if queue else None)
    if queue:
        # It is imported when it is used first: before the clock starts, as everything else.
        importlib.import_module("nats")
    ways = (work, seal, mask, code, drop, rule, draw, serve, serve_queue, decode, render)
    began, imports = time.perf_counter(), _processor_seconds()
    {one.__name__: one for one in ways}[how](config)
    seconds = time.perf_counter() - began
    answer = {"seconds": seconds, "cpu": _processor_seconds() - imports, "rss": _most_memory()}
    sys.stdout.write(json.dumps(answer) + "\n")


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
