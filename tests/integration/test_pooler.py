"""Behind a pooler that gives each transaction another connection: the log, the application, handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction

from bemi_django import bound_context, conf, on_change
from bemi_django.handlers import registry as handlers
from bemi_django.handlers.dispatch import Dispatcher
from tests.shop.models import Category
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import Drain
from tests.support.polling import until
from tests.support.pooler import Pooler


def test_the_worker_writes_the_log_through_a_pooler(trail: LoadPipeline) -> None:
    with closing(Pooler(trail.log.parameters)) as pooler:
        trail.config.destination.update(host=pooler.host, port=pooler.port)
        with trail.worker(), trail.load():
            until(lambda: len(trail.logged()) > 50)
            # The pooler makes new ones; the worker loses the transaction it was in.
            trail.log.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            before = trail.logged()[-1]
            until(lambda: trail.logged()[-1] > before)
        trail.run()
        trail.check()


Pooled = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def pooled(drain: Drain, settings: Any) -> Iterator[Pooled]:
    """Blocks in which Django's connections go through a pooler; the worker's stream cannot."""
    settings.BEMI_SLOT = "bemi_test"
    with closing(Pooler(conf.connection_parameters("default"))) as pooler:

        @contextmanager
        def block() -> Iterator[None]:
            direct = dict(connection.settings_dict)
            connection.close()
            connection.settings_dict.update(HOST=pooler.host, PORT=str(pooler.port))
            try:
                yield
            finally:
                connection.close()
                connection.settings_dict.update(direct)

        yield block


def test_contexts_do_not_mix_in_a_pooler(pooled: Pooled, drain: Drain) -> None:
    def write(user: int) -> None:
        try:
            for number in range(20):
                with bound_context(user_id=user), transaction.atomic():
                    Category.objects.create(name=f"{user} {number}")
                Category.objects.filter(name=f"{user} {number}").update(name=f"{user} {number}!")
        finally:
            connections.close_all()

    with pooled(), ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    changes = drain()
    assert len(changes) == 160
    for change in changes:
        user = int(change.after["name"].split()[0]) if change.operation == "CREATE" else None
        assert change.context.get("user_id") == user


def test_handlers_are_called_once_through_a_pooler(
    pooled: Pooled, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "registered", {})
    heard: list[str] = []

    @on_change(Category, name="listener")
    def listen(change: Any) -> None:
        heard.append(change.after["name"])

    with pooled():
        Dispatcher("default").run(until_current=True)
    names = [str(number) for number in range(300)]
    Category.objects.bulk_create([Category(name=name) for name in names])
    drain()
    with pooled(), ThreadPoolExecutor(3) as pool:
        done = [pool.submit(Dispatcher("default").run, until_current=True) for _ in range(3)]
    assert sum(run.result() for run in done) == 300
    assert heard == names
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.handlers")
