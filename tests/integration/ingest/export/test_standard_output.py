"""Changes on the standard output: nothing else is there, and a reader that waits makes the slot wait."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator

import pytest

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import Export
from bemi_django.sinks.standard_output import OutputPipe, StandardOutput
from tests.support.command import Command
from tests.support.exporting import Sink, of_lines
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until


@pytest.fixture
def output(trail: LoadPipeline) -> Iterator[Sink]:
    """The standard output, begun."""
    sink = Sink(trail, "-", list)
    sink.run()
    yield sink
    sink.drop()


def test_the_output_has_changes_and_the_errors_have_the_log(output: Sink) -> None:
    output.trail.write(3)
    with output.process("--until-current") as process:
        assert process.ends() == 0
        lines = [json.loads(line) for line in process.out.splitlines()]
        assert [change.after["n"] for change in of_lines(lines)] == [1, 2, 3]
        assert [line["end"]["changes"] for line in lines if "end" in line] == [1, 1, 1]
        assert "the standard output keeps no position" in process.errors
        assert "reading the slot" in process.errors
        assert "3 changes written" in process.errors
    # What was written is confirmed.
    with output.process("--until-current") as process:
        assert process.ends() == 0
        assert process.out == ""


def test_a_reader_that_waits_makes_the_slot_wait(output: Sink) -> None:
    read, write = os.pipe()
    config = output.config._replace(export=Export("stdout:", lambda slot: StandardOutput(OutputPipe(write))))
    trail = output.trail
    with trail.worker(config=config) as running:
        trail.source.run("INSERT INTO load SELECT i, i, repeat('x', 1000) FROM generate_series(1, 200) i")
        # What came before may be confirmed.
        inserted = int(trail.source.one("SELECT pg_current_wal_lsn() - '0/0'"))
        trail.write(3)
        until(lambda: not select.select([], [write], [], 0)[1])
        assert not running.done()
        assert output.confirmed() < inserted
        # The worker can be stopped meanwhile, as at the end of this block.
    assert output.confirmed() < inserted
    os.set_blocking(read, False)
    assert os.read(read, 1000).startswith(b'{"begin":{"history":0,"lsn":"')
    os.close(write)
    os.close(read)


def test_a_reader_that_has_gone_ends_the_worker(output: Sink) -> None:
    read, write = os.pipe()
    os.close(read)
    output.trail.write(1)
    with pytest.raises(ReplicationError, match="cannot write to the standard output: Broken pipe"):
        output.run(export=Export("stdout:", lambda slot: StandardOutput(OutputPipe(write))))
    os.close(write)


def test_a_publication_that_is_made_is_told_on_the_errors(output: Sink) -> None:
    trail = output.trail
    trail.source.run("DROP PUBLICATION bemi")
    source, log = trail.source.server.url, trail.log.server.url
    options = ("--to", "-", "--until-current", "--accept-gap")
    with Command("bemi", "run", *options, source=source, log=log, slot=trail.slot) as process:
        assert process.ends() == 0
        assert all({"id", "begin", "end"} & set(line) for line in map(json.loads, process.out.splitlines()))
        assert "publication: bemi" in process.errors
