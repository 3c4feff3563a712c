"""Files of records, as programs of all kinds leave them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.reading import record_files
from bemi_django.ingest.debezium.reading.record_files import RecordFiles

_LINES = b'{"a": 1}\n{"b": 2}\n'
_PACKED = gzip.compress(_LINES)


@pytest.mark.parametrize(
    "content",
    [
        _LINES,
        _LINES.strip(),
        _LINES.replace(b"\n", b"\r\n\r\n"),
        b"\xef\xbb\xbf" + _LINES,
        _PACKED,
        gzip.compress(_LINES[:9]) + gzip.compress(_LINES[9:]),
    ],
    ids=["lines", "no end", "windows", "marked", "packed", "packed twice"],
)
def test_the_lines_of_a_file_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1").write_bytes(content)
    (tmp_path / "2").write_bytes(b"")
    found = RecordFiles([str(tmp_path / "1"), str(tmp_path / "2")]).lines()
    assert list(found) == [b'{"a": 1}', b'{"b": 2}']


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_PACKED[:-9], "it ends early, or is damaged"),
        (_PACKED[:12] + b"\xff\xff" + _PACKED[14:], "it ends early, or is damaged"),
        (b"\x28\xb5\x2f\xfd\x04", "compressed by zstd: unpack it"),
        ('{"a": 1}'.encode("utf-16"), "it is UTF-16: write it as UTF-8"),
        (b'{"a": "%b"}' % (b"x" * 100), "a line of more than 64 bytes"),
    ],
    ids=["cut", "damaged", "zstd", "utf-16", "long"],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.setattr(record_files, "_LONGEST", 64)
    (tmp_path / "records").write_bytes(content)
    with pytest.raises(ReplicationError, match=f"cannot read .*records: .*{reason}"):
        list(RecordFiles([str(tmp_path / "records")]).lines())
