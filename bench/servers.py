"""PostgreSQL servers for one run, configured as for production."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from sample_project.postgres_server import Server, postgres_server

#: No checkpoint and no autovacuum in the middle of one run and not of another.
SETTINGS = {
    "fsync": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "track_io_timing": "off",
}


@contextmanager
def server(**settings: str) -> Iterator[Server]:
    with postgres_server(settings={**SETTINGS, **settings}) as started:
        yield started


def connect(server: Server, database: str = "") -> Any:
    """Return a connection in autocommit."""
    connection = psycopg2.connect(**parameters(server, database))
    connection.autocommit = True
    return connection


def parameters(server: Server, database: str = "") -> dict[str, Any]:
    """Return libpq's parameters."""
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "dbname": database or server.dbname,
    }


def execute(connection: Any, statement: str, values: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


def one(connection: Any, statement: str, values: Any = None) -> Any:
    return execute(connection, statement, values)[0][0]


def create_database(server: Server, name: str) -> None:
    with closing(connect(server)) as connection:
        execute(connection, f"DROP DATABASE IF EXISTS {name}")
        execute(connection, f"CREATE DATABASE {name}")


def describe(server: Server) -> str:
    with closing(connect(server)) as connection:
        version = one(connection, "SHOW server_version")
    return f"PostgreSQL {version.split()[0]}, synchronous_commit and fsync on unless stated otherwise"


def processor_time(process: int) -> float:
    """Return the milliseconds that a process has run, by Linux's scheduler or, elsewhere, its clock ticks."""
    schedule = Path(f"/proc/{process}/schedstat")
    if schedule.exists():
        return int(schedule.read_text().split()[0]) / 1e6
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * 1000 / os.sysconf("SC_CLK_TCK")
