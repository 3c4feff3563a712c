"""The WAL that all consumers read, and slots that read it again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from bemi_django.schema import sql
from bench.servers import connect, execute, one
from sample_project.postgres_server import Server

TABLE = """
CREATE TABLE item (
    id bigint PRIMARY KEY,
    owner_id integer NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    is_done boolean NOT NULL,
    price numeric(10, 2) NOT NULL,
    created_at timestamptz NOT NULL,
    due date
)
"""
_LOAD = """
ALTER TABLE item REPLICA IDENTITY FULL;
CREATE PUBLICATION bemi FOR TABLE item;
-- The messages that the trigger writes for a request that inserts one row and updates another.
CREATE PROCEDURE transactions(total int) LANGUAGE plpgsql AS $$
DECLARE
    request text;
    -- As the trigger names it.
    named text := 'item'::regclass::oid;
BEGIN
    FOR i IN 1..total LOOP
        request := '{"user_id": ' || i % 1000 || ', "method": "POST", "path": "/items/' || i
            || '/", "request_id": "' || md5(i::text) || '", "SQL": ';
        PERFORM pg_logical_emit_message(true, '_bemi', named || request
            || '"INSERT INTO item (id, owner_id, title, body, is_done, price, created_at, due) '
            || 'VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"}');
        INSERT INTO item VALUES (i, i % 1000, 'Item number ' || i, repeat('some words ', 8), false, i / 100.0,
            '2026-01-01 10:00+00'::timestamptz + i * interval '1 second', '2026-06-30');
        PERFORM pg_logical_emit_message(true, '_bemi', named || request
            || '"UPDATE item SET is_done = %s, price = %s WHERE item.id = %s"}');
        UPDATE item SET is_done = true, price = price + 1 WHERE id = i / 2 + 1;
        COMMIT;
    END LOOP;
END $$;
"""
_BULK = """
SELECT pg_logical_emit_message(true, '_bemi',
    'item'::regclass::oid::text || '{"command": "import", "SQL": "INSERT INTO item SELECT ..."}');
INSERT INTO item SELECT i, i %% 1000, 'Item number ' || i, repeat('some words ', 8), false, i / 100.0,
    '2026-01-01 10:00+00'::timestamptz + i * interval '1 second', '2026-06-30'
FROM generate_series(10000001, 10000000 + %s) i;
"""
_IS_READ = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
END = b"_bench_end"


class Stream:
    """A source database with a load in its WAL: this number of ``changes``, up to the position ``end``."""

    def __init__(self, server: Server, database: str, transactions: int, bulk: int) -> None:
        self.server = server
        self.database = database
        self.changes = 2 * transactions + bulk
        #: The changes and the messages between them.
        self.events = self.changes + 2 * transactions + bool(bulk) + 1
        # Slots belong to a server, not to a database.
        self._names = (f"{database}_{number}" for number in itertools.count())
        self._origin = f"{database}_origin"
        with closing(self.connect()) as connection:
            execute(connection, sql.up(*sql.SOURCE))
            execute(connection, TABLE)
            execute(connection, _LOAD)
            execute(connection, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [self._origin])
            self.begin = one(connection, "SELECT pg_current_wal_lsn() - '0/0'")
            execute(connection, "SET synchronous_commit = off")
            execute(connection, "CALL transactions(%s)", [transactions])
            if bulk:
                execute(connection, _BULK, [bulk])
            execute(connection, "SET synchronous_commit = on")
            execute(connection, "SELECT pg_logical_emit_message(true, %s, '')", [END.decode()])
            self.end = one(connection, "SELECT pg_current_wal_lsn()")
            self.bytes = one(connection, "SELECT %s::pg_lsn - '0/0'", [self.end]) - self.begin
            execute(connection, "CHECKPOINT")

    def connect(self) -> Any:
        return connect(self.server, self.database)

    @contextmanager
    def slot(self) -> Iterator[str]:
        """Yield a slot at the start of the load."""
        name = next(self._names)
        with closing(self.connect()) as connection:
            execute(connection, "SELECT pg_copy_logical_replication_slot(%s, %s)", [self._origin, name])
            yield name
            # The server notices a moment later that nobody reads the slot.
            while one(connection, _IS_READ, [name]):
                time.sleep(0.02)
            execute(connection, "SELECT pg_drop_replication_slot(%s)", [name])
