"""One PostgreSQL server for the session, started before Django reads its settings."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from sample_project.postgres_server import ServerError, postgres_server

_server = ExitStack()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    try:
        server = _server.enter_context(postgres_server())
    except ServerError as error:
        raise pytest.UsageError(str(error)) from error
    early_config.add_cleanup(_server.close)
    os.environ["DATABASE_URL"] = server.url
