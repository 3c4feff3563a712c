"""What was removed is missed by nobody: all say from when on the log is complete."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command

from bemi_django.checks.log_table import check_log_table
from bemi_django.exceptions import HistoryError
from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.retention.pruning import prune
from bemi_django.status.log_status import read_lost_months
from bemi_django.status.recording import problems_of, read_recording
from bemi_django.time_travel import as_of
from bemi_django.verification.verify import Options, verify
from tests.integration.retention.conftest import ago
from tests.shop.models import Category, Product
from tests.support import roles
from tests.support.activity import counted, recount
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.project_database import execute
from tests.support.travel import here, settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


COMPLETE = r"complete from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 \([0-9A-F]+/[0-9A-F]+\) on"


def age(change: Change, days: float) -> None:
    """Make a change one that was committed so many days ago."""
    execute("SELECT _bemi.partition_v1(%s)", [ago(days)])
    execute("UPDATE changes SET committed_at = %s WHERE id = %s", [ago(days), change.pk])


def detach(days: float) -> None:
    """Detach a month by hand, and see that it is noticed."""
    recount()
    name = f"changes_{ago(days):%Y_%m}"
    execute(f"ALTER TABLE changes DETACH PARTITION {name}")
    # Nothing else knows what was in it.
    known = counted()
    execute("SELECT _bemi.recount_v1(%s, now())", [ago(days + 40)])
    assert counted() == known
    (problem,) = [line for line in problems_of(read_recording("default")) if "by hand" in line]
    assert f"{ago(days):%Y-%m};" in problem
    assert [found.id for found in check_log_table("default")].count("bemi.W024") == 1


@pytest.mark.parametrize("how", ["by rows", "as a month", "by hand", "by hand, and made again"])
def test_each_table_is_complete_from_its_own_moment_on(
    log: None, drain: Drain, settings: Any, how: str
) -> None:
    days = 31 if how == "by rows" else 500
    with settled:
        start = here()
        category = Category.objects.create(name="a")
        other = Product.objects.create(category=category, sku="p")
        middle = here()
        Category.objects.update(name="b")
        created, *_ = drain()
        age(created, days)
        execute("UPDATE _bemi.checkpoint SET started_at = %s WHERE slot = 'bemi_test'", [ago(days)])
        if how.startswith("by hand"):
            detach(days)
        else:
            assert prune("default", {"command": "test"}).changes == 1
        if how.endswith("again"):
            execute(f"DROP TABLE changes_{ago(days):%Y_%m}")
            execute("SELECT _bemi.partition_v1(%s)", [ago(days)])
        assert read_lost_months("default") == [f"{ago(days):%Y-%m}"] * how.startswith("by hand")
        with as_of(middle):
            assert Category.objects.get().name == "a" and Product.objects.count() == 1
        with as_of(start):
            assert Product.objects.count() == 0
            with pytest.raises(
                HistoryError, match=rf"before changes that were removed from the log: .*{COMPLETE}"
            ):
                Category.objects.count()
    found = blame(category)
    assert found["name"].change is not None and found["name"].complete_from is None
    complete = found["id"].complete_from
    assert found["id"].change is None and complete is not None
    # Of a month that was detached, nobody knows more than its end.
    assert 0 <= (complete - ago(days)).total_seconds() < (31 * 86400 if how.startswith("by hand") else 1)
    assert blame(other)["id"].complete_from is None
    output = io.StringIO()
    call_command("bemi", "blame", f"shop.Category:{category.pk}", stdout=output)
    assert "older than what is kept: complete from 20" in output.getvalue()
    if how.startswith("by hand"):
        output = io.StringIO()
        call_command("bemi", "prune", stdout=output)
        assert f"{ago(days):%Y-%m}: noted as gone" in output.getvalue()
        assert read_lost_months("default") == []
        assert blame(category)["id"].complete_from is not None
        execute(f"DROP TABLE IF EXISTS changes_{ago(days):%Y_%m}")


def test_verify_does_not_miss_what_was_removed(log: None, drain: Drain) -> None:
    Category.objects.create(name="a")
    Category.objects.create(name="b")
    first, _ = drain()
    age(first, 31)
    prune("default", {"command": "test"})
    execute("DELETE FROM changes WHERE id <> %s", [first.pk])
    with Pipeline.of_project("bemi_test").worker():
        (result,) = verify(
            worker_config("bemi_test", role=roles.OWNER), Options(only=["public.shop_category"])
        )
    assert "the log is complete from " in str(result)
    # The second one was lost.
    assert result.older == 1 and result.missing.count == 1


def test_without_gaps_nothing_is_known_of_the_time_before_them(
    log: None, drain: Drain, settings: Any
) -> None:
    settings.BEMI_RETENTION = {"default": "30 days"}
    with settled:
        before = here()
        Category.objects.create(name="a")
        (change,) = drain()
        execute(
            """INSERT INTO changes (id, database, schema, "table", operation, context, committed_at,
            queued_at, transaction_id, position) SELECT id, database, '', '', 'GAP', '{}', now(), now(),
            0, position
            FROM changes"""
        )
        execute("DELETE FROM changes WHERE operation <> 'GAP'")
        age(change, 31)
        prune("default", {"command": "test"})
        with pytest.raises(HistoryError, match=f"removed from the log: history is {COMPLETE}"), as_of(before):
            pass
