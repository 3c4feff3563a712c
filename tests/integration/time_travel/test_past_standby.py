"""``as_of()`` on a hot standby: nothing is written there, and the primary is asked for the log's progress."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from bemi_django import conf
from bemi_django.exceptions import PastIsReadOnly
from bemi_django.time_travel import as_of
from sample_project.postgres_process import free_port
from sample_project.postgres_programs import account, run
from sample_project.postgres_server import SETTINGS
from tests.support.pipeline import Pipeline
from tests.support.polling import until
from tests.support.project_database import execute
from tests.support.travel import here


@pytest.fixture
def replica(pipeline: Pipeline) -> Iterator[str]:
    """The alias of a standby of the tests' server."""
    ((programs,),) = execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    if not (Path(programs) / "pg_basebackup").exists():
        pytest.skip(f"a standby needs pg_basebackup, which is not in {programs}")
    user, port = account(), free_port()
    directory = Path(tempfile.mkdtemp(prefix="bemi-standby-", dir="/var/tmp"))
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
        shutil.rmtree(directory)


@pytest.mark.administrator
def test_a_standby_shows_the_past(replica: str, pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.tool (id int PRIMARY KEY, word text)")
    execute("INSERT INTO lab.tool VALUES (1, 'old')")
    moment = here()
    execute("UPDATE lab.tool SET word = 'new'")
    pipeline.stop()

    def words(statement: str = "SELECT word FROM lab.tool") -> list[tuple[str]]:
        with connections[replica].cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def has_arrived() -> bool:
        return words("SELECT to_regclass('lab.tool')::text") == [("lab.tool",)] and words() == [("new",)]

    until(has_arrived)
    with Pipeline.of_project("bemi_laboratory").worker(), as_of(moment, using=replica):
        assert words() == words("SELECT word FROM lab.tool WHERE id = 1") == [("old",)]
        with pytest.raises(PastIsReadOnly):
            words("UPDATE lab.tool SET word = 'x'")
    assert words() == [("new",)]
