"""The table ``[tool.bemi]`` of ``pyproject.toml``, which configures a project without Django."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read(directory: Path) -> tuple[Path, dict[str, Any]]:
    """Return the nearest file with such a table, and the table.

    Args:
        directory: Where the search begins; it goes on in the directories above.

    Returns:
        The directory and an empty table if there is none.

    Raises:
        ValueError: The file cannot be read.
    """
    for parent in (directory, *directory.parents):
        file = parent / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("bemi")
        except (ValueError, OSError) as error:
            raise ValueError(f"cannot read {file}: {error}") from error
        if isinstance(table, dict):
            return file, table
    return directory, {}
