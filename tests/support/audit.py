"""A log that a test writes by hand, and users who may see it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from bemi_django.models import Change
from bemi_django.wire.ids import change_id

LIST = "/admin/bemi_django/change/"

_MANY = """
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, transaction_id, position)
SELECT (lpad(to_hex((n >> 12) << 16 | 32768 | (n & 4095)), 16, '0') || '8000000000000000')::uuid,
       current_database(), 'public', (ARRAY['todo', 'todo', 'todo', 'tag'])[1 + mod(n, 4)],
       mod(n, 1000)::text,
       (ARRAY['CREATE', 'UPDATE', 'UPDATE', 'DELETE'])[1 + mod(n, 4)],
       jsonb_build_object('task', 'old ' || n), jsonb_build_object('task', 'new ' || n),
       CASE WHEN mod(n, 100) = 0 THEN '{"db_user": "postgres", "application_name": "psql"}'::jsonb
            ELSE jsonb_build_object('user_id', mod(n, 50), 'endpoint', '/page/' || mod(n, 20),
                                    'request_id', 'r' || n) END,
       now() - (%s - n) * interval '1 minute', now(), n, n * 8
FROM generate_series(1, %s) n
"""


def make_month(moment: datetime) -> None:
    """Create the partition for the month of changes that a test writes by hand."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1(%s)", [moment])


def move(change: Change, moment: datetime) -> None:
    """Let a change have been committed at another moment, which may be in another month."""
    make_month(moment)
    Change.objects.filter(pk=change.pk).update(committed_at=moment)
    change.committed_at = moment


def record(number: int, **fields: Any) -> Change:
    """Create a change: the first of its transaction, committed at the position ``number * 8``."""
    now = timezone.now()
    given = {
        "database": connection.settings_dict["NAME"],
        "schema": "public",
        "table": "todo",
        "primary_key": "1",
        "operation": "UPDATE",
        "before": {"id": 1, "task": "Sleep"},
        "after": {"id": 1, "task": "Wake up"},
        "context": {"user_id": 7, "endpoint": "/todos/", "method": "POST", "request_id": f"r{number}"},
        "committed_at": now + timedelta(milliseconds=number),
        "queued_at": now,
        "created_at": now + timedelta(milliseconds=number + 5),
        "transaction_id": number,
        "position": number * 8,
    }
    ordinal = fields.pop("ordinal", 0)
    given |= fields
    make_month(given["committed_at"])
    return Change.objects.create(id=UUID(bytes=change_id(given["position"], ordinal, 1)), **given)


def record_many(count: int) -> None:
    """Create a change per minute up to now, by 50 users on 20 pages, every hundredth from outside."""
    first = timezone.now() - timedelta(minutes=count)
    for month in range((timezone.now() - first).days // 28 + 1):
        make_month(first + timedelta(days=28 * month))
    with connection.cursor() as cursor:
        cursor.execute(_MANY, [count, count])
        cursor.execute("ANALYZE changes")


def visitor(*permissions: str, name: str = "ann") -> Client:
    """Return a client logged in as staff with permissions like ``bemi_django.view_change``."""
    user = get_user_model().objects.create_user(name, password="x", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        model = codename.rpartition("_")[2]
        kind, _ = ContentType.objects.get_or_create(app_label=app, model=model)
        user.user_permissions.add(
            Permission.objects.get_or_create(
                content_type=kind, codename=codename, defaults={"name": codename}
            )[0]
        )
    client = Client()
    client.force_login(user)
    return client


def as_rows(query: str = "") -> str:
    """Return the query string of the list of rows."""
    return f"{query}&view=rows" if query else "?view=rows"


def listed(client: Client, query: str = "") -> list[int]:
    """Return the numbers of the changes on a page of the list of rows."""
    response = client.get(f"{LIST}{as_rows(query)}")
    assert response.status_code == 200
    return [row.change.position // 8 for row in response.context["rows"]]


def take_log_away(settings: Any, monkeypatch: Any) -> None:
    """Let the log be in a database of its own whose server cannot be reached."""
    monkeypatch.setitem(connections.settings, "away", {**connection.settings_dict, "PORT": "1"})
    away: Any = connections["away"]

    def connect() -> None:
        with away.wrap_database_errors:
            away.connect()

    # Tests may not use databases that their marks do not name.
    monkeypatch.setattr(away, "ensure_connection", connect)
    settings.BEMI_DESTINATION = "away"
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
