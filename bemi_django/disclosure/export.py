"""Write what the log has of a person to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from bemi_django.disclosure import page
from bemi_django.disclosure.disclosed import Disclosure
from bemi_django.exceptions import BemiError
from bemi_django.log.lossless_json import dumps

_SUFFIXES = (".json", ".html")


def export(
    disclosure: Disclosure, name: str, target: Path, record: Callable[[int], object]
) -> tuple[list[Path], int]:
    """Write the changes to ``subject.json`` and ``subject.html`` in a directory, or to one such file.

    The files can be read by the user of the process only, and appear when they are complete.

    Args:
        disclosure: What the log has.
        name: What the object is called, for the files.
        target: The directory, or a file whose name ends with ``.json`` or ``.html``.
        record: Called with the number of changes when the files are complete. They appear only if it
            returns.

    Returns:
        The files, and the number of changes.

    Raises:
        BemiError: A file exists, or cannot be written.
    """
    paths = [target] if target.suffix in _SUFFIXES else [target / f"subject{each}" for each in _SUFFIXES]
    try:
        with ExitStack() as stack:
            files = {path.suffix: stack.enter_context(_new_file(path)) for path in paths}
            number = _write(disclosure, name, files)
            record(number)
    except OSError as error:
        raise BemiError(f"cannot write {error.filename or target}: {error.strerror}") from error
    return paths, number


def _write(disclosure: Disclosure, name: str, files: dict[str, IO[str]]) -> int:
    number = 0
    text, shown = files.get(".json"), files.get(".html")
    if text is not None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        text.write(f'{{"object": {dumps(name)}, "exported_at": "{now}", "changes": [')
    if shown is not None:
        shown.write(page.head(name))
    for disclosed in disclosure.changes():
        if text is not None:
            text.write(("," if number else "") + "\n" + dumps(disclosed.record))
        if shown is not None:
            shown.write(page.section(disclosed))
        number += 1
    if text is not None:
        text.write("\n]}\n")
    if shown is not None:
        shown.write(page.end(number))
    return number


@contextmanager
def _new_file(path: Path) -> Iterator[IO[str]]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        raise BemiError(f"{path} exists: give another place to --export")
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
