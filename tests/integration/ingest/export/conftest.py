"""Sinks of all kinds, and one of each kind for itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.exporting import Delivered, ParquetFiles, Sink, lines_of, of_lines, of_log
from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_server import NatsServer
from tests.support.object_store import make_bucket, object_store, place_in
from tests.support.receiver import receiving

#: Makes a sink for what is written by a pipeline, with a directory for itself.
Make = Callable[[LoadPipeline, Path], Iterator[Sink]]


def _log(trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    yield Sink(trail, "", partial(of_log, trail))


def _queue(trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    with closing(NatsServer()) as server:
        url = server.url(lanes=2)
        yield Sink(trail, url, partial(of_log, trail), (("consume", url),))


def _file(trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    path = directory / "changes.jsonl"
    yield Sink(trail, f"file://{path}", lambda: of_lines(lines_of(path)))


def _webhook(trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    with receiving() as receiver:

        def read() -> list[Delivered]:
            # It knows a change that comes again by its id.
            lines = [change for one in list(receiver.received) for change in one.notice["changes"]]
            return list({change.id: change for change in reversed(of_lines(lines))}.values())[::-1]

        yield Sink(trail, receiver.url, read)


def _parquet(trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    yield Sink(trail, f"parquet://{directory}?every=1", partial(ParquetFiles().of_directory, directory))


def _objects(trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    with object_store() as server, pytest.MonkeyPatch.context() as patch:
        bucket = make_bucket(server, "lake", patch)
        with closing(bucket.meta.client):
            url = f"{place_in(server, 'lake/audit')}&every=1"
            yield Sink(trail, url, partial(ParquetFiles().of_bucket, bucket))


KINDS: dict[str, Make] = {
    "log": _log,
    "queue": _queue,
    "file": _file,
    "parquet": _parquet,
    "s3": _objects,
    "webhook": _webhook,
}


def _made(kind: str, trail: LoadPipeline, directory: Path) -> Iterator[Sink]:
    for sink in KINDS[kind](trail, directory):
        try:
            yield sink
        finally:
            sink.drop()


#: Tests of their own kill workers of the log and of the queue, and objects are written as files are: here it
#: is done in the long runs.
RARE = ("log", "queue", "s3")
OFTEN = KINDS if "BEMI_BLOWS" in os.environ else [kind for kind in KINDS if kind not in RARE]


@pytest.fixture(params=OFTEN)
def sink(
    request: pytest.FixtureRequest, trail: LoadPipeline, tmp_path: Path, settings: Any
) -> Iterator[Sink]:
    """A sink of each kind."""
    settings.BEMI_WEBHOOK_HTTP = True
    yield from _made(request.param, trail, tmp_path)


@pytest.fixture
def file_sink(trail: LoadPipeline, tmp_path: Path) -> Iterator[Sink]:
    """A file of JSON lines."""
    yield from _made("file", trail, tmp_path)
