"""A log from which something is erased."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.core.management import call_command
from django.db import connection

from bemi_django.schema import tracking
from tests.support.pipeline import Drain

#: Runs a subcommand of ``bemi`` and returns what it prints.
Bemi = Callable[..., str]


@pytest.fixture
def bemi(drain: Drain) -> Bemi:
    """Run a subcommand."""
    # The past needs a view of each table, also of those of other tests.
    tracking.sync()

    def run(*arguments: str) -> str:
        out = io.StringIO()
        call_command("bemi", *arguments, stdout=out, no_color=True)
        return out.getvalue()

    return run


def url_of_database() -> str:
    """Return the URL of the database of the tests, for other processes."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return str(urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}")))
