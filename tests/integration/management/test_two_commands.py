"""Two commands at once on one database, and commands that are interrupted while another session has a lock.

Whatever happens, each says what it did in clear lines, a second call does what is left, and the log has each
change once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.support.alembic_project import TodoDatabase, todo_database
from tests.support.forked_commands import Ended, ForkedCommands
from tests.support.polling import until

pytest.importorskip("pyarrow", reason="the archive is an optional part")
# A worker creates its slot.
pytestmark = pytest.mark.administrator

NAME = "two_commands"
IS_LONG = "BEMI_BLOWS" in os.environ
#: What `make test` runs.
SHORT = ("sync", "uninstall", "sync, sync", "install, install", "uninstall, run")
#: Changes of a table that is gone in an old month, of which no rule keeps any.
OLD = """
SELECT _bemi.partition_v1('2003-05-03Z');
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, created_at, transaction_id, position)
SELECT id, database, schema, 'visit', primary_key, operation, before, after, context, '2003-05-03Z',
       queued_at, created_at, transaction_id, position
FROM changes WHERE "table" = 'todo' ON CONFLICT DO NOTHING
"""
SPOIL = """
ALTER PUBLICATION bemi DROP TABLE todo;
DROP TRIGGER _bemi_capture ON todo;
ALTER TABLE todo REPLICA IDENTITY DEFAULT;
CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY)
"""
ATTIC = """
DROP TABLE IF EXISTS attic;
CREATE TABLE attic (LIKE changes INCLUDING ALL);
INSERT INTO attic SELECT * FROM changes WHERE "table" = 'todo'
"""
DROP_RESTORED = "DROP TABLE IF EXISTS todo_restored"
# Rows of the table that the log has not once, or as others.
WRONG = """
SELECT t.id FROM todo t
LEFT JOIN changes c ON c."table" = 'todo' AND c.primary_key = t.id::text
WHERE t.id > {since} GROUP BY t.id
HAVING count(*) FILTER (WHERE c.operation IN ('CREATE', 'BASELINE')) <> 1
    OR (array_agg(c.after ORDER BY c.id DESC))[1] <> to_jsonb(t.*)
"""
ACTIVE = "SELECT count(*) FROM pg_replication_slots WHERE active AND database = current_database()"
SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
IDENTITY = "SELECT relreplident FROM pg_class WHERE oid = 'todo'::regclass"
ERASE = ("erase", "public.todo:{id}", "--reason", "a request", "--noinput")
REVERT = ("revert", "--transaction", "{xid}", "--noinput")
ARCHIVE = ("archive", "--before", "2004-01", "--to", "{directory}")
RESTORE = ("restore-table", "public.todo", "--to", "public.todo_restored")
RUN = ("run", "--until-current")


class Pair(NamedTuple):
    """Two commands; ``before`` is executed first, and both wait for the lock that ``held`` takes."""

    first: Sequence[str]
    second: Sequence[str]
    before: str = ""
    held: str = ""
    needs_worker: bool = False


PAIRS = {
    "sync, sync": Pair(("sync",), ("sync",), SPOIL, "LOCK TABLE todo IN ROW EXCLUSIVE MODE"),
    "sync, install": Pair(("sync",), ("install",), SPOIL),
    "install, install": Pair(("install",), ("install",), "uninstall"),
    "prune, archive": Pair(("prune",), ARCHIVE, OLD),
    "prune, prune": Pair(("prune",), ("prune",), OLD),
    "baseline, baseline": Pair(("baseline",), ("baseline",), needs_worker=True),
    "baseline, sync": Pair(("baseline",), ("sync",), needs_worker=True),
    "verify, prune": Pair(("verify",), ("prune",), OLD, needs_worker=True),
    "convert, run": Pair(("convert", "public.attic"), RUN, ATTIC),
    "uninstall, run": Pair(("uninstall",), RUN),
    "uninstall, sync": Pair(("uninstall",), ("sync",), SPOIL),
    "restore-table, revert": Pair(RESTORE, REVERT, DROP_RESTORED, needs_worker=True),
    "erase, prune": Pair(ERASE, ("prune",), OLD),
    "run, run": Pair(RUN, RUN),
    "run, run --accept-gap": Pair(RUN, (*RUN, "--accept-gap")),
}


class Site:
    """A database with a log, and commands for it."""

    def __init__(self, database: TodoDatabase, commands: ForkedCommands, directory: Path) -> None:
        self.commands, self._database, self._directory = commands, database, directory
        self._since = self._id = self._xid = 0

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self._database.query(statement)

    def begin(self) -> None:
        """Have a log, with some rows that are new."""
        self.query("DROP TABLE IF EXISTS attic")
        if self.query(SLOTS) == []:
            self.commands.run("install")
            self.commands.run(*RUN)
        ((self._since,),) = self.query("SELECT coalesce(max(id), 0) FROM todo")
        self.query("INSERT INTO todo (task) SELECT 'new' FROM generate_series(1, 20)")
        ((self._id, xid),) = self.query(
            "UPDATE todo SET task = 'old' WHERE id = (SELECT max(id) FROM todo) "
            "RETURNING id, pg_current_xact_id()::text"
        )
        self._xid = int(str(xid)) % 2**32
        self.commands.run(*RUN)

    def filled(self, arguments: Sequence[str]) -> list[str]:
        given = {"id": self._id, "xid": self._xid, "directory": self._directory / "archive"}
        return [argument.format(**given) for argument in arguments]

    def require_whole(self) -> None:
        """Check what the log has, and that nothing is left to do."""
        self.commands.run("sync")
        assert self.commands.run("sync").startswith("nothing to do")
        self.commands.run(*RUN)
        assert self.query(WRONG.format(since=self._since)) == []
        assert self.query(IDENTITY) == [("f",)]

    def require_nothing(self) -> None:
        """Check that nothing is left of a log."""
        assert self.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE '\\_bemi%'") == []
        assert self.query(SLOTS) == []
        assert self.query("SELECT pubname FROM pg_publication") == []
        assert self.query(IDENTITY) == [("d",)]

    @contextmanager
    def worker(self, is_needed: bool = True) -> Iterator[None]:
        """Have a worker in the block."""
        if not is_needed:
            yield
            return
        worker = self.commands.start("run")
        try:
            until(lambda: self.query(ACTIVE) == [(1,)], why=lambda: worker.said)
            yield
        finally:
            worker.send(signal.SIGTERM)
            assert worker.ends().status == 0, worker.said

    @contextmanager
    def held(self, lock: str) -> Iterator[None]:
        """Hold a lock in the block."""
        with closing(psycopg2.connect(**self._database.libpq)) as other, other.cursor() as cursor:
            if lock:
                cursor.execute(lock)
            yield

    def waits(self) -> int:
        """Return how many sessions wait for a lock."""
        ((number,),) = self.query(WAITING)
        return int(number)


@pytest.fixture(scope="module")
def opened(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with django_db_blocker.unblock(), todo_database(NAME) as database:
        directory = tmp_path_factory.mktemp("commands")
        environment = {
            "BEMI_SOURCE": database.url("psycopg2"),
            "BEMI_RETENTION": '{"default": "3 years"}',
            # The log of a database that has no other tables needs no more.
            "BEMI_EXCLUDE": "public.attic,public.todo_restored",
        }
        with ForkedCommands(directory, environment) as commands:
            yield Site(database, commands, directory)


@pytest.fixture
def site(opened: Site) -> Site:
    opened.begin()
    return opened


def is_clear(ended: Ended) -> bool:
    """Whether a command has succeeded, or has said why not in lines of its own."""
    last = ended.said.rstrip().rpartition("\n")[2]
    return "Traceback" not in ended.said and (ended.status == 0 or (ended.status == 1 and bool(last)))


@pytest.mark.parametrize("name", [name for name in PAIRS if IS_LONG or name in SHORT])
def test_two_commands_at_once(site: Site, name: str) -> None:
    pair = PAIRS[name]
    if pair.before == "uninstall":
        site.commands.run("uninstall")
    elif pair.before:
        site.query(pair.before)
    with site.worker(pair.needs_worker):
        with site.held(pair.held):
            both = [site.commands.start(*site.filled(one)) for one in (pair.first, pair.second)]
            if pair.held:
                until(lambda: site.waits() == 2)
        ended = [one.ends() for one in both]
        assert all(map(is_clear, ended)), ended
    if "uninstall" in name:
        site.commands.run("uninstall")
        site.require_nothing()
        return
    with site.worker(pair.needs_worker):
        for arguments in (pair.first, pair.second):
            again = site.commands.start(*site.filled(arguments)).ends()
            assert is_clear(again), again
    if pair.before == "uninstall":
        site.begin()
    if "revert" not in name and "erase" not in name:
        site.require_whole()
    if "prune" in name:
        assert site.query("SELECT count(*) FROM changes WHERE committed_at < '2004-01-01'") == [(0,)]
    if name == "sync, sync":
        site.commands.run("uninstall")
        site.require_nothing()


class Interruption(NamedTuple):
    """A command that waits for the lock that ``held`` takes; ``before`` is executed first."""

    arguments: Sequence[str]
    held: str
    before: str = ""
    needs_worker: bool = False


EXCLUSIVELY = "LOCK TABLE todo IN ACCESS EXCLUSIVE MODE"
INTERRUPTIONS = {
    "sync": Interruption(("sync",), "LOCK TABLE todo IN ROW EXCLUSIVE MODE", SPOIL),
    "install": Interruption(("install",), "LOCK TABLE _bemi.parts IN ACCESS EXCLUSIVE MODE"),
    "prune": Interruption(("prune",), "LOCK TABLE changes IN ACCESS EXCLUSIVE MODE", OLD),
    "archive": Interruption(ARCHIVE, "LOCK TABLE changes_2003_05 IN ACCESS EXCLUSIVE MODE", OLD),
    "convert": Interruption(("convert", "public.attic"), "LOCK TABLE attic IN ACCESS EXCLUSIVE MODE", ATTIC),
    "erase": Interruption(ERASE, "LOCK TABLE changes IN SHARE MODE"),
    "revert": Interruption(REVERT, "SELECT FROM todo FOR UPDATE"),
    "restore-table": Interruption(
        RESTORE, "LOCK TABLE _bemi.baselines IN ACCESS EXCLUSIVE MODE", DROP_RESTORED, needs_worker=True
    ),
    "baseline": Interruption(("baseline", "--anew"), EXCLUSIVELY, needs_worker=True),
    "verify": Interruption(("verify",), EXCLUSIVELY, needs_worker=True),
    "uninstall": Interruption(("uninstall",), "LOCK TABLE todo IN ROW EXCLUSIVE MODE"),
}


@pytest.mark.parametrize("name", [name for name in INTERRUPTIONS if IS_LONG or name in SHORT])
def test_a_command_that_waits_for_a_lock_is_interrupted(site: Site, name: str) -> None:
    case = INTERRUPTIONS[name]
    if case.before:
        site.query(case.before)
    with site.worker(case.needs_worker):
        with site.held(case.held):
            command = site.commands.start(*site.filled(case.arguments))
            until(lambda: site.waits() > 0, why=lambda: command.said)
            command.send(signal.SIGINT)
            ended = command.ends()
        assert ended.status == 130 and "interrupted: " in ended.said and "Traceback" not in ended.said, ended
        site.commands.run(*site.filled(case.arguments))
    if name == "uninstall":
        site.require_nothing()
    elif name not in ("erase", "revert"):
        site.require_whole()
