"""``python -m tests.foreign [suite ...]``: run other projects' tests without the package and with it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sample_project.postgres_server import postgres_server
from tests.foreign.differences import unexpected
from tests.foreign.environment import prepare
from tests.foreign.execution import outcomes
from tests.foreign.suites import SUITES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.foreign", description=__doc__)
    names = ", ".join(SUITES)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"any of {names}; all by default")
    parser.add_argument("--labels", nargs="+", help="tests to run instead of those that the suites name")
    parser.add_argument("--directory", type=Path, help="keep environments and sources here")
    given = parser.parse_args()
    if unknown := set(given.suites) - set(SUITES):
        parser.error(f"unknown suite: {', '.join(sorted(unknown))}; choose from {names}")
    with TemporaryDirectory(prefix="bemi-foreign-", dir="/var/tmp") as temporary:
        directory = (given.directory or Path(temporary)).absolute()
        failures = sum(_compare(name, directory, given.labels) for name in given.suites or SUITES)
    return 1 if failures else 0


def _compare(name: str, directory: Path, labels: list[str] | None) -> int:
    """Run one suite twice and report; return the number of unexpected differences."""
    suite = SUITES[name]
    place = prepare(suite, directory / name)
    found = []
    for is_ours in (False, True):
        # A server for each run: no run sees what another one has left.
        with postgres_server() as server:
            found.append(outcomes(suite, place, server, is_ours, labels or suite.labels))
    without, with_ours = found
    lines = unexpected(name, without, with_ours)
    passed = sum(outcome == "passed" for outcome in with_ours.values())
    _say(f"{name}: {len(with_ours)} tests, {passed} passed, {len(lines)} unexpected differences")
    for line in lines:
        _say(f"  {line}")
    return len(lines)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
