"""What happens in a project with tenants, in a process of its own: print it as JSON.

    python -m tests.tenants.scenario

The environment names an empty database (``DATABASE_URL``), a name for the slot (``SLOT``) and the settings.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

from tests.tenants.documented import page
from tests.tenants.sites import pages
from tests.tenants.steps import NAMES, ask, create_tenant, output, run

_LOGS = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'changes'"
_OURS = "SELECT count(*) FROM pg_proc WHERE pronamespace = '_bemi'::regnamespace"


def main() -> None:
    django.setup()
    call_command("migrate_schemas", verbosity=0)
    call_command("bemi", "run", "--until-current", stdout=io.StringIO(), stderr=io.StringIO())
    for name in NAMES:
        create_tenant(name)
    json.dump(
        {
            "tracked": tracked(),
            "sync": output("sync"),
            "written": written(),
            "past": past(),
            "undone": undone(),
            "pages": pages(),
            "page": page(),
            "hidden": hidden(),
            "zero": zero(),
            "dropped": dropped(),
            "uninstalled": uninstalled(),
        },
        sys.stdout,
    )


def tracked() -> dict[str, Any]:
    """Which tables are, and what the checks say, when no setting names a schema."""
    from django.core import checks

    from bemi_django.schema import coverage

    found = coverage.read_coverage("default")
    return {
        "yes": sorted(table.name for table in found if table.is_tracked),
        "no": sorted(table.name for table in found if not table.is_tracked),
        "logs": ask(_LOGS),
        "warnings": [
            str(message.id)
            for message in checks.run_checks(databases=["default"])
            if str(message.id).startswith("bemi.")
        ],
    }


def written() -> dict[str, Any]:
    """What the log, and the handler, have of a note in each of two tenants with the same key."""
    from django_tenants.utils import schema_context

    from bemi_django import bound_context
    from bemi_django.models import Change
    from tests.tenants.notes.changes import heard
    from tests.tenants.notes.models import Note

    found: dict[str, Any] = {}
    for name in NAMES[1:]:
        with schema_context(name), bound_context(by=name):
            note = Note.objects.create(text=f"Note of {name}")
            note.tag_set.create(name="tag")
            Note.objects.create(text="Brief").delete()
    run()
    for name in NAMES[1:]:
        with schema_context(name):
            note = Note.objects.get(text=f"Note of {name}")
            found[name] = {
                "model": described(Note.history),
                "object": described(note.history),
                "related": described(Change.objects.for_object(note, related=True)),
                "by": sorted({change.context.get("by", "") for change in note.history}),
            }
    found["heard"] = list(heard)
    found["in public"] = described(Note.history)
    return found


def described(changes: Any) -> list[str]:
    return [str(change) for change in changes]


def past() -> dict[str, Any]:
    """What queries of several kinds see, and other tenants in the same block."""
    from django_tenants.utils import schema_context

    from bemi_django.exceptions import PastIsReadOnly
    from bemi_django.models import Change
    from bemi_django.time_travel import as_of
    from bemi_django.time_travel.as_of_queryset import read_as_of
    from tests.tenants.customers.models import Customer
    from tests.tenants.notes.models import Note

    moment = Change.objects.last()
    assert moment is not None
    Customer.objects.update(name="changed")
    for name in NAMES[1:]:
        with schema_context(name):
            Note.objects.update(text="changed")
    run()
    found: dict[str, Any] = {}
    with schema_context("red"):
        with as_of(moment):
            found["list"] = texts(Note.objects.all())
            found["server-side cursor"] = texts(Note.objects.iterator(chunk_size=1))
            found["shared"] = sorted(Customer.objects.values_list("name", flat=True))
            with schema_context("blue"):
                found["other tenant"] = texts(Note.objects.all())
            found["back"] = texts(Note.objects.all())
            try:
                Note.objects.create(text="in the past")
            except PastIsReadOnly:
                found["write"] = "refused"
        found["afterwards"] = texts(Note.objects.all())
        found["queryset"] = texts(read_as_of(Note.objects.all(), moment))
    with as_of(moment), schema_context("blue"):
        found["entered in public"] = texts(Note.objects.all())
    return found


def texts(notes: Any) -> list[str]:
    return sorted(note.text for note in notes)


def undone() -> dict[str, Any]:
    """What blame names, what a revert writes, and what is refused in another tenant."""
    from django_tenants.utils import schema_context

    from bemi_django.exceptions import NoModel
    from bemi_django.log.blame import blame
    from tests.tenants.notes.models import Note

    found: dict[str, Any] = {}
    with schema_context("red"):
        note = Note.objects.get(pk=2)
        change = blame(note)["text"].change
        assert change is not None
        found["blamed"] = str(change)
        with schema_context("blue"):
            try:
                found["object of another tenant"] = str(change.object)
            except NoModel as error:
                found["object of another tenant"] = str(error)
            change.revert()
            found["blue"] = texts(Note.objects.filter(pk=2))
        found["red"] = texts(Note.objects.filter(pk=2))
    return found


def hidden() -> list[str]:
    """What the checks say of a tenant's own table that has the name of the log."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE blue.changes (id int PRIMARY KEY)")
    return list(tracked()["warnings"])


def zero() -> dict[str, Any]:
    """What is left of the log when a tenant's migrations of this app are undone."""
    before = ask(_OURS)
    call_command("migrate_schemas", "bemi_django", "zero", schema_name="red", verbosity=0)
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    return {"before": before, "after": ask(_OURS)}


def dropped() -> dict[str, Any]:
    """What the log has of a tenant whose schema is gone, and whether all is well without it."""
    from bemi_django.models import Change
    from tests.tenants.customers.models import Customer

    before = Change.objects.filter(schema="blue").count()
    Customer.objects.get(schema_name="blue").delete()
    run()
    return {
        "before": before,
        "after": Change.objects.filter(schema="blue").count(),
        "sync": output("sync"),
        "tracked": [name for name in tracked()["yes"] if name.startswith("blue.")],
    }


def uninstalled() -> dict[str, Any]:
    """What is left after the command, run in a tenant, and whether "migrate" would install it again."""
    from django_tenants.utils import schema_context

    with schema_context("red"):
        output("uninstall", "--noinput")
    return {
        "triggers": ask("SELECT tgname FROM pg_trigger WHERE starts_with(tgname::text, '_bemi')"),
        "migrations": ask("SELECT name FROM django_migrations WHERE app = 'bemi_django'"),
    }


if __name__ == "__main__":
    main()
