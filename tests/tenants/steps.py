"""Steps of the scenario."""

from __future__ import annotations

import io
from typing import Any

from django.core.management import call_command
from django.db import connection

NAMES = ("public", "red", "blue")


def create_tenant(name: str) -> None:
    from django.contrib.auth import get_user_model
    from django_tenants.utils import schema_context

    from tests.tenants.customers.models import Customer, Domain

    customer = Customer(schema_name=name, name=name)
    customer.save(verbosity=0)
    Domain.objects.create(domain=f"{name}.example.com", tenant=customer)
    with schema_context(name):
        get_user_model().objects.create_superuser(f"head of {name}", password="secret")


def output(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def run() -> None:
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    output("run", "--until-current")


def ask(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [value for (value,) in cursor.fetchall()]
