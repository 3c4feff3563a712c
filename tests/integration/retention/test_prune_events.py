"""Events are pruned as changes of their table, and leave its past as well known as before."""

from __future__ import annotations

from bemi_django.models import Change
from tests.integration.retention.test_prune import add, left, run
from tests.support.project_database import execute


def completeness() -> list[tuple[str, str]]:
    return [(schema, table) for schema, table in execute('SELECT schema, "table" FROM _bemi.completeness')]


def test_events_that_are_removed_leave_the_past_known(log: None) -> None:
    add(75, number=2, operation="EVENT")
    add(31, number=2, operation="EVENT")
    kept = add(29, operation="EVENT") + add(500, "events", schema="_bemi", operation="EVENT")
    before = completeness()
    run()
    assert left() == set(kept) and completeness() == before
    add(75, operation="EVENT")
    row = add(76)
    add(31, operation="EVENT")
    run()
    assert left() == set(kept)
    found = execute("SELECT last::text FROM _bemi.completeness WHERE \"table\" = 'shop_category'")
    assert [last for (last,) in found] == [str(each) for each in row]
    assert Change.objects.filter(operation="EVENT").count() == len(kept)
