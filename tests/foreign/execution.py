"""One run of a suite in a process of its own, which writes the outcome of each test to a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sample_project.postgres_server import Server
from tests.foreign.environment import Place
from tests.foreign.suites import Suite
from tests.support.paths import ROOT

#: The database of suites that do not create one.
DATABASE = "suite"


def outcomes(
    suite: Suite, place: Place, server: Server, is_ours: bool, labels: Sequence[str]
) -> Mapping[str, str]:
    """Run a suite and return the outcome of each test: passed, failed, skipped.

    Args:
        suite: The suite.
        place: Its interpreter and folder.
        server: A server without other databases.
        is_ours: Whether the package is installed into the project, with a hostile context.
        labels: The tests to run.

    Raises:
        RuntimeError: No test ran.
    """
    with TemporaryDirectory() as directory:
        results = Path(directory) / "outcomes"
        variables = _variables(suite, server, is_ours, results)
        if suite.needs_database:
            _create_database(place, variables, is_tracked=is_ours)
        command = [str(place.python), *suite.command[1:], *labels]
        command = [re.sub(r"\{url:(\w+)\}", lambda found: _url(server, found[1]), part) for part in command]
        done = subprocess.run(command, cwd=place.folder, env=variables, check=False)
        lines = results.read_text().splitlines() if results.exists() else []
    if not lines:
        raise RuntimeError(f"no test ran: {' '.join(command[:6])} ended with status {done.returncode}")
    found: dict[str, str] = {}
    for line in lines:
        test, outcome = json.loads(line)
        # Of a test and its subtests, the worst one.
        found[test] = min(outcome, found.get(test, outcome), key=["failed", "skipped", "passed"].index)
    return found


def _variables(suite: Suite, server: Server, is_ours: bool, results: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DJANGO"))}
    settings = {"DJANGO_SETTINGS_MODULE": suite.settings} if suite.settings else {}
    return {
        **inherited,
        **settings,
        "PYTHONPATH": os.pathsep.join([str(ROOT), "."]),
        "FOREIGN_URL": server.url,
        "FOREIGN_OURS": "1" if is_ours else "",
        "FOREIGN_OUTCOMES": str(results),
        "DATABASE_HOST": server.host,
        "DATABASE_PORT": str(server.port),
        "DATABASE_USER": server.user,
        "DATABASE_PASSWORD": server.password,
    }


def _create_database(place: Place, variables: Mapping[str, str], is_tracked: bool) -> None:
    command = [str(place.python), "-m", "tests.foreign.inside.created_database", DATABASE]
    command += ["--tracked"] if is_tracked else []
    subprocess.run(command, env=dict(variables), cwd=place.folder, check=True)


def _url(server: Server, driver: str) -> str:
    login = f"{server.user}:{server.password}@{server.host}:{server.port}"
    return f"postgresql+{driver}://{login}/{DATABASE}"
