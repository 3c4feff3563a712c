"""A hot standby of the tests' server, under an alias of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections

from bemi_django import conf
from sample_project.postgres_programs import account, run
from sample_project.postgres_server import SETTINGS
from tests.support.project_database import execute
from tests.support.reserved_port import ReservedPort
from tests.support.server_folder import server_folder


@contextmanager
def hot_standby() -> Iterator[str]:
    """Yield the alias of a standby of the tests' server."""
    ((programs,),) = execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    if not (Path(programs) / "pg_basebackup").exists():
        pytest.skip(f"a standby needs pg_basebackup, which is not in {programs}")
    user, reserved = account(), ReservedPort()
    port = reserved.number
    directory = server_folder("bemi-standby-")
    data = str(directory / "data")
    try:
        if user:
            shutil.chown(directory, user["user"])
        primary = conf.connection_parameters("default")
        named = " ".join(f"{name}={primary[name]}" for name in ("host", "port", "user", "password"))
        options = " ".join(f"--{name}={value}" for name, value in SETTINGS.items())
        for program, *arguments in (
            ["pg_basebackup", "-d", named, "-D", data, "-R", "-X", "stream", "-c", "fast"],
            ["pg_ctl", "-D", data, "-l", str(directory / "log"), "-o", f"{options} -p {port}", "-w", "start"],
        ):
            done = run([f"{programs}/{program}", *arguments], user)
            assert done.returncode == 0, done.stderr
        settings = {**connections["default"].settings_dict, "HOST": "127.0.0.1", "PORT": str(port)}
        connections.settings["replica"] = settings
        yield "replica"
    finally:
        if "replica" in connections.settings:
            connections["replica"].close()
            del connections["replica"]
            del connections.settings["replica"]
        run([f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], user)
        reserved.close()
        shutil.rmtree(directory)
