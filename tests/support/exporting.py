"""What workers have written to each kind of sink, in the order in which it is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bemi_django.ingest.config import WorkerConfig
from bemi_django.sinks.addresses import ExportAddress, parse
from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until
from tests.support.roles import WORKER, address


class Delivered(NamedTuple):
    """A change: its id, its operation, and the row after it."""

    id: str
    operation: str
    after: Any


class Sink:
    """A sink under test.

    Args:
        trail: What is exported.
        url: The address of the sink; empty for the log.
        read: Returns what is there, without what came again.
        consumers: Further processes that it needs.
    """

    def __init__(
        self,
        trail: LoadPipeline,
        url: str,
        read: Callable[[], list[Delivered]],
        consumers: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        self.trail, self.url, self.read, self.consumers = trail, url, read, consumers

    @property
    def slot(self) -> str:
        address = parse(self.url) if self.url else None
        return address.slot(self.trail.slot) if isinstance(address, ExportAddress) else self.trail.slot

    @property
    def config(self) -> WorkerConfig:
        """What a worker in the process of the test works on."""
        address = parse(self.url)
        assert isinstance(address, ExportAddress)
        return self.trail.config._replace(export=address.export, slot=self.slot)

    def run(self, **changed: Any) -> int:
        """Export what is in the WAL now; return the number of changes."""
        written = self.trail.run(self.config._replace(**changed))
        self._release()
        return written

    @property
    def processes(self) -> int:
        """The number of processes: the worker, and what else is needed."""
        return 1 + len(self.consumers)

    @property
    def is_begun(self) -> bool:
        """Whether a worker has begun to read."""
        query = "SELECT count(*) FROM _bemi.checkpoint WHERE slot = %s"
        return bool(self.trail.log.run(query, [self.slot])[0][0])

    def process(self, *options: str, number: int = 0) -> Command:
        """Start the worker with these options, or what else is needed, in a process."""
        to = ("--to", self.url) if self.url else ()
        arguments = (("run", *to), *self.consumers)[number]
        trail = self.trail
        source, log = (address(cluster.server.url, WORKER) for cluster in (trail.source, trail.log))
        return Command("bemi", *arguments, *options, source=source, log=log, slot=trail.slot)

    def confirmed(self) -> int:
        """Return the position that the slot is at."""
        query = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s"
        return int(self.trail.source.run(query, [self.slot])[0][0])

    def checkpoint(self) -> int:
        """Return the position of the checkpoint."""
        query = "SELECT lsn - '0/0' FROM _bemi.checkpoint WHERE slot = %s"
        return int(self.trail.log.run(query, [self.slot])[0][0])

    def trouble(self) -> str:
        """Return why the worker does not get on, or an empty string."""
        query = "SELECT coalesce(trouble, '') FROM _bemi.checkpoint WHERE slot = %s"
        return str(self.trail.log.run(query, [self.slot])[0][0])

    def catch_up(self) -> list[Delivered]:
        """Wait for the last change; check that all are there once and in order, and return them."""
        last = self.trail.source.one("SELECT max(n) FROM load")
        until(lambda: any(change.after["n"] == last for change in self.read()[-1:]), why=lambda: self.url)
        found = self.read()
        ids = [change.id for change in found]
        assert ids == sorted(set(ids))
        table = {change.after["id"]: change.after["n"] for change in found}
        assert table == dict(self.trail.source.run("SELECT id, n FROM load"))
        assert [change.after["n"] for change in found] == list(range(1, last + 1))
        return found

    def drop(self) -> None:
        """Drop the slot of the export."""
        if self.slot == self.trail.slot:
            return
        self._release()
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
        self.trail.source.run(drop, [self.slot])

    def _release(self) -> None:
        """Wait until the server has noticed that nobody reads the slot any more."""
        active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
        until(lambda: self.trail.source.run(active, [self.slot])[0][0] == 0)


def of_log(trail: LoadPipeline) -> list[Delivered]:
    """Return what is in the log."""
    query = "SELECT id::text, operation, after FROM changes WHERE operation <> 'GAP' ORDER BY id"
    return [Delivered(*row) for row in trail.log.run(query)]


def lines_of(path: Path) -> list[Any]:
    """Return the whole lines of a file, without the first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


def of_lines(lines: list[Any]) -> list[Delivered]:
    """Return the changes in lines."""
    return [
        Delivered(line["id"], line["operation"], line["after"])
        for line in lines
        if "id" in line and line["operation"] != "GAP"
    ]


class ParquetFiles:
    """Reads files that have a manifest, each once: they stay as they are."""

    def __init__(self) -> None:
        self._read: dict[str, list[Delivered]] = {}
        self._files: dict[str, str] = {}

    def of_directory(self, place: Path) -> list[Delivered]:
        """Return the changes in the files of a directory."""
        manifests = sorted(place.glob("*/changes-*.json"))
        names = [str(one.parent / json.loads(one.read_bytes())["file"]) for one in manifests]
        return self._changes(names, lambda name: Path(name).read_bytes())

    def of_bucket(self, bucket: Any) -> list[Delivered]:
        """Return the changes in the objects of a bucket."""
        keys = sorted(thing.key for thing in bucket.objects.all())

        def content(key: str) -> bytes:
            return bytes(bucket.Object(key).get()["Body"].read())

        for key in keys:
            if key.endswith(".json") and key not in self._files:
                self._files[key] = f"{key.rpartition('/')[0]}/{json.loads(content(key))['file']}"
        return self._changes([self._files[key] for key in keys if key in self._files], content)

    def _changes(self, names: list[str], content: Callable[[str], bytes]) -> list[Delivered]:
        for name in names:
            if name not in self._read:
                self._read[name] = _of_file(content(name))
        return [change for name in names for change in self._read[name]]


def _of_file(data: bytes) -> list[Delivered]:
    from pyarrow import BufferReader, parquet

    rows = parquet.read_table(BufferReader(data)).to_pylist()
    return [Delivered(row["id"], row["operation"], json.loads(row["after"])) for row in rows]
