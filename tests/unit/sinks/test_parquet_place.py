"""The place of Parquet files: whose it is, and which file an interrupted worker has left there."""

from __future__ import annotations

import json
import stat
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from bemi_django.exceptions import ArchiveError, ReplicationError, SinkUnavailable

pytest.importorskip("pyarrow")

MONTH = "2020-01"
FIRST = {"format": 1, "slot": "slot", "history": 0, "lsn": "0/8"}


@pytest.fixture
def month(tmp_path: Path) -> Path:
    """The folder of a month."""
    folder = tmp_path / MONTH
    folder.mkdir()
    return folder


def names(month: Path) -> list[str]:
    return sorted(path.name for path in month.iterdir())


def position(month: Path, slot: str = "slot") -> int | None:
    """Open the place; return its position."""
    from bemi_django.sinks.parquet_files import ParquetFiles

    with closing(ParquetFiles(str(month.parent), "parquet", slot, 60, 1000)) as files:
        return files.position


@pytest.mark.parametrize(
    "manifest",
    [
        *map(
            json.dumps,
            [
                {**FIRST, "slot": "other"},
                {**FIRST, "format": 2},
                {**FIRST, "lsn": 5},
                {**FIRST, "history": []},
                {**FIRST, "history": 10**30},
                [],
            ],
        ),
        "",
        json.dumps(FIRST)[:-9],
        "[" * 100_000,
        "\0" * 200,
    ],
)
def test_nothing_is_removed_beside_the_manifest_of_another(month: Path, manifest: str) -> None:
    (month / "changes-00000006.json").write_text(manifest)
    (month / "changes-00000007.parquet").write_bytes(b"is just completed")
    before = names(month)
    with pytest.raises(ReplicationError, match="00000006.json is not of the slot slot: give another address"):
        position(month)
    assert names(month) == before


@pytest.mark.parametrize("ending", ["parquet", "parquet.unfinished", "json.unfinished"])
def test_only_the_file_after_the_last_manifest_is_removed(month: Path, ending: str) -> None:
    (month / "changes-00000006.json").write_text(json.dumps(FIRST))
    (month / "changes-00000005.parquet").write_bytes(b"has lost its manifest")
    before = names(month)
    (month / f"changes-00000007.{ending}").write_bytes(b"half")
    assert position(month) == 8
    assert names(month) == before


@pytest.mark.parametrize("manifests", [0, 1])
def test_files_of_another_program_are_left_alone(month: Path, manifests: int) -> None:
    for number in range(manifests):
        (month / f"changes-{number + 1:08}.json").write_text(json.dumps(FIRST))
    (month / "changes-20200131.parquet").write_bytes(b"named by the day")
    (month / f"changes-{manifests + 1:08}.parquet").write_bytes(b"half")
    before = names(month)
    with pytest.raises(ReplicationError, match=r"changes-\d{8}.parquet is not of the slot slot"):
        position(month)
    assert names(month) == before


def test_what_is_made_is_for_its_owner_only(tmp_path: Path) -> None:
    place = tmp_path / "place"
    assert position(place / "ignored") is None
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (place, *place.rglob("*"))}
    assert (modes.pop("place"), modes.pop("_slot"), modes.pop("_lock")) == (0o700, 0o600, 0o600)
    assert list(modes.values()) == [0o700]


def test_a_place_without_a_manifest_is_that_of_the_slot_which_came_first(month: Path) -> None:
    assert position(month) is None
    (owner,) = month.parent.glob("*/_slot")
    assert json.loads(owner.read_bytes()) == {"format": 1, "slot": "slot"}
    half = month / "changes-00000001.parquet.unfinished"
    half.touch()
    with pytest.raises(ReplicationError, match="_slot is not of the slot other"):
        position(month, "other")
    assert half.exists()
    assert position(month) is None
    assert not half.exists()


def test_a_worker_that_was_paused_keeps_out_the_next_one(month: Path) -> None:
    from bemi_django.sinks.parquet_files import ParquetFiles

    paused = ParquetFiles(str(month.parent), "parquet", "slot", 60, 1000)
    half = month / "changes-00000001.parquet.unfinished"
    half.touch()
    with pytest.raises(SinkUnavailable, match="is being written by another worker"):
        position(month)
    assert half.exists()
    paused.close()
    assert position(month) is None


def test_a_lock_is_no_way_out_of_the_place(month: Path) -> None:
    (month.parent / "_lock").symlink_to(month / "elsewhere")
    with pytest.raises(ReplicationError, match="Too many levels of symbolic links"):
        position(month)


@pytest.mark.parametrize("changes", [1, 2])
def test_a_manifest_that_is_not_that_of_its_file_is_noticed(month: Path, changes: int) -> None:
    """Two workers have written an object, of which one was paused."""
    from pyarrow import parquet, table

    manifest = {**FIRST, "file": "changes-00000001.parquet", "changes": changes}
    (month / "changes-00000001.json").write_text(json.dumps(manifest))
    parquet.write_table(table({"id": ["a"]}), month / "changes-00000001.parquet")
    if changes == 1:
        assert position(month) == 8
        return
    with pytest.raises(ReplicationError, match="has 1 changes, and its manifest says another number"):
        position(month)


@pytest.mark.parametrize("content", [bytes(100), b"", b"PAR1"])
def test_a_last_file_that_is_not_whole_is_noticed(month: Path, content: bytes) -> None:
    manifest = {**FIRST, "file": "changes-00000001.parquet", "changes": 1}
    (month / "changes-00000001.json").write_text(json.dumps(manifest))
    (month / "changes-00000001.parquet").write_bytes(content)
    with pytest.raises(ReplicationError, match="changes-00000001.parquet is no whole Parquet file: move it"):
        position(month)


@pytest.mark.parametrize("is_late", [False, True])
def test_where_there_are_no_locks_the_second_of_two_workers_stops(
    month: Path, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    from bemi_django.archive.location import Location
    from bemi_django.sinks.parquet_place import ParquetPlace

    monkeypatch.setattr(Location, "lock", lambda *_: None)
    paused, other = (ParquetPlace(str(month.parent), "parquet", "slot") for _ in range(2))
    paused_file = paused.written()
    paused_file.__enter__().write(b"of the paused one")
    if not is_late:
        paused_file.__exit__(None, None, None)
        other = ParquetPlace(str(month.parent), "parquet", "slot")
    with other.written() as file:
        file.write(b"of the other one")
    other.complete(1, 0, 8)
    if is_late:
        paused_file.__exit__(None, None, None)
    with pytest.raises(SinkUnavailable, match="is being written by another worker"):
        paused.complete(2, 0, 16)
    with suppress(ArchiveError):
        paused.discard()
    (manifest,) = month.parent.glob("*/*.json")
    (file_there,) = month.parent.glob("*/changes-00000001-*")
    assert json.loads(manifest.read_bytes())["file"] == file_there.name
    assert file_there.read_bytes() == b"of the other one"


def test_a_file_of_a_session_that_another_completes_meanwhile_is_kept(
    month: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bemi_django.archive.location import Location
    from bemi_django.sinks.parquet_place import ParquetPlace

    monkeypatch.setattr(Location, "lock", lambda *_: None)
    paused = ParquetPlace(str(month.parent), "parquet", "slot")
    with paused.written() as file:
        file.write(b"is whole")
    other = ParquetPlace(str(month.parent), "parquet", "slot")
    paused.complete(1, 0, 8)
    paused.discard()
    with other.written() as file:
        file.write(b"comes too late")
    with pytest.raises(SinkUnavailable, match="is being written by another worker"):
        other.complete(1, 0, 8)
    other.discard()
    (path,) = month.parent.glob("*/changes-*.parquet")
    assert path.read_bytes() == b"is whole"


def test_a_file_whose_manifest_may_be_on_its_way_is_kept(
    month: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store refuses a second attempt while the first one, whose answer was lost, goes on."""
    from bemi_django.archive.location import Location
    from bemi_django.sinks.parquet_place import ParquetPlace

    monkeypatch.setattr(Location, "lock", lambda *_: None)
    place = ParquetPlace(str(month.parent), "parquet", "slot")
    monkeypatch.setattr(place, "_new", SimpleNamespace(put=lambda path, data: False))
    with place.written() as file:
        file.write(b"is whole")
    with pytest.raises(SinkUnavailable, match="is being written by another worker"):
        place.complete(1, 0, 8)
    place.discard()
    (path,) = month.parent.glob("*/changes-*.parquet")
    assert path.read_bytes() == b"is whole"


def test_a_list_that_lags_removes_nothing(month: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bemi_django.archive.location import Location

    for number in (1, 2):
        (month / f"changes-{number:08}.json").write_text(json.dumps(FIRST))
        (month / f"changes-{number:08}.parquet").write_bytes(b"whole")
    names_of, before = Location.names, names(month)
    monkeypatch.setattr(Location, "names", lambda *one: names_of(*one) - {"changes-00000002.json"})
    with pytest.raises(SinkUnavailable, match="does not list the manifest of changes-00000002.parquet yet"):
        position(month)
    assert names(month) == before
