"""Writers of random transactions on three tables, which reconnect whatever happens to the server."""

from __future__ import annotations

import random
import threading
from contextlib import closing, suppress
from typing import Any

import psycopg2

TABLES = """
CREATE TABLE account (id int PRIMARY KEY, owner text, amount numeric NOT NULL);
CREATE TABLE entry (account int, number int, body text, PRIMARY KEY (number, account));
CREATE TABLE note (word text, n int);
"""


class Writer(threading.Thread):
    """Writes until told to stop; ``committed`` counts the transactions whose commit was confirmed."""

    def __init__(self, url: str, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._random = random.Random(seed)
        # Not "_stop": that is a method of Thread.
        self._told_to_stop = stop
        self.committed = 0

    def run(self) -> None:
        while not self._told_to_stop.is_set():
            try:
                with closing(psycopg2.connect(self._url, connect_timeout=5)) as connection:
                    self._write(connection)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                # The server is down or went down: the open transaction may be committed or not.
                self._told_to_stop.wait(0.05)

    def _write(self, connection: Any) -> None:
        while not self._told_to_stop.is_set():
            with suppress(psycopg2.IntegrityError, psycopg2.extensions.TransactionRollbackError):
                with connection, connection.cursor() as cursor:
                    for _ in range(self._random.choice((1, 1, 1, 2, 5))):
                        self._statement(cursor)
                self.committed += 1

    def _statement(self, cursor: Any) -> None:
        key = self._random.randint(1, 40)
        kind = self._random.random()
        if kind < 0.3:
            cursor.execute(
                "INSERT INTO account VALUES (%s, %s, %s) "
                "ON CONFLICT (id) DO UPDATE SET amount = account.amount + 1",
                [key, f"owner {key}", self._random.randint(0, 100)],
            )
        elif kind < 0.45:
            cursor.execute("UPDATE account SET amount = amount * 1.01 WHERE id %% 7 = %s", [key % 7])
        elif kind < 0.55:
            cursor.execute("DELETE FROM account WHERE id = %s", [key])
        elif kind < 0.75:
            count = self._random.choice((1, 3, 200))
            cursor.execute(
                "INSERT INTO entry SELECT %s, i, repeat('x', i %% 50) FROM generate_series(1, %s) i "
                "ON CONFLICT DO NOTHING",
                [key, count],
            )
        elif kind < 0.85:
            cursor.execute("DELETE FROM entry WHERE account = %s", [key])
        elif kind < 0.9:
            cursor.execute("UPDATE entry SET number = -number WHERE account = %s", [key])
        elif kind < 0.97:
            cursor.execute("INSERT INTO note SELECT 'same', i FROM generate_series(1, 3) i")
            cursor.execute("SAVEPOINT s; INSERT INTO note VALUES ('rolled back', 0); ROLLBACK TO SAVEPOINT s")
        elif kind < 0.99:
            cursor.execute("DELETE FROM note WHERE n = %s", [key % 3])
        else:
            cursor.execute("TRUNCATE note")
