"""A Django project whose source and log are servers that take turns at being the primary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models
from django.test import override_settings
from django.test.utils import isolate_apps

from bemi_django import on_change
from bemi_django.handlers import registry
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.schema import sql, tracking
from bemi_django.time_travel import as_of
from bemi_django.verification.verify import PATIENCE_SECONDS, Options, verify
from tests.support.cluster import Cluster
from tests.support.load_pipeline import LoadPipeline
from tests.support.project_database import execute, moved
from tests.support.roles import OWNER, PASSWORD

#: What a :func:`~tests.support.load_pipeline.load_cluster` does not have.
_PARTS = ("handlers_v1", "verifications_v1", "retention_v1", "erasure_v1", *sql.PAST)
_QUICK = Rhythm(first_pause=0.05, longest_pause=0.1, look=0.01, note=0.0, grace=0.3)
_ROWS = "SELECT id, n FROM load ORDER BY id"


@contextmanager
def switched_project(trail: LoadPipeline, *servers: Cluster) -> Iterator[SwitchedProject]:
    """Let Django's default connection find the primary among the servers until the block ends."""
    options = {**connections.settings["default"]["OPTIONS"], "target_session_attrs": "read-write"}
    with (
        moved(
            HOST=",".join("127.0.0.1" for _ in servers),
            PORT=",".join(str(server.parameters["port"]) for server in servers),
            OPTIONS=options,
            NAME="postgres",
            USER=OWNER,
            PASSWORD=PASSWORD,
        ),
        override_settings(BEMI_SLOT=trail.slot, BEMI_INCLUDE=["public.load"]),
        isolate_apps("tests.shop"),
    ):
        yield SwitchedProject(trail)


class SwitchedProject:
    """What a project sees of its log: the past, blame, what a handler hears, and what ``verify`` finds."""

    def __init__(self, trail: LoadPipeline) -> None:
        self._trail = trail
        execute(sql.up(*_PARTS))
        tracking.sync()
        self._model = load_model()
        self._heard: list[int] = []
        self._noted: list[tuple[Any, list[Any]]] = []

    def note(self) -> None:
        """Keep the rows as they are now, and let the handler hear what the log has."""
        ((lsn, now),) = execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()")
        rows = execute(_ROWS)
        self._noted += [(lsn, rows), (now, rows)]
        self.listen()

    def check(self, switch: int) -> None:
        """Assert that everything is as it would be on one server.

        Args:
            switch: The number of the last row that the former primary has written.
        """
        self.listen()
        assert self._heard == self._trail.logged()
        changes = {change.after["n"]: change for change in Change.objects.filter(table="load")}
        for moment, rows in self._noted:
            with as_of(moment):
                assert execute(_ROWS) == rows
        for n in (switch - 20, switch, switch + 1):
            with as_of(changes[n]):
                assert execute("SELECT max(n) FROM load") == [(n,)]
        row = self._model._default_manager.latest("n")
        found = blame(row)["n"]
        assert (found.value, found.change) == (row.n, changes[row.n])
        assert self.verify() == f"public.load: {len(execute(_ROWS))} rows, as in the log"

    def verify(self, patience: float = PATIENCE_SECONDS) -> str:
        """Return what ``bemi verify`` says of the table."""
        owner = {"user": OWNER, "password": PASSWORD}
        source, log = ({**address, **owner} for address in self._trail.config[:2])
        config = self._trail.config._replace(source=source, destination=log)
        (result,) = verify(config, Options(only=["public.load"], patience=patience))
        return str(result)

    def listen(self) -> list[int]:
        """Let the handler hear what the log has, and return all that it has heard."""

        @on_change(self._model, name="listener", since="beginning")
        def listener(change: Change) -> None:
            self._heard.append(change.after["n"])

        handler = registry.registered.pop("listener")
        Dispatcher("default", [handler], rhythm=_QUICK).run(until_current=True)
        return self._heard


def load_model() -> Any:
    """Return a model of the table ``load``; in isolated apps, it is known nowhere else."""

    class Load(models.Model):
        n = models.IntegerField()

        class Meta:
            app_label = "shop"
            db_table = "load"

        def __str__(self) -> str:
            return str(self.n)

    return Load
