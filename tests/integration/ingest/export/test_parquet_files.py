"""Changes in Parquet files: a file is there with its manifest, and the last manifest says where to go on."""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import psycopg2
import pytest

from bemi_django.archive.month import Month
from bemi_django.exceptions import LostHistory, ReplicationError
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.sinks import addresses
from tests.support.exporting import ParquetFiles, Sink, of_log
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until

pytest.importorskip("pyarrow")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def stored(trail: LoadPipeline, place: Path) -> Iterator[Sink]:
    """A sink of Parquet files, begun."""
    sink = Sink(trail, f"parquet://{place}", lambda: ParquetFiles().of_directory(place))
    sink.run()
    yield sink
    sink.drop()


def manifests(place: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(place.glob("*/*.json"))]


def test_files_have_manifests_and_the_rows_of_the_log(stored: Sink, place: Path) -> None:
    from pyarrow import parquet

    stored.trail.write(2)
    assert stored.run() == 2
    stored.trail.write(1)
    assert stored.run() == 1
    stored.trail.run()
    assert stored.read() == of_log(stored.trail)
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.glob("*/*")} == {0o600}
    first, second = manifests(place)
    assert (first["changes"], second["changes"]) == (2, 1)
    assert (first["file"], second["file"]) == ("changes-00000001.parquet", "changes-00000002.parquet")
    assert (first["format"], first["slot"], first["history"]) == (1, stored.slot, 0)
    (path,) = place.glob("*/" + first["file"])
    row = parquet.read_table(path).to_pylist()[0]
    assert (row["table"], row["operation"], row["primary_key"]) == ("load", "CREATE", "1")
    assert stored.trail.log.run("SELECT min(committed_at) FROM changes") == [(row["committed_at"],)]


@pytest.mark.parametrize("name", ["changes-00000002.parquet", "changes-00000002.parquet.unfinished"])
def test_a_file_without_a_manifest_is_removed_and_written_again(stored: Sink, place: Path, name: str) -> None:
    stored.trail.write(2)
    stored.run()
    (manifest,) = place.glob("*/*.json")
    (manifest.parent / name).write_bytes(b"half of a file")
    (manifest.parent / "somebody-elses.parquet").write_bytes(b"left alone")
    stored.run()
    assert not (manifest.parent / name).exists()
    (manifest.parent / "somebody-elses.parquet").unlink()
    stored.trail.write(1)
    stored.run()
    stored.catch_up()


def test_a_file_whose_checkpoint_was_not_written_comes_once(
    stored: Sink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, failures = Checkpoints.advance, iter([True])

    def fail_once(*arguments: Any, **named: Any) -> None:
        # The end of the run moves the checkpoint with the file.
        if next(failures, False) if manifests(place) else False:
            raise psycopg2.OperationalError("as if killed")
        advance(*arguments, **named)

    monkeypatch.setattr(Checkpoints, "advance", fail_once)
    stored.trail.write(3)
    stored.run()
    assert next(failures, None) is None
    stored.catch_up()


def test_a_disk_that_is_full_at_the_manifest_loses_nothing(
    stored: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bemi_django.archive.location import Location

    written, failures = Location.written, iter([True])

    @contextmanager
    def full(location: Location, month: Month, name: str) -> Iterator[Any]:
        if name.endswith(".json") and next(failures, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        with written(location, month, name) as file:
            yield file

    monkeypatch.setattr(Location, "written", full)
    stored.trail.write(3)
    stored.run()
    assert next(failures, None) is None
    assert len(stored.catch_up()) == 3


def test_the_slot_waits_for_the_file(stored: Sink, place: Path) -> None:
    trail, confirmed = stored.trail, stored.confirmed()
    with trail.worker(config=stored.config):
        trail.write(5)
        until(lambda: any(place.glob("*/*.unfinished")))
        assert (stored.read(), stored.confirmed()) == ([], confirmed)
    # A worker that is stopped completes its file.
    stored.catch_up()


def test_a_file_is_complete_after_its_time(stored: Sink, place: Path) -> None:
    address = addresses.parse(f"parquet://{place}?every=1")
    assert isinstance(address, addresses.ExportAddress)
    with stored.trail.worker(config=stored.config._replace(export=address.export)):
        stored.trail.write(3)
        stored.catch_up()
        until(lambda: stored.confirmed() == stored.checkpoint())


def test_a_large_transaction_is_in_one_file(
    stored: Sink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.trail.source.run("INSERT INTO load SELECT i, i, repeat('x', 1000) FROM generate_series(1, 2500) i")
    stored.trail.write(1)
    monkeypatch.setattr(addresses, "_MEGABYTES", 1)
    stored.run(export=Sink(stored.trail, stored.url, list).config.export)
    stored.catch_up()
    assert [one["changes"] for one in manifests(place)] in ([2500, 1], [2501])


def test_a_last_file_that_was_lost_is_a_gap(stored: Sink, place: Path) -> None:
    for _ in range(2):
        stored.trail.write(1)
        stored.run()
    for path in place.glob("*/changes-00000002.*"):
        path.unlink()
    with pytest.raises(LostHistory, match="the replication slot begins at"):
        stored.run()


def test_files_of_another_slot_are_left_alone(stored: Sink, place: Path) -> None:
    stored.trail.write(1)
    stored.run()
    (manifest,) = place.glob("*/*.json")
    manifest.write_bytes(manifest.read_bytes().replace(stored.slot.encode(), b"bemi_another"))
    with pytest.raises(ReplicationError, match="changes-00000001.json is not of the slot"):
        stored.run()


def test_a_place_that_cannot_be_written_and_a_missing_package_say_what_to_do(
    stored: Sink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree(place)
    place.write_bytes(b"a file")
    stored.trail.write(1)
    with pytest.raises(ReplicationError, match="cannot write to parquet://.*: let the worker write there"):
        stored.run()
    monkeypatch.setattr(addresses, "find_spec", lambda name: None)
    with pytest.raises(ReplicationError, match=r"run pip install 'bemi-django-wal\[parquet\]'"):
        stored.run()
