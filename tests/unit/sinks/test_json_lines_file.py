"""A file of JSON lines by itself: what happens to it while it is written, and whose it may be."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bemi_django.exceptions import ReplicationError, SinkUnavailable
from bemi_django.ingest.export.target import ExportPart
from bemi_django.sinks.change_lines import end_of
from bemi_django.sinks.json_lines import JsonLinesFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "changes.jsonl"


@pytest.fixture
def file(path: Path) -> Iterator[JsonLinesFile]:
    """The file, with a transaction that is kept."""
    with closing(JsonLinesFile(str(path), "slot")) as opened:
        opened.write(part(1))
        assert opened.keep(is_last=False)
        yield opened


def part(number: int) -> ExportPart:
    """A transaction of one change."""
    return ExportPart([b'{"id":"%d"}' % number], 8 * number, 0, 0, number, 8 * number)


def test_what_is_kept_together_is_in_one_file_though_it_is_renamed(file: JsonLinesFile, path: Path) -> None:
    old = path.with_suffix(".old")
    file.write(part(2))
    path.rename(old)
    file.write(part(3))
    assert file.keep(is_last=False)
    with pytest.raises(SinkUnavailable, match="was moved away"):
        file.write(part(4))
    assert old.read_bytes().count(b'{"id":') == 3
    assert file.position == 24


def test_what_is_written_to_a_file_that_is_removed_is_not_kept(file: JsonLinesFile, path: Path) -> None:
    file.write(part(2))
    path.unlink()
    with pytest.raises(SinkUnavailable, match="was removed while it was written"):
        file.keep(is_last=False)


@pytest.mark.parametrize("size", [0, 30])
def test_a_file_that_is_shortened_stops_the_worker(file: JsonLinesFile, path: Path, size: int) -> None:
    os.truncate(path, size)
    with pytest.raises(ReplicationError, match=f"has {size} bytes and not .*; rename it to rotate it"):
        file.write(part(2))
    assert path.stat().st_size == size


def test_what_is_written_to_a_shortened_file_is_not_kept(file: JsonLinesFile, path: Path) -> None:
    file.write(part(2))
    os.truncate(path, 0)
    with pytest.raises(ReplicationError, match="something else shortens or writes it"):
        file.keep(is_last=False)


@pytest.mark.parametrize("failure", [errno.EIO, errno.ENOSPC])
def test_what_did_not_reach_the_disk_is_cut_off(
    file: JsonLinesFile, path: Path, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    kept = path.read_bytes()
    file.write(part(2))

    def fail(_file: int) -> None:
        raise OSError(failure, os.strerror(failure))

    expected = ReplicationError if failure == errno.EIO else SinkUnavailable
    with monkeypatch.context() as patched, pytest.raises(expected, match="cannot write"):
        patched.setattr(os, "fsync", fail)
        file.keep(is_last=False)
    assert path.read_bytes() == kept
    file.close()
    with closing(JsonLinesFile(str(path), "slot")) as again:
        assert again.position == 8
    # The fixture closes it, too.
    file._file = os.open(os.devnull, os.O_RDONLY)


def test_an_error_of_the_disk_says_what_to_do(file: JsonLinesFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int, _data: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched, pytest.raises(ReplicationError, match="check the disk, and move"):
        patched.setattr(os, "write", fail)
        file.write(part(2))


def test_a_file_that_was_open_to_others_is_so_no_more(path: Path) -> None:
    path.touch()
    path.chmod(0o666)
    JsonLinesFile(str(path), "slot").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def linked(path: Path) -> None:
    path.with_name("other").touch()
    path.symlink_to(path.with_name("other"))


def named_twice(path: Path) -> None:
    path.with_name("other").touch()
    path.hardlink_to(path.with_name("other"))


def of_another(path: Path) -> None:
    path.touch()
    os.chown(path, os.geteuid() + 1, -1)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a symbolic link": (linked, "it is a symbolic link"),
    "a file with two names": (named_twice, "another owner or name"),
    "a pipe": (os.mkfifo, "or is no file"),
}
if os.geteuid() == 0:
    KINDS["a file of another account"] = (of_another, "another owner or name")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_file_of_the_worker_alone_is_left_alone(path: Path, kind: str) -> None:
    make, message = KINDS[kind]
    make(path)
    with pytest.raises(ReplicationError, match=message):
        JsonLinesFile(str(path), "slot")
    assert path.is_fifo() or path.read_bytes() == b""


def test_the_file_of_something_else_keeps_its_permissions(path: Path) -> None:
    path.write_bytes(b"something else")
    path.chmod(0o644)
    with pytest.raises(ReplicationError, match="is not a file of the slot"):
        JsonLinesFile(str(path), "slot")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "end", [b"5", b"null", b"[]", b'{"history":0,"lsn":5}', b'{"history":"a","lsn":"0/8"}']
)
def test_a_line_that_holds_no_position_ends_nothing(end: bytes) -> None:
    with pytest.raises(ValueError, match="position|argument|number"):
        end_of(b'{"end":%s}' % end)
