"""What a worker has sealed is found whole, whatever the rows are and whoever else works on the log."""

from __future__ import annotations

from typing import Any

from django.db import connection

from bemi_django import bound_context
from bemi_django.models import Change
from bemi_django.seals.verify import verify_chains
from sample_project.todos.models import Todo
from tests.integration.seals.conftest import SLOT, whole
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

ODD_CONTEXT: dict[str, Any] = {
    "price": 1.50,
    "tiny": 1e-7,
    "large": 12345678901234567890123,
    "nested": {"zz": [1, 2.5, None, {"b": True, "aaa": "é😀\n"}], "a": ""},
    "name": 'quoted " \\ and / slash',
}


def test_changes_of_every_kind_are_sealed(sealing: Pipeline) -> None:
    with bound_context(**ODD_CONTEXT):
        todo = Todo.objects.create(task='a "quoted" \\ back\nslash é 😀 \x7f')
        todo.task = "Eat"
        todo.save()
        todo.delete()
    Todo.objects.bulk_create([Todo(task=str(number)) for number in range(50)])
    execute("TRUNCATE todo CASCADE")
    sealing.run()
    report = whole()
    assert report.changes == Change.objects.count() > 53
    assert (report.chains, report.unsealed) == (1, 0)


def test_what_was_written_before_and_after_is_not_sealed(sealing: Pipeline) -> None:
    Todo.objects.create(task="sealed")
    sealing.run()
    sealed = whole().changes
    off = sealing.config._replace(is_sealed=False)
    sealing.run(off)
    Todo.objects.create(task="not sealed")
    sealing.run(off)
    report = whole()
    assert report.changes == sealed and report.unsealed == 1
    sealing.run()
    Todo.objects.create(task="sealed again")
    sealing.run()
    report = whole()
    assert report.changes == sealed + 1 and report.unsealed == 1
    kinds = sealing.log.run("SELECT kind FROM _bemi.links WHERE chain = %s ORDER BY number", [SLOT])
    assert [kind for (kind,) in kinds if kind != "changes"] == ["begin", "end", "begin"]


def test_an_edit_is_named_with_its_month_and_transaction(sealing: Pipeline) -> None:
    Todo.objects.create(task="honest")
    sealing.run()
    change = Change.objects.get(table="todo")
    execute(
        """UPDATE changes SET after = jsonb_set(after, '{task}', '"forged"') WHERE id = %s""", [change.pk]
    )
    (found,) = verify_chains().findings
    assert (found.kind, found.change) == ("edited", change.pk)
    assert found.month == f"{change.committed_at:%Y-%m}"
    assert f"{change.position >> 32:X}/{change.position & 0xFFFFFFFF:X}" in str(found)


def test_a_session_with_other_settings_gives_the_same_digests(sealing: Pipeline) -> None:
    Todo.objects.create(task="anything")
    sealing.run()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        name = connection.ops.quote_name(cursor.fetchone()[0])
        try:
            for setting in ("DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "bytea_output = 'escape'"):
                cursor.execute(f"ALTER DATABASE {name} SET {setting}")
            assert whole().changes == 1
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET ALL")
