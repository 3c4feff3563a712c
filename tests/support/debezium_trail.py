"""A source with tables of all kinds of values, and its log, for Debezium and for our own reader."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.debezium.reading.record import DEFAULT_MODES, Modes
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.ingest.debezium.record_consumption import RecordConsumption
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.ingest.stitching.provenance import parted
from tests.support.cluster import Cluster
from tests.support.load_pipeline import GRANTS, INSTALLED
from tests.support.pipeline import QUICK
from tests.support.roles import OWNER, WORKER

SLOT = "bemi_debezium"
_ROLES = f"GRANT CREATE ON SCHEMA public TO {OWNER}"

TABLES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE <= 100);
CREATE TABLE kinds (
    id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(12, 2), m numeric,
    p percent, t text, v varchar(9), c char(5), u uuid, by bytea, j json, jb jsonb, d date, ti time,
    ti3 time(3), ttz timetz, ts timestamp, ts3 timestamp(3), tz timestamptz, iv interval, e mood, pr pair,
    inet inet, rng int4range, bits bit(10), ai int[], at text[], an numeric[], atz timestamptz[], ab bool[],
    au uuid[], money money, pt point, x xml,
    bx box, lsn pg_lsn, dp percent[], nm name, g numeric GENERATED ALWAYS AS (n * 2) STORED);
ALTER TABLE kinds REPLICA IDENTITY FULL;
CREATE TABLE notes (id int PRIMARY KEY, body text, tags text[], raw bytea, n int);
ALTER TABLE notes ALTER body SET STORAGE EXTERNAL, ALTER tags SET STORAGE EXTERNAL,
    ALTER raw SET STORAGE EXTERNAL;
CREATE TABLE pairs (a int, b text, n int, PRIMARY KEY (a, b));
ALTER TABLE pairs REPLICA IDENTITY FULL;
CREATE TABLE loose (a int, b text);
ALTER TABLE loose REPLICA IDENTITY FULL;
CREATE TABLE months (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE months_1 PARTITION OF months FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE months_2 PARTITION OF months FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
ALTER TABLE months_1 REPLICA IDENTITY FULL;
ALTER TABLE months_2 REPLICA IDENTITY FULL;
CREATE PUBLICATION bemi FOR TABLE kinds, notes, pairs, loose, months;
"""
NAMES = ("kinds", "notes", "pairs", "loose", "months", "months_1", "months_2")
_TRIGGERS = """
CREATE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON {0}
    FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
CREATE TRIGGER _bemi_capture_truncate BEFORE TRUNCATE ON {0}
    FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
"""
_WRITTEN = (
    "changes, _bemi.dead_letters, _bemi.checkpoint, _bemi.histories, _bemi.lanes, _bemi.links, _bemi.chains"
)
_LOGGED = """
SELECT schema, "table", partition, operation, primary_key, previous_primary_key, before::text, after::text,
       context::text, unavailable::text, transaction_id, committed_at::text, database
FROM changes ORDER BY id
"""


class Logged(NamedTuple):
    """A row of ``changes``, without what the two readers cannot have in common."""

    schema: str
    table: str
    partition: str | None
    operation: str
    key: str | None
    previous_key: str | None
    before: str
    after: str
    context: str
    unavailable: str | None
    transaction: int
    committed_at: str
    database: str


class DebeziumTrail:
    """Two new databases of a server: the source, and one for the log.

    Args:
        cluster: The server, as ``load_cluster()`` starts it.
        name: The name of the source.
    """

    def __init__(self, cluster: Cluster, name: str = "debezium") -> None:
        self.cluster = cluster
        #: Why the log was to go on without what was lost.
        self.accepted: list[str] = []
        self.source, self.log = name, f"{name}_log"
        for database in (self.source, self.log):
            self.make(database)
        self.run(self.source, TABLES)
        for table in NAMES[:5]:
            self.run(self.source, _TRIGGERS.format(table))

    def make(self, database: str) -> None:
        """Create a database that is ready for use."""
        self.cluster.run(f"CREATE DATABASE {database}")
        self.cluster.run(f"GRANT CREATE ON DATABASE {database} TO {OWNER}")
        self.run(database, _ROLES)
        self.run(database, f"SET ROLE {OWNER}; {INSTALLED} {GRANTS}")

    def close(self, *others: str) -> None:
        """Drop the databases, and their slots."""
        self.cluster.run(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
            [self.source],
        )
        for database in (self.source, self.log, *others):
            self.cluster.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def parameters(self, database: str, role: str = WORKER) -> dict[str, Any]:
        return {**self.cluster.parameters_of(role), "dbname": database}

    def config(self, log: str = "", slot: str = SLOT) -> WorkerConfig:
        """Return what a worker or a consumer works on."""
        return WorkerConfig(self.parameters(self.source), self.parameters(log or self.log), slot, "bemi")

    def consume(self, *files: Path | str, modes: Modes = DEFAULT_MODES, complete: bool = False) -> int:
        """Write records to the log; return the number of changes."""
        source = RecordSource(RecordFiles([*map(str, files)]), modes=modes, is_complete=complete)
        return self.consumer(source).run(until_current=True)

    def consumer(self, source: RecordSource, **config: Any) -> Consumer:
        """Return a consumer of records."""
        if config.pop("accept_gap", False):
            source = source._replace(accept=self.accepted.append)
        return Consumer(self.config()._replace(**config), QUICK, partial(RecordConsumption, source))

    def read_slot(self, log: str, **config: Any) -> int:
        """Write what is in the WAL now to another log, with our own reader."""
        return Supervisor(self.config(log)._replace(**config), QUICK).run(until_current=True)

    def logged(self, log: str = "") -> list[Logged]:
        """Return what the log has."""
        return [Logged._make(row) for row in self.run(log or self.log, _LOGGED)]

    def letters(self) -> list[tuple[str, bytes]]:
        """Return reason and message of each dead letter."""
        found = self.run(self.log, "SELECT reason, message FROM _bemi.dead_letters ORDER BY id")
        return [(reason, bytes(message)) for reason, message in found]

    def empty(self, log: str = "") -> None:
        """Forget all that was written to the log."""
        self.accepted.clear()
        self.run(log or self.log, f"TRUNCATE {_WRITTEN}")

    def run(self, database: str, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        """Run a statement as a superuser and return the rows."""
        with self.session(database) as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def session(self, database: str = "") -> Iterator[Any]:
        """Yield a cursor of a superuser in autocommit."""
        connection = psycopg2.connect(**{**self.cluster.parameters, "dbname": database or self.source})
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def oids(self) -> dict[str, int]:
        """Return the oids of the tables, which contexts name."""
        query = "SELECT relname::text, oid::bigint FROM pg_class WHERE relname = ANY (%s)"
        return dict(self.run(self.source, query, [list(NAMES)]))


def with_oids(lines: Iterable[bytes], old: dict[str, int], found: dict[str, int]) -> list[bytes]:
    """Return records that name the oids of other tables of the same names in their contexts."""
    names = {str(oid).encode(): str(found[name]).encode() for name, oid in old.items()}

    def renamed(content: str) -> str:
        is_hex = re.fullmatch("(?:[0-9a-f]{2})+", content)
        data = bytes.fromhex(content) if is_hex else base64.b64decode(content)
        connection, rest = parted(data)
        new = connection + re.sub(rb"^\d+", lambda found: names.get(found[0], found[0]), rest)
        return new.hex() if is_hex else base64.b64encode(new).decode()

    result = []
    for line in lines:
        record = json.loads(line)
        value = record["value"]
        payload = value.get("payload", value) if value else {}
        if payload and payload.get("op") == "m" and payload["message"]["prefix"] == "_bemi":
            payload["message"]["content"] = renamed(payload["message"]["content"])
        result.append(json.dumps(record).encode())
    return result
