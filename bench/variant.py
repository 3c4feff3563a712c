"""One variant in a process of its own: reads orders from standard input, answers with what they took.

An order is ``[workload, synchronous_commit]``, the answer ``[seconds, bytes of WAL, seconds of processors]``.
Each is a line of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import psycopg2
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.test import RequestFactory
from django.utils.module_loading import import_string

SINGLE = 200
MANY = 5_000
FLUSHED = 1_000
REQUESTS = 25
_FILL = """
SET session_replication_role = replica;
TRUNCATE shop_item RESTART IDENTITY CASCADE;
INSERT INTO shop_item (owner_id, title, body, is_done, price, created_at)
SELECT i % 1000, 'Item number ' || i, repeat('some words ', 8), false, i / 100.0, '2026-01-01 10:00+00'
FROM generate_series(1, 5000) i;
SET session_replication_role = origin;
"""


def fill() -> None:
    """The same rows as before each run, which nobody records."""
    with connection.cursor() as cursor:
        for table in set(connection.introspection.table_names(cursor)) & _RECORDS:
            cursor.execute(f"TRUNCATE {table} CASCADE")
        cursor.execute(_FILL)


_SERVING = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
"""
_BACKEND = "django.contrib.auth.backends.ModelBackend"
Answer = tuple[float, float, float]
_RECORDS = {"shop_itemevent", "pghistory_context", "auditlog_logentry", "shop_historicalitem"}


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
    post(port, f"/commit/{_Engine.synchronous_commit}/", headers)
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
    """The headers of a browser with a session."""
    from django.contrib.sessions.backends.db import SessionStore

    session, user, token = SessionStore(), _user(), "0" * 32
    session.update(
        {SESSION_KEY: user.pk, BACKEND_SESSION_KEY: _BACKEND, HASH_SESSION_KEY: user.get_session_auth_hash()}
    )
    session.create()
    return f"Cookie: sessionid={session.session_key}; csrftoken={token}\r\nX-CSRFToken: {token}\r\n"


@cache
def _user() -> Any:
    from django.contrib.auth.models import User

    return User.objects.create_user("somebody")


@cache
def _serve() -> int:
    """The port of a server in a thread of this process, which answers one request after the other."""
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=_Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Workload(NamedTuple):
    """What makes so many changes; the smaller the difference that is looked for, the more ``rounds``.

    The first of many changes is made before: after fill() the server has to learn the table anew.
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


def measured(run: Callable[[], object]) -> Answer:
    gc.collect()
    wal, cpu, began = _wal(), _cpu(), time.perf_counter()
    run()
    ended = time.perf_counter()
    return ended - began, _wal() - wal, _cpu() - cpu


def answer(workload: str, synchronous_commit: str) -> Answer:
    fill()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('synchronous_commit', %s, false)", [synchronous_commit])
    _Engine.synchronous_commit = synchronous_commit
    run = WORKLOADS[workload].prepare()
    if workload.startswith("request") or not settings.RECORDER:
        return measured(run)
    # As in a request: so has every package the context that it takes from there.
    found: list[Answer] = []
    middleware = import_string(settings.RECORDER)(lambda request: found.append(measured(run)) or _response())
    request = RequestFactory().post("/items/")
    request.user = _user()
    middleware(request)
    return found[0]


def _response() -> Any:
    from django.http import HttpResponse

    return HttpResponse("")


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


class _Engine:
    engine: Any = None
    mapped: Any = None
    synchronous_commit = "on"


def _engine() -> Any:
    from sqlalchemy import create_engine, event

    if _Engine.engine is None:
        _Engine.engine = create_engine(
            "postgresql+psycopg2://", creator=lambda: psycopg2.connect(**json.loads(_database()))
        )
        if settings.VARIANT == "ours":
            from bemi_django.capture.hooks.sqlalchemy_engine import install

            install(_Engine.engine)

        @event.listens_for(_Engine.engine, "begin")
        def set_commit(opened: Any) -> None:
            opened.exec_driver_sql(f"SET LOCAL synchronous_commit = {_Engine.synchronous_commit}")

    return _Engine.engine


def _mapped() -> Any:
    from sqlalchemy import Table
    from sqlalchemy.orm import DeclarativeBase

    if _Engine.mapped is None:

        class Base(DeclarativeBase):
            pass

        class Mapped(Base):
            __table__ = Table("shop_item", Base.metadata, autoload_with=_engine())

        _Engine.mapped = Mapped
    return _Engine.mapped


def _database() -> str:
    return os.environ["BENCH_DATABASE"]


def _wal() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
        return float(cursor.fetchone()[0])


def _cpu() -> float:
    """Of the threads of this process and of those that serve it: what a busy machine does not change much."""
    with connection.cursor() as cursor:
        cursor.execute(_SERVING)
        processes = [os.getpid(), *(pid for (pid,) in cursor.fetchall())]
    threads = [thread for pid in processes for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def prepare() -> None:
    """Tables, and whatever the variant puts on them."""
    # First what the shop's tables refer to.
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    if settings.VARIANT == "django-pghistory":
        call_command("pgtrigger", "install", verbosity=0)
    # bemi-django leaves it to its user, for whom there is no row before without it.
    if settings.VARIANT in ("REPLICA IDENTITY FULL", "bemi-django"):
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE shop_item REPLICA IDENTITY FULL")
    connection.close()


def main() -> None:
    django.setup()
    # Nothing but answers may go to standard output.
    out, sys.stdout = sys.stdout, sys.stderr
    prepare()
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        out.write(json.dumps(answer(*json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
