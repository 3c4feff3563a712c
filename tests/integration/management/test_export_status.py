"""``bemi status`` and ``bemi run`` of databases that are exported."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django.exceptions import ReplicationError
from bemi_django.management.worker.configured_worker import config_of_sink
from bemi_django.schema import tracking
from bemi_django.schema.replication.slots import slot_of
from bemi_django.sinks.addresses import ExportAddress, parse
from bemi_django.status.exports import problem_of, read_exports
from bemi_django.status.recording import problems_of, read_recording
from tests.support.pipeline import Pipeline
from tests.support.polling import until


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/changes.jsonl"


@pytest.fixture
def exported(transactional_db: None, settings: Any, url: str) -> Iterator[Pipeline]:
    """A pipeline to a file, which has begun."""
    settings.BEMI_SLOT = "bemi_exported"
    tracking.sync()
    address = parse(url)
    assert isinstance(address, ExportAddress)
    pipeline = Pipeline.of_project(address.slot("bemi_exported"))
    pipeline.config = pipeline.config._replace(export=address.export)
    pipeline.run()
    yield pipeline
    pipeline.drop()
    tracking.sync()


def test_an_export_is_listed_beside_a_log_that_has_not_begun(exported: Pipeline, url: str) -> None:
    with exported.worker():
        until(lambda: read_exports("default")[0].state == "running")
        output = io.StringIO()
        call_command("bemi", "status", stdout=output)
        assert f"export     {url}: running (slot {exported.slot})" in output.getvalue()
        output = io.StringIO()
        call_command("bemi", "status", "--json", stdout=output)
        (found,) = json.loads(output.getvalue())["exports"]
        assert (found["sink"], found["slot"], found["trouble"]) == (url, exported.slot, "")
    exported.release()
    # The checkpoint of the export is not that of a log.
    assert slot_of("default") == "bemi_exported"
    (problem,) = problems_of(read_recording("default"))
    assert problem == (
        f"the export to {url} is not running, and the server keeps all WAL: start it, or end it with "
        f"SELECT pg_drop_replication_slot('{exported.slot}')"
    )


def test_the_trouble_of_an_export_is_a_problem(exported: Pipeline, url: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE _bemi.checkpoint SET trouble = 'no room' WHERE slot = %s", [exported.slot])
    (found,) = read_exports("default")
    assert problem_of(found._replace(state="running")) == f"the export to {url} does not get on: no room"
    exported.run()
    (found,) = read_exports("default")
    assert problem_of(found._replace(state="running")) == ""


def test_the_setting_names_the_sink(exported: Pipeline, settings: Any, url: str) -> None:
    settings.BEMI_SINK = url
    config = config_of_sink("default", None)
    assert config.export is not None and config.export.name == url
    settings.BEMI_SINK = "ftp://user:secret@host"
    with pytest.raises(ReplicationError, match="the address of the sink is not known: use nats://") as raised:
        config_of_sink("default", None)
    assert "secret" not in str(raised.value)


def test_databases_do_not_share_a_file(url: str) -> None:
    with pytest.raises(CommandError, match="each database needs a sink of its own"):
        call_command("bemi", "run", "--to", url, "--all", "--until-current")
