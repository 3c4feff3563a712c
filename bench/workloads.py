"""The workloads of the comparison: each prepares its rows and returns what is measured."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from functools import cache, partial
from threading import Thread
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

import psycopg2
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.wsgi import get_wsgi_application
from django.db import transaction

SINGLE = 200
MANY = 5_000
FLUSHED = 1_000
REQUESTS = 25
_BACKEND = "django.contrib.auth.backends.ModelBackend"


def save_in_transaction() -> Callable[[], object]:
    first, *items = _items().all()[: SINGLE + 1]
    first.save()

    def run() -> None:
        for item in items:
            with transaction.atomic():
                item.is_done = True
                item.save()

    return run


def save_in_autocommit() -> Callable[[], object]:
    first, *items = _items().all()[: SINGLE + 1]
    first.save()

    def run() -> None:
        for item in items:
            item.is_done = True
            item.save(force_update=True)

    return run


def bulk_create() -> Callable[[], object]:
    items = _new(MANY)
    return lambda: _items().bulk_create(items)


def update() -> Callable[[], object]:
    return lambda: _items().update(is_done=True)


def delete() -> Callable[[], object]:
    return lambda: _items().all().delete()


def flush() -> Callable[[], object]:
    from sqlalchemy.orm import Session

    session = Session(_engine())
    session.add_all([_mapped()(**_values(number)) for number in range(FLUSHED)])

    def run() -> None:
        session.commit()
        session.close()

    return run


def requests() -> Callable[[], object]:
    port, headers = _serve(), _logged_in()
    post(port, f"/commit/{Engine.synchronous_commit}/", headers)
    post(port, "/items/", headers)

    def run() -> None:
        for _ in range(REQUESTS):
            post(port, "/items/", headers)

    return run


def post(port: int, path: str, headers: str) -> None:
    request = (
        f"POST {path} HTTP/1.1\r\nHost: testserver\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as opened:
        opened.sendall(request.encode())
        answer = b"".join(iter(partial(opened.recv, 65536), b""))
    if b" 200 " not in answer[:20]:
        raise RuntimeError(answer.decode())


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@cache
def _logged_in() -> str:
    """Return the headers of a browser with a session."""
    from django.contrib.sessions.backends.db import SessionStore

    session, somebody, token = SessionStore(), user(), "0" * 32
    session.update(
        {
            SESSION_KEY: somebody.pk,
            BACKEND_SESSION_KEY: _BACKEND,
            HASH_SESSION_KEY: somebody.get_session_auth_hash(),
        }
    )
    session.create()
    return f"Cookie: sessionid={session.session_key}; csrftoken={token}\r\nX-CSRFToken: {token}\r\n"


@cache
def user() -> Any:
    from django.contrib.auth.models import User

    return User.objects.create_user("somebody")


@cache
def _serve() -> int:
    """Start a server in a thread of this process, which answers requests one by one; return its port."""
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Workload(NamedTuple):
    """``prepare`` returns what makes this number of changes; small differences need more ``rounds``.

    A first change is made by ``prepare``: after fill() the server has to read its catalogs again.
    """

    prepare: Callable[[], Callable[[], object]]
    changes: int
    rounds: int = 7


WORKLOADS = {
    "save in a transaction": Workload(save_in_transaction, SINGLE, 9),
    "save in autocommit": Workload(save_in_autocommit, SINGLE, 9),
    "bulk_create of 5,000": Workload(bulk_create, MANY),
    "update of 5,000": Workload(update, MANY),
    "delete of 5,000": Workload(delete, MANY),
    "SQLAlchemy flush of 1,000": Workload(flush, FLUSHED),
    "request with 3 writes": Workload(requests, 3 * REQUESTS, 21),
}


def _items() -> Any:
    from bench.shop.models import Item

    return Item.objects


def _values(number: int) -> dict[str, Any]:
    from datetime import datetime, timezone
    from decimal import Decimal

    return {
        "owner_id": number % 1000,
        "title": f"Item number {number}",
        "body": "some words " * 8,
        "is_done": False,
        "price": Decimal(number) / 100,
        "created_at": datetime(2026, 1, 1, tzinfo=timezone.utc),
    }


def _new(count: int) -> list[Any]:
    from bench.shop.models import Item

    return [Item(**_values(number)) for number in range(count)]


class Engine:
    """The engine and the mapped class of this process, made when they are first needed."""

    engine: Any = None
    mapped: Any = None
    synchronous_commit = "on"


def _engine() -> Any:
    from sqlalchemy import create_engine, event

    if Engine.engine is None:
        Engine.engine = create_engine(
            "postgresql+psycopg2://",
            creator=lambda: psycopg2.connect(**json.loads(os.environ["BENCH_DATABASE"])),
        )
        if settings.VARIANT == "ours":
            from bemi_django.capture.hooks.sqlalchemy_engine import install

            install(Engine.engine)

        @event.listens_for(Engine.engine, "begin")
        def set_commit(opened: Any) -> None:
            opened.exec_driver_sql(f"SET LOCAL synchronous_commit = {Engine.synchronous_commit}")

    return Engine.engine


def _mapped() -> Any:
    from sqlalchemy import Table
    from sqlalchemy.orm import DeclarativeBase

    if Engine.mapped is None:

        class Base(DeclarativeBase):
            pass

        class Mapped(Base):
            __table__ = Table("shop_item", Base.metadata, autoload_with=_engine())

        Engine.mapped = Mapped
    return Engine.mapped
