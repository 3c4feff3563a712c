"""The address of what changes are written to: ``--to`` of ``bemi run``, and ``BEMI_SINK``."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import Export
from bemi_django.secrecy.hidden import HiddenText
from bemi_django.sinks.json_lines import JsonLinesFile
from bemi_django.sinks.standard_output import OutputPipe, StandardOutput
from bemi_django.wire import queue_address
from bemi_django.wire.queue_address import QueueAddress
from bemi_django.wire.slot_name import LONGEST

#: The forms of addresses that are known.
KNOWN = (
    "nats://HOST:PORT/STREAM, https://HOST/PATH, file:///PATH.jsonl, parquet:///DIRECTORY, "
    "s3://BUCKET/FOLDER, or - for the standard output"
)
#: A Parquet file is complete after so many seconds or megabytes, unless the address says otherwise.
_SECONDS, _MEGABYTES = 60, 64
_MOST = 1_000_000
_DIGITS = 8


class ExportAddress(NamedTuple):
    """An address that is no queue's: the kind, what tells it from others of the kind, and what to open.

    ``is_shared`` tells whether the changes of several databases may go there.
    """

    kind: str
    identity: str
    export: Export
    is_shared: bool = False

    def slot(self, log: str) -> str:
        """Return the name of the replication slot; ``log`` is the name of the log's, which it begins with."""
        digest = hashlib.sha256(f"{log}\0{self.identity}".encode()).hexdigest()[:_DIGITS]
        suffix = f"_{self.kind}_{digest}"
        return log[: LONGEST - len(suffix)] + suffix


def parse(url: str) -> QueueAddress | ExportAddress:
    """Return what an address leads to.

    Raises:
        ValueError: It is not known. The message does not repeat it: it may hold a password.
    """
    if url in ("-", "stdout:"):
        pipe = OutputPipe()
        return ExportAddress("stdout", "", Export("stdout:", lambda slot: StandardOutput(pipe)))
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme in ("nats", "tls"):
        return queue_address.parse(url)
    if scheme in ("https", "http"):
        return _receiver(url)
    if scheme in ("parquet", "s3"):
        return _parquet(url)
    if scheme == "file":
        return _file(url)
    raise ValueError(f"the address of the sink is not known: use {KNOWN}")


def _is_printed(path: str) -> bool:
    return path.isprintable()


def _file(url: str) -> ExportAddress:
    parts = urlsplit(url)
    path = unquote(parts.path)
    is_path = path.startswith("/") and not path.endswith("/") and _is_printed(path)
    if parts.netloc not in ("", "localhost") or not is_path or "?" in url or "#" in url:
        raise ValueError(
            "the address of the file is not valid: use file:///ABSOLUTE/PATH.jsonl, with %3F for a question "
            "mark and %23 for #"
        )
    path = os.path.normpath(path)
    return ExportAddress("file", path, Export(f"file://{path}", lambda slot: JsonLinesFile(path, slot)))


def _receiver(url: str) -> ExportAddress:
    # It needs the models, which some programs that read an address do not have.
    from bemi_django.alerts.webhook import AlertFailed, checked
    from bemi_django.sinks import receiver

    try:
        parts = checked(url)
    except AlertFailed as error:
        raise ValueError(f"the address of the webhook is not valid: {error}") from None
    # A path may hold a secret, and a query changes with it.
    name = f"{parts.scheme}://{parts.hostname}"
    refusals = receiver.Refusals()
    export = Export(name, lambda slot: receiver.Receiver(url, name, slot, refusals))
    identity = HiddenText(f"{name}:{parts.port}{parts.path}")
    return ExportAddress("webhook", identity, export, is_shared=True)


def _parquet(url: str) -> ExportAddress:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    defaults = {"every": _SECONDS, "megabytes": _MEGABYTES}
    given = [options.pop(name, str(default)) for name, default in defaults.items()]
    if not all(text.isdecimal() and 0 < int(text) < _MOST for text in given):
        raise ValueError("every and megabytes of the address are numbers: of seconds, and of megabytes")
    seconds, megabytes = map(int, given)
    host = parts.netloc.rpartition("@")[2]
    is_path = parts.path.startswith("/") and parts.path != "/" and _is_printed(unquote(parts.path))
    if parts.scheme == "parquet" and (host or options or not is_path or "#" in url):
        raise ValueError("the address of the directory is not valid: use parquet:///DIRECTORY?every=SECONDS")
    # A secret with a slash would be taken for a bucket and a folder, and shown.
    is_bucket = host and ":" not in host and "@" not in parts.path and "#" not in url
    if parts.scheme == "s3" and not (is_bucket and _is_printed(unquote(host + parts.path))):
        raise ValueError(
            "the address of the bucket is not valid: use s3://BUCKET/FOLDER?every=SECONDS, with %2F "
            "for a slash of a key and %40 for @"
        )
    path = os.path.normpath(unquote(parts.path)) if parts.scheme == "parquet" else parts.path.rstrip("/")
    # What is left is for the file system: a region, an endpoint.
    address = path if parts.scheme == "parquet" else parts._replace(query=urlencode(options)).geturl()
    name = f"{parts.scheme}://{host}{path}"

    def open_files(slot: str) -> Any:
        if find_spec("pyarrow") is None:
            raise ReplicationError("Parquet needs pyarrow: run pip install 'bemi-django-wal[parquet]'")
        from bemi_django.sinks.parquet_files import ParquetFiles

        return ParquetFiles(address, name, slot, seconds, megabytes * 1_000_000)

    return ExportAddress("parquet", name, Export(name, open_files))
