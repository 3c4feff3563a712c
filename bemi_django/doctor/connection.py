"""The way to the server: poolers, and the right to replicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections

from bemi_django.doctor.finding import Finding
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.probe import probe
from bemi_django.status.worker_status import RUNNING, read_worker


def findings(source: str, config: WorkerConfig) -> Iterator[Finding]:
    """Yield what is in the way of the worker, unless it is running.

    Args:
        source: Alias of the source.
        config: The configuration of its worker.
    """
    if has_pooler(source):
        yield Finding(
            "bemi.D005",
            f"A pooler is between {source!r} and its server: it passes no stream of changes on.",
            "Give the worker the address of the server itself; the application may use the pooler.",
        )
    if read_worker(source).state == RUNNING:
        return
    found = probe(config)
    if found.refusal is not None:
        yield Finding(
            "bemi.D004",
            f"With these settings, the worker cannot open a replication connection: {found.refusal}.",
            "Run the worker as a role with the rights that manage.py bemi grants prints.",
            stops=True,
        )
    elif not found.has_timeout:
        yield Finding(
            "bemi.D016",
            "The server does not take the wal_sender_timeout of the worker's connection: it may end it "
            "early, or keep the slot of a vanished worker in use.",
            "Run ALTER SYSTEM SET wal_sender_timeout = '60s', then SELECT pg_reload_conf().",
        )


def has_pooler(alias: str) -> bool:
    """Return whether the process of the server is another one than the connection was told."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_backend_pid()")
        (process,) = cursor.fetchone()
    driver: Any = connection.connection
    return bool(driver.info.backend_pid != process)
