"""A promotion is no gap: the log follows the server to its new timeline."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from uuid import UUID

import pytest

from bemi_django.wire.ids import sequence_in
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import history_of
from tests.support.load_pipeline import LoadPipeline

_UNRECORDED = "INSERT INTO junk SELECT md5(n::text) FROM generate_series(1, 5000) n"


def promote(trail: LoadPipeline) -> None:
    """Recovery ends on a new timeline."""
    trail.source.stop()
    (trail.source.directory / "data" / "standby.signal").touch()
    trail.source.start()
    assert trail.source.one("SELECT pg_promote()")


def restore_source(trail: LoadPipeline, write: Callable[[], object]) -> None:
    """Put a snapshot of its disk back: the same server, the same timeline, without what was written since."""
    data, copy = trail.source.directory / "data", trail.source.directory / "copy"
    trail.source.stop()
    subprocess.run(["cp", "-a", data, copy], check=True)
    trail.source.start()
    write()
    trail.run()
    trail.source.stop()
    shutil.rmtree(data)
    copy.rename(data)
    trail.source.start()


def histories(trail: LoadPipeline) -> list[int]:
    """The history of each change, in the order of ids."""
    ids = trail.log.run("SELECT id::text FROM changes ORDER BY id")
    return [history_of(sequence_in(UUID(identifier).bytes)) for (identifier,) in ids]


def test_a_promoted_server_is_followed_to_its_timeline(trail: LoadPipeline) -> None:
    trail.write(2)
    trail.run()
    trail.write(3)
    promote(trail)
    trail.write(2)
    trail.run()
    trail.check()
    assert trail.gaps() == []
    # What was committed before the promotion belongs to the timeline before.
    assert histories(trail) == [0] * 5 + [1] * 2
    trail.write(2)
    trail.run()
    trail.check()


def test_a_server_that_was_promoted_twice_meanwhile(trail: LoadPipeline) -> None:
    trail.write(1)
    promote(trail)
    trail.write(2)
    promote(trail)
    trail.write(1)
    trail.run()
    trail.check()
    assert trail.gaps() == [] and histories(trail) == [0, 1, 1, 2]


def test_what_a_restored_server_does_not_have_is_marked(trail: LoadPipeline) -> None:
    """Its positions come again, with other changes."""
    trail.write(2)
    trail.run()
    restore_source(trail, lambda: trail.write(20))
    trail.write(4)
    trail.run()
    assert trail.gaps() == []
    kept = "SELECT (after ->> 'n')::int FROM changes WHERE NOT diverged ORDER BY id"
    assert [n for (n,) in trail.log.run(kept)] == [1, 2, 3, 4, 5, 6]
    assert trail.log.one("SELECT count(*) FROM changes WHERE diverged") >= 20
    ids = trail.log.run("SELECT id FROM changes")
    assert len(set(ids)) == len(ids)
    trail.log.run("DELETE FROM changes WHERE diverged")
    trail.check()


def test_positions_without_changes_are_no_loss(trail: LoadPipeline, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a server that writes nothing of it goes on with the WAL, and so past what a standby has."""
    trail.write(2)
    trail.run()
    restore_source(trail, lambda: trail.source.run(_UNRECORDED))
    before = trail.checkpoint()
    promote(trail)
    trail.write(2)
    trail.run()
    (line,) = [line for line in caplog.messages if "nothing in it is lost" in line]
    assert format_lsn(before) in line
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    trail.check()
    assert trail.gaps() == [] and histories(trail) == [0] * 2 + [1] * 2
    assert trail.log.one("SELECT count(*) FROM changes WHERE diverged") == 0
