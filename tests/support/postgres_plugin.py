"""One PostgreSQL server for the session, started before Django reads its settings."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack

import psycopg2
import pytest

from sample_project.postgres_programs import ServerError
from sample_project.postgres_server import Server, postgres_server
from tests.support import roles
from tests.support.server_folder import roomy_memory

_SERVER = pytest.StashKey[Server]()
_VERSION = pytest.StashKey[int]()
_server = ExitStack()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    try:
        server = _server.enter_context(postgres_server(temporary_in=roomy_memory()))
    except ServerError as error:
        raise pytest.UsageError(str(error)) from error
    early_config.add_cleanup(_server.close)
    early_config.stash[_SERVER] = server
    os.environ["DATABASE_URL"] = server.url
    connection = psycopg2.connect(server.url)
    early_config.stash[_VERSION] = connection.info.server_version // 10000
    connection.close()
    if early_config.known_args_namespace.roles == "with":
        roles.take(server.url)
        _server.callback(roles.give_back)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres(version): the server must have this major version or later")
    config.addinivalue_line("markers", "administrator: Django's role must be a superuser")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if marker := item.get_closest_marker("postgres"):
        (needed,), version = marker.args, item.config.stash[_VERSION]
        if version < needed:
            pytest.skip(f"the server is PostgreSQL {version}; this needs {needed}")


@pytest.fixture(scope="session")
def psql(pytestconfig: pytest.Config) -> str:
    """Path of the psql program: the one of the server, or the one on PATH."""
    bin_dir = pytestconfig.stash[_SERVER].bin_dir
    beside = shutil.which("psql", path=str(bin_dir)) if bin_dir else None
    found = beside or shutil.which("psql")
    if found is None:
        pytest.skip("no psql beside the server's binaries nor on PATH")
    return found
