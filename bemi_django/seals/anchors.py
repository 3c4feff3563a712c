"""Anchors: the newest link of each chain, kept outside of the database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import HTTPRedirectHandler, Request, build_opener

from bemi_django.exceptions import BemiError
from bemi_django.schema.search_path import closed_cursor

_HEADS = """
SELECT c.name, c.number, encode(c.hash, 'hex'),
       to_char(c.sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), current_database()::text
FROM _bemi.chains c WHERE c.number > 0 ORDER BY c.name
"""
_WEBHOOK = re.compile(r"https?://")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECONDS = 30


class Anchor(NamedTuple):
    """A link that must be in the database; ``hash`` is hexadecimal.

    ``destination`` is the alias of that database. It is from the settings: who may change the database does
    not choose which anchors it is compared with.
    """

    chain: str
    number: int
    hash: str
    sealed_at: str
    database: str = ""
    destination: str = ""


def newest(alias: str) -> list[Anchor]:
    """Return the newest link of each chain.

    Args:
        alias: Alias of the database that holds the log.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_HEADS)
        return [Anchor(*head)._replace(destination=alias) for head in cursor.fetchall()]


def write(place: str, anchors: Iterable[Anchor]) -> None:
    """Write anchors as lines of JSON.

    Args:
        place: A file, to which they are appended; the URL of a webhook, to which they are posted; or the
            address of a folder, such as ``s3://bucket/folder``, in which they become a new file.
        anchors: The anchors.

    Raises:
        OSError: They cannot be written.
    """
    text = "".join(json.dumps(anchor._asdict()) + "\n" for anchor in anchors)
    if _WEBHOOK.match(place):
        _post(place, text)
    elif _ADDRESS.match(place):
        _put(place, text)
    else:
        with open(place, "a", encoding="utf-8") as file:
            file.write(text)


def read(path: str) -> list[Anchor]:
    """Return the anchors of a file.

    Raises:
        BemiError: It cannot be read, or holds something else.
    """
    try:
        return list(_parsed(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise BemiError(f"cannot read the anchors {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise BemiError(
            f"{path} has lines that are no anchors: give a file that the worker has written"
        ) from error


def shown(place: str) -> str:
    """Return a place for messages, without what may be secret in an address."""
    if not _ADDRESS.match(place):
        return place
    return re.sub(r"(?<=://)[^/]*@|\?.*", "", place, flags=re.DOTALL)


def is_folder(place: str) -> bool:
    """Return whether a place is an address that pyarrow writes to."""
    return bool(_ADDRESS.match(place)) and not _WEBHOOK.match(place)


def _parsed(text: str) -> Iterator[Anchor]:
    for line in text.splitlines():
        if line.strip():
            found = json.loads(line)
            yield Anchor(
                str(found["chain"]),
                int(found["number"]),
                str(found["hash"]),
                str(found.get("sealed_at", "")[:40]),
                destination=str(found.get("destination", "")),
            )


class _NoRedirects(HTTPRedirectHandler):
    """A page elsewhere, such as one to log in, has not got what was posted."""

    def redirect_request(self, *request: Any) -> None:
        """Follow none, so that the answer is an error."""


def _post(url: str, text: str) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    request = Request(url, text.encode(), headers, method="POST")
    with build_opener(_NoRedirects).open(request, timeout=_SECONDS) as answer:
        answer.read(1)


def _put(address: str, text: str) -> None:
    from pyarrow import fs

    # Messages of pyarrow quote the address, which may hold a password.
    try:
        files, root = fs.FileSystem.from_uri(address)
    except (OSError, ValueError, NotImplementedError):
        raise OSError("the address cannot be opened: check credentials and region") from None
    name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}.jsonl"
    if files.type_name == "local":
        files.create_dir(root, recursive=True)
    with files.open_output_stream(f"{root.rstrip('/')}/{name}") as stream:
        stream.write(text.encode())
