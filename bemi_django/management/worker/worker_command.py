"""``bemi run``: the worker and the handlers, in the foreground."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import DatabaseError, connections

from bemi_django import conf, destinations
from bemi_django.events.operator_context import operator_context, record_sync
from bemi_django.exceptions import first_line
from bemi_django.handlers import MODULE
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.ingest.error_advice import told
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.management.output.log_output import log_to
from bemi_django.management.worker.baseline_beside import recording_baseline
from bemi_django.management.worker.configured_worker import config_of_sink
from bemi_django.management.worker.stop_signals import stopped_by_signals
from bemi_django.metrics.answers import Answers
from bemi_django.metrics.instruments import observe
from bemi_django.metrics.server import serving
from bemi_django.retention import configured as retention
from bemi_django.retention.nightly import pruning_nightly
from bemi_django.schema import tracking
from bemi_django.schema.database_names import about
from bemi_django.seals.anchoring import anchoring
from bemi_django.sinks.addresses import ExportAddress
from bemi_django.sinks.configured import sink_address
from bemi_django.wire.queue_address import QueueAddress

logger = logging.getLogger(__name__)

_NO_HANDLERS = f"there are no handlers: add a function with @on_change to {MODULE}.py of an installed app"
_REMEMBERS_NOTHING = (
    "the standard output keeps no position: after a crash transactions come again, after a line with 'begin'"
)
_NO_BASELINE = (
    "--baseline records rows while the worker goes on: leave --handlers and --until-current out, or run "
    "'manage.py bemi baseline'"
)
_NOT_SHARED = "each database needs a sink of its own: run 'bemi run --database ALIAS --to ...' for each"


def run(command: BaseCommand, databases: Sequence[str], options: dict[str, Any]) -> None:
    """Write changes and call handlers until a signal comes or, with ``--until-current``, all is done.

    Args:
        command: The command, for its output.
        databases: Aliases of the sources; each has a worker of its own.
        options: The options of the command line.

    Raises:
        CommandError: If only handlers are to be called and there are none.
        BemiError: If an error occurs that an administrator has to resolve. It ends all workers.
    """
    names = databases if len(databases) > 1 else ()
    address = None if options["handlers"] else sink_address(options["to"])
    is_export = isinstance(address, ExportAddress)
    _require_consumers(address, options)
    output = command.stdout
    if isinstance(address, ExportAddress):
        if names and not address.is_shared:
            raise CommandError(_NOT_SHARED)
        # What changes do not go into has no handlers, and none of its months is pruned.
        options = {**options, "no_handlers": True}
        output = command.stderr if address.kind == "stdout" else output
    with (
        log_to(output, options["log_format"], names),
        _measured(Answers(databases), options["metrics"]),
    ):
        if isinstance(address, ExportAddress) and address.kind == "stdout":
            logger.info(_REMEMBERS_NOTHING)
        works = [_DatabaseWork(output, database, options) for database in databases]
        with (
            stopped_by_signals(*(work.stop for work in works)),
            nullcontext() if is_export else _pruned(options),
            anchoring(
                is_to_end=options["until_current"], is_writing=not options["handlers"] and not is_export
            ),
            ThreadPoolExecutor(len(works)) as threads,
        ):
            running = {threads.submit(work.run): work for work in works}
            for done in as_completed(running):
                if done.exception() is not None:
                    for work in works:
                        work.stop()
        for done, work in running.items():
            for line in _lines_of(done, work.database if names else ""):
                output.write(line)


def _require_consumers(address: object, options: dict[str, Any]) -> None:
    """Check that consumers divide what is published, where there are several destinations."""
    if options["handlers"]:
        destinations.require_choice("whose changes to handle")
    elif address is None:
        destinations.require_one("publish with 'bemi run --to nats://...', and let 'bemi consume' divide")
    elif destinations.current() != destinations.first():
        raise CommandError("'bemi run --to' goes on where BEMI_DESTINATION is: leave --destination out")
    if options["baseline"] and (options["handlers"] or options["until_current"]):
        raise CommandError(_NO_BASELINE)
    if address is not None and len(destinations.aliases()) > 1 and not options["no_handlers"]:
        logger.info(
            "handlers get what is in %s; see 'bemi run --handlers --destination'", destinations.first()
        )


@contextmanager
def _pruned(options: dict[str, Any]) -> Iterator[None]:
    """Prune the log at ``BEMI_PRUNE_AT``, if the process writes it and is to run until it is stopped."""
    if not retention.prune_at() or options["handlers"] or options["until_current"]:
        yield
        return
    with pruning_nightly(operator_context("bemi run", {}, conf.destination(), "BEMI_PRUNE_AT")):
        yield


def _lines_of(done: Future[list[str]], database: str) -> list[str]:
    """Return what a worker has done; the database is named if there are others."""
    try:
        lines = done.result()
    except Exception as error:
        if not database:
            raise
        raise CommandError(f"{database}: {about(database, told(error))}") from error
    return [f"{database}: {line}" if database else line for line in lines]


class _DatabaseWork:
    """What the process does for one database: write its log, call the handlers of its changes, or both."""

    def __init__(self, output: OutputWrapper, database: str, options: dict[str, Any]) -> None:
        self.database = database
        self._dispatcher = Dispatcher(database, [] if options["no_handlers"] else None)
        self._is_to_end, self._has_baseline = options["until_current"], options["baseline"]
        self._copied_to: ExportAddress | QueueAddress | None = None
        self._supervisor: Supervisor | None = None
        if options["handlers"]:
            if not self._dispatcher.has_handlers:
                raise CommandError(_NO_HANDLERS)
            return
        accept_gap = options["accept_gap"] or conf.accept_gap()
        publish = partial(_publish, output, database, options["reason"])
        operator = partial(operator_context, "bemi run", {"accept_gap": True}, database, options["reason"])
        address = sink_address(options["to"])
        # A log alone is asked which rows it has.
        is_for_several = isinstance(address, ExportAddress) or len(destinations.aliases()) > 1
        self._copied_to = address if is_for_several else None
        config = config_of_sink(database, options["to"])._replace(
            accept_gap=accept_gap, operator=operator, publish=publish
        )
        self._supervisor = Supervisor(config)

    def stop(self) -> None:
        """Finish what is in progress and return from :meth:`run`."""
        if self._supervisor is not None:
            self._supervisor.stop()
        self._dispatcher.stop()

    def run(self) -> list[str]:
        """Work until :meth:`stop` is called or all is done, and return lines that say what was done.

        It runs in a thread, so that a signal is handled while it waits for a server.
        """
        threading.current_thread().name = self.database
        try:
            return list(self._done())
        finally:
            # Those of the thread.
            connections.close_all()

    def _done(self) -> Iterator[str]:
        dispatcher, supervisor = self._dispatcher, self._supervisor
        if supervisor is not None:
            is_beside = dispatcher.has_handlers and not self._is_to_end
            with (
                dispatcher.meanwhile(supervisor.stop) if is_beside else nullcontext(),
                recording_baseline(self.database, self._copied_to) if self._has_baseline else nullcontext(),
            ):
                supervisor.run(until_current=self._is_to_end)
            yield supervisor.summary
        if dispatcher.has_handlers:
            if supervisor is None or self._is_to_end:
                dispatcher.run_apart(until_current=self._is_to_end)
            yield f"{dispatcher.handled} changes handled"


@contextmanager
def _measured(answers: Answers, address: tuple[str, int] | None) -> Iterator[None]:
    """Serve metrics where it is asked for, and give them to OpenTelemetry where that is installed."""
    if find_spec("opentelemetry") is not None:
        observe(answers)
    if address is None:
        yield
        return
    if find_spec("prometheus_client") is None:
        raise CommandError("--metrics needs prometheus-client: install bemi-django-wal[metrics]")
    try:
        listening = serving(answers, *address)
    except OSError as error:
        reason = f"{error.strerror or error}; give another address to --metrics"
        raise CommandError("cannot listen on {}:{}: {}".format(*address, reason)) from None
    with listening as port:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        logger.info("serving metrics at http://%s:%d/metrics", host, port)
        yield


def _publish(output: OutputWrapper, database: str, reason: str | None) -> None:
    try:
        outcome = tracking.sync(database, report=output.write)
        record_sync(outcome.done, "bemi run", database, reason)
        if outcome.failed:
            raise CommandError("\n".join(["not done:", *outcome.failed]))
    except DatabaseError as error:
        remedy = "run 'manage.py bemi sync' as the owner of the tables"
        raise CommandError(f"cannot create the publication: {first_line(error)}; {remedy}") from error
    finally:
        # It belongs to the worker's thread.
        connections[database].close()
