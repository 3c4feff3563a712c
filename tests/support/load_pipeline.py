"""A pipeline between two servers under load: its log must be complete, in order, without repetitions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2

from bemi_django.ingest.config import WorkerConfig
from bemi_django.schema import sql
from tests.support.cluster import Cluster, transaction
from tests.support.command import Command
from tests.support.pipeline import Pipeline
from tests.support.polling import until
from tests.support.roles import OWNER, VERIFIER, WORKER, address

#: Everything belongs to a role that is no superuser; the worker has what "bemi grants" prints.
_ROLES = f"""
CREATE ROLE {OWNER} LOGIN PASSWORD '{VERIFIER}';
CREATE ROLE {WORKER} LOGIN REPLICATION PASSWORD '{VERIFIER}';
"""
#: What a database needs that is a source, or has a log, or both.
INSTALLED = sql.up(
    *sql.SOURCE,
    "histories_v1",
    "changes_v1",
    "recorded_v1",
    "activity_v1",
    "seals_v1",
    "append_only_v1",
    "subject_keys_v1",
)
#: What the worker may do there.
GRANTS = f"""
GRANT USAGE ON SCHEMA _bemi TO {WORKER};
GRANT SELECT ON _bemi.relations TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi.describe_v1(oid[], boolean), _bemi.types_v1(oid[]),
    _bemi.types_of_v1(oid, jsonb), _bemi.named_by_v1(oid) TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi.compute_v1(text, text[]) TO {WORKER};
GRANT INSERT ON changes, _bemi.dead_letters, _bemi.activity_entries TO {WORKER};
GRANT SELECT, INSERT, UPDATE ON _bemi.checkpoint TO {WORKER};
GRANT SELECT, INSERT, UPDATE, DELETE ON _bemi.lanes TO {WORKER};
GRANT SELECT, INSERT ON _bemi.histories, _bemi.subject_keys TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi.partition_v1(timestamptz), _bemi.mark_diverged_v1(bigint, bigint, bigint)
    TO {WORKER};
GRANT SELECT ON _bemi.chains TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi.recorded_v1(text, pg_lsn, pg_snapshot, text, text, text, pg_lsn, text[])
    TO {WORKER};
GRANT EXECUTE ON FUNCTION _bemi.seal_v1(text, text, text, bytea, bytea, bytea, bytea, bytea) TO {WORKER};
"""
#: The rows of "load" carry a value that must not appear in any line that the worker logs.
_TABLES = """
CREATE TABLE load (id int PRIMARY KEY, n int NOT NULL, filler text NOT NULL DEFAULT 'row-value');
CREATE TABLE junk (text text);
CREATE PUBLICATION bemi FOR TABLE load;
ALTER TABLE load REPLICA IDENTITY FULL;
CREATE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON load
    FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
"""


def load_cluster(**settings: str) -> Cluster:
    """Start a server that can be the source or the log of a :class:`LoadPipeline`."""
    cluster = Cluster(**settings)
    prepare(cluster)
    return cluster


def prepare(cluster: Cluster) -> None:
    """Create the roles in a server that runs, and install everything else."""
    cluster.run(_ROLES)
    install(cluster)


def install(cluster: Cluster) -> None:
    """Make a database ready to be the source or the log of a :class:`LoadPipeline`."""
    cluster.run(f"GRANT CREATE ON DATABASE {cluster.server.dbname} TO {OWNER}")
    cluster.run(f"GRANT CREATE ON SCHEMA public TO {OWNER}")
    cluster.run(f"SET ROLE {OWNER}")
    for script in (INSTALLED, _TABLES, GRANTS):
        cluster.run(script)
    cluster.run("RESET ROLE")
    # An owner without CREATEROLE could not.
    cluster.run("SELECT _bemi.make_compute_role_v1()")


class LoadPipeline(Pipeline):
    """Records the table ``load`` of one server in the log of another one."""

    source: Cluster
    log: Cluster

    def __init__(self, source: Cluster, log: Cluster, slot: str) -> None:
        config = WorkerConfig(source.parameters_of(WORKER), log.parameters_of(WORKER), slot, "bemi")
        super().__init__(config, source, log)
        self._n = 0

    def write(self, count: int = 1) -> None:
        """Commit this number of transactions."""
        with self._writer() as write:
            for _ in range(count):
                write()

    @contextmanager
    def load(self, pause: float = 0.002) -> Iterator[None]:
        """Write until the block ends, whatever happens to the server, with a pause after each transaction."""
        done = threading.Event()
        thread = threading.Thread(target=self._write_until, args=[done, pause])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def command(self, *arguments: str, source: str = "", log: str = "", slot: str = "") -> Command:
        """Start ``bemi run`` in a process of its own, on other URLs or another slot if they are given.

        The log forgets its slot then, because it would keep the name.
        """
        if slot:
            self.log.run("DELETE FROM _bemi.checkpoint")
        return Command(
            "bemi",
            "run",
            *arguments,
            source=source or address(self.source.server.url, WORKER),
            log=log or address(self.log.server.url, WORKER),
            slot=slot or self.slot,
        )

    def catch_up(self) -> None:
        """Wait until the last row is in the log, then check all of it."""
        until(lambda: self.logged()[-1:] == [self._last_written()])
        self.check()

    def check(self) -> None:
        """Assert that every committed row is in the log once, in commit order."""
        logged = self.logged()
        assert logged == sorted(set(logged))
        table: dict[int, int] = {}
        for n, after in self._log("SELECT (after ->> 'n')::int, after FROM changes"):
            table[after["id"]] = n
        assert table == dict(self.source.run("SELECT id, n FROM load"))
        # An update replaces n in the table; the log has both.
        assert logged == list(range(1, self._last_written() + 1))

    def logged(self) -> list[int]:
        """Return the numbers of the rows in the log."""
        return [n for (n,) in self._log("SELECT (after ->> 'n')::int FROM changes")]

    def lose_wal(self, slot: str) -> None:
        """Be as a new copy of the source to which a cluster manager has copied the slot, without its WAL."""
        name = "SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots WHERE slot_name = %s"
        needed = self.source.one(name, [slot])
        self.source.run("SELECT pg_switch_wal()")
        self.source.run("CHECKPOINT")
        (self.source.directory / "data" / "pg_wal" / needed).unlink()

    @contextmanager
    def held_log(self) -> Iterator[Callable[[], None]]:
        """Let each COPY wait for the end of the block, or until what it yields is called."""
        self.log.run(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            "PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END$$; "
            "CREATE TRIGGER hold BEFORE INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION hold()"
        )
        with transaction(self.log) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(1)")
            yield cursor.connection.rollback
        self.log.run("DROP FUNCTION hold CASCADE")

    def wait_until_held(self) -> None:
        """Wait for a COPY that waits for the end of :meth:`held_log`."""
        until(lambda: self.log.one("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    def publish(self) -> None:
        """Create the publication."""
        self.source.run("CREATE PUBLICATION bemi FOR TABLE load")

    def drop(self) -> None:
        """Leave both servers as they were, whatever a test or a command of it has tracked."""
        super().drop()
        for statement in (
            "DROP EVENT TRIGGER IF EXISTS _bemi_follow_ddl",
            "DROP EVENT TRIGGER IF EXISTS _bemi_follow_drop",
            "DROP PUBLICATION IF EXISTS bemi",
            "DROP TABLE load, junk",
            "DELETE FROM _bemi.relations",
            "DELETE FROM _bemi.tracking",
            f"SET ROLE {OWNER}",
            _TABLES,
            "RESET ROLE",
        ):
            self.source.run(statement)
        self.log.run(
            "TRUNCATE changes, _bemi.dead_letters, _bemi.checkpoint, _bemi.histories, _bemi.activity"
        )

    def _log(self, query: str) -> list[Any]:
        return self.log.run(f"{query} WHERE operation IN ('CREATE', 'UPDATE') ORDER BY id")

    def _last_written(self) -> int:
        return int(self.source.one("SELECT coalesce(max(n), 0) FROM load"))

    def _write_until(self, done: threading.Event, pause: float) -> None:
        while not done.is_set():
            with suppress(psycopg2.Error), self._writer() as write:
                while not done.wait(pause):
                    write()
            done.wait(0.01)

    @contextmanager
    def _writer(self) -> Iterator[Any]:
        connection = psycopg2.connect(**self.source.parameters_of(OWNER))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                # A commit whose answer was lost may have happened.
                cursor.execute("SELECT coalesce(max(n), 0) FROM load")
                self._n = cursor.fetchone()[0]
                yield lambda: self._write(cursor)
        finally:
            connection.close()

    def _write(self, cursor: Any) -> None:
        """Commit one transaction: every third one changes the row of the one before."""
        n = self._n + 1
        values: Sequence[int] = (n, n - 1) if n % 3 == 0 else (n, n)
        if n % 3 == 0:
            cursor.execute("UPDATE load SET n = %s WHERE id = %s", values)
        else:
            cursor.execute("INSERT INTO load (n, id) VALUES (%s, %s)", values)
        self._n = n
