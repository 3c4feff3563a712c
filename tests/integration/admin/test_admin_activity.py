"""Who did what, and how the audit trail is."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from datetime import timezone as dt_timezone
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from bemi_django.admin.display import svg_charts
from bemi_django.admin.pages.activity.activity_range import range_of
from bemi_django.admin.pages.health import health_sources
from bemi_django.admin.pages.health.throughput import LastHour, MinuteGroup
from bemi_django.admin.search import query_timeouts
from bemi_django.models import DeadLetter
from bemi_django.schema import tracking
from bemi_django.status.units import as_bytes
from sample_project.todos.models import Todo
from tests.support.activity import recount
from tests.support.audit import LIST, record, record_many, visitor
from tests.support.pipeline import Drain
from tests.support.project_database import execute

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_on_which_clocks_change_has_as_many_columns_as_hours(day: str, hours: int) -> None:
    with timezone.override("Europe/Berlin"):
        steps = list(range_of({"since": day, "until": day}).steps())
        assert len(steps) == hours
        assert (steps[0].label, steps[-1].label) == ("00:00", "23:00")
        assert all(step.end - step.begin == timedelta(hours=1) for step in steps)


def activity(client: Client, query: str = "") -> Any:
    """The context of the page, with the changes of the log counted as a worker would have."""
    recount()
    cache.clear()
    return client.get(f"{LIST}activity/{query}").context


def without_secrets(request: Any, changes: Any) -> Any:
    """A scope."""
    return changes.exclude(table="secret")


def lists(context: Any) -> dict[str, list[tuple[str, int]]]:
    return {each.kind: [line[:2] for line in each.lines] for each in context["rankings"]}


def test_changes_are_counted_by_hour_and_operation(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    # The page is of the same hour.
    monkeypatch.setattr(timezone, "now", lambda: now)
    record(1, committed_at=now, operation="CREATE")
    record(2, committed_at=now)
    record(3, committed_at=now - timedelta(hours=3))
    record(4, committed_at=now - timedelta(days=3))
    context = activity(admin_client, "?span=day")
    kinds = [
        (number, bar.kind) for number, column in enumerate(context["chart"].columns) for bar in column.bars
    ]
    assert kinds == [(20, "UPDATE"), (23, "CREATE"), (23, "UPDATE")]
    assert context["total"] == "3"
    assert activity(admin_client, "?span=month")["total"] == "4"


def test_the_latest_changes_are_those_of_the_period(admin_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    for number, moment in enumerate(("06-30T21:59", "06-30T22:00", "07-31T21:59", "07-31T22:00"), 1):
        record(number, committed_at=f"2026-{moment}:00+00:00", context={"user_id": 10**6})
    for user in ("", "&user=1000000"):
        found = activity(admin_client, f"?since=2026-07-01&until=2026-07-31{user}")
        assert [row.change.position // 8 for row in found["rows"]] == [3, 2]
    # A user who did nothing then is known all the same.
    found = activity(admin_client, "?since=2026-01-01&until=2026-01-02&user=1000000")
    assert not found["rows"] and not found["is_unknown"]


def test_days_are_those_of_the_reader(admin_client: Client, settings: Any) -> None:
    for number, hour in enumerate((21, 22, 23), 1):
        moment = datetime(2026, 7, 4, hour, 30, tzinfo=dt_timezone.utc)
        record(number, committed_at=moment, context={"user_id": 10**6})
    settings.TIME_ZONE = "Europe/Berlin"
    for query, total in (
        ("?since=2026-07-04&until=2026-07-04", "1"),
        ("?since=2026-07-05&until=2026-07-05", "2"),
        ("?since=2026-07-01&until=2026-07-31", "3"),
    ):
        context = activity(admin_client, query)
        assert context["total"] == total
        assert lists(context)["user"] == [("user 1000000", int(total))]
    assert [cell.text for cell in context["heat"][5].cells][23:] == ["1"]
    assert [cell.text for cell in context["heat"][6].cells][:2] == ["1", "1"]
    assert "Sunday" in context["busiest"] or "Saturday" in context["busiest"]


def test_months_and_days_and_hours_add_up_to_any_period(admin_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    days = ["2026-03-30", "2026-03-31", "2026-04-01", "2026-04-15", "2026-05-31", "2026-06-01", "2026-06-20"]
    for number, day in enumerate(days, 1):
        moment = datetime.fromisoformat(f"{day}T12:00:00+00:00")
        record(number, committed_at=moment, context={"user_id": 10**6})
    recount()
    for first, since in enumerate(days):
        for last, until in enumerate(days[first:], first):
            cache.clear()
            context = admin_client.get(f"{LIST}activity/?since={since}&until={until}").context
            assert lists(context)["user"] == [("user 1000000", last - first + 1)], (since, until)


@pytest.mark.parametrize("is_scoped", [False, True])
def test_it_answers_who_and_where(
    admin_client: Client, django_user_model: Any, settings: Any, is_scoped: bool
) -> None:
    """From what was counted, and for whoever may see a part of the log from the changes."""
    if is_scoped:
        settings.BEMI_ADMIN_SCOPE = f"{__name__}.without_secrets"
    # Of equals, the smaller key comes first, as a text.
    names = ("ann", "bob", "cy")
    users = [django_user_model.objects.create(pk=7001 + n, username=name) for n, name in enumerate(names)]
    team = Group.objects.create(name="Team")
    users[0].groups.add(team)
    users[1].groups.add(team)
    contexts: list[dict[str, Any]] = [
        {"user_id": users[0].pk, "endpoint": "/orders/12/", "method": "POST"},
        {"user_id": users[0].pk, "endpoint": "/orders/13/", "method": "POST"},
        {"user_id": users[1].pk, "route": "/by/<pk>/", "endpoint": "/by/x/"},
        {"user_id": users[2].pk, "task": "nightly"},
        {"command": "import"},
        {"db_user": "dba"},
        {},
    ]
    for number, context in enumerate(contexts, 1):
        record(number, context=context)
    if is_scoped:
        record(20, table="secret", context={"user_id": 99})
    found = activity(admin_client)
    assert found["total"] == "7"
    assert lists(found) == {
        "user": [("ann", 2), ("bob", 1), ("cy", 1)],
        "group": [("Team", 3), ("No group", 1)],
        "endpoint": [("POST /orders/<id>/", 2), ("/by/<pk>/", 1)],
        "table": [("todos", 7)],
        "task": [("nightly", 1)],
        "command": [("import", 1)],
        "outside": [("unknown", 1), ("dba", 1)],
    }
    assert ("28.6%", "2 changes") in [figure[1:3] for figure in found["figures"]]
    # Each line leads to the changes that it counts.
    for each in found["rankings"]:
        for line in each.lines if each.kind != "outside" else ():
            if line.label == "No group":
                assert not line.query
                continue
            shown = admin_client.get(f"{LIST}?view=rows&{found['period_query']}&{line.query}")
            assert len(shown.context["rows"]) == line.changes, line
    for column in found["chart"].columns:
        shown = admin_client.get(f"{LIST}?view=rows&{column.step.query}")
        assert len(shown.context["rows"]) == sum(column.numbers)


def test_it_is_a_file_for_those_who_may_export(admin_client: Client) -> None:
    record(1, context={"user_id": 10**6, "endpoint": "=1+1"})
    recount()
    lines = admin_client.get(f"{LIST}activity/?format=csv").content.decode().splitlines()
    assert lines[0] == "what,name,begins,changes"
    assert "user,user 1000000,,1" in lines and "endpoint,'=1+1,,1" in lines
    assert len([line for line in lines if line.startswith("operation,UPDATE,")]) == 30
    reader = visitor("bemi_django.view_change")
    assert reader.get(f"{LIST}activity/?format=csv").status_code == 403
    assert not reader.get(f"{LIST}activity/").context["csv_query"]


def test_groups_are_named_only_to_those_who_may_view_them(admin_client: Client, admin_user: Any) -> None:
    admin_user.groups.add(Group.objects.create(name="Secret team"))
    record(1, context={"user_id": admin_user.pk})
    assert "Secret team" in [name for name, _count in lists(activity(admin_client))["group"]]
    for number, permissions in enumerate(((), ("auth.view_user",), ("auth.view_group",))):
        reader = visitor("bemi_django.view_change", *permissions, name=f"reader{number}")
        assert "group" not in lists(activity(reader))
        assert "Secret team" not in reader.get(f"{LIST}activity/").content.decode()


def test_names_that_are_masked_are_not_counted(admin_user: Any, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->user_id", "context->task"]
    record(1, context={"user_id": 7, "task": "nightly", "command": "import"})
    reader = visitor("bemi_django.view_change")
    found = activity(reader)
    assert set(lists(found)) == {"table", "command"}
    assert "nightly" not in reader.get(f"{LIST}activity/").content.decode()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?since=2026-02-30", "not a valid date"),
        ("?since=2026-02-03&until=2026-02-01", "ends before it begins"),
        ("?since=0001-01-01&until=9999-12-31", "too long"),
        ("?until=9999-12-31", "not a valid date"),
        ("?until=0001-01-01", "not a valid date"),
        ("?since=0001-01-01&until=0001-01-02", "not a valid date"),
        ("?since=9999-12-20&until=9999-12-29", "not a valid date"),
    ],
)
def test_a_period_that_is_refused_is_said(admin_client: Client, query: str, error: str) -> None:
    page = admin_client.get(f"{LIST}activity/{query}")
    assert error in page.context["asked"].error and error in page.content.decode()
    # What was typed is still there, and nothing else is exported instead.
    for value in re.findall(r"=([^&]+)", query):
        assert f'type="date" value="{value}"' in page.content.decode()
    assert not page.context["csv_query"]
    exported = admin_client.get(f"{LIST}activity/{query}&format=csv")
    assert exported.status_code == 400 and error in exported.content.decode()


def test_days_to_come_are_said(admin_client: Client) -> None:
    for query, is_future in (("?since=2999-01-01&until=2999-02-01", True), ("?span=year", False)):
        page = admin_client.get(f"{LIST}activity/{query}").content.decode()
        assert ("These days are in the future." in page) is is_future


def test_what_one_user_did_is_a_page(admin_client: Client, django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="bob")
    record(1, context={"user_id": user.pk})
    record(2, context={"user_id": user.pk}, table="tag")
    record(3, context={"user_id": user.pk}, table="tag")
    record(4, context={"user_id": user.pk + 1})
    for named in (user.pk, "bob"):
        context = admin_client.get(f"{LIST}activity/?user={named}").context
        assert lists(context) == {"table": [("tags", 2), ("todos", 1)]}
        assert [row.change.position // 8 for row in context["rows"]] == [3, 2, 1]


def test_counting_is_done_once_a_minute(admin_client: Client) -> None:
    record_many(5000)
    first = activity(admin_client, "?span=day")["total"]
    record(6000)
    recount()
    assert admin_client.get(f"{LIST}activity/?span=day").context["total"] == first


def test_too_many_to_count_is_said(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_timeouts, "COUNT", 1)
    record_many(30_000)
    for user in range(50):
        # Only what one user did is counted when it is asked for.
        page = admin_client.get(f"{LIST}activity/?user={user}").content.decode()
        if "Choose a shorter period" in page:
            return
    pytest.fail("everything was counted")


def test_a_period_and_a_log_without_anything_say_so(admin_client: Client) -> None:
    record(1)
    text = admin_client.get(f"{LIST}activity/?since=2020-01-01&until=2020-01-02").content.decode()
    assert "No changes in this period." in text and 'class="bemi-hours"' not in text
    assert "The log has no deleted objects." in admin_client.get(f"{LIST}deleted/").content.decode()
    text = admin_client.get(f"{LIST}deleted/?table=todo").content.decode()
    assert "No deleted objects match." in text and '<a href="?">Any model</a>' in text


def facts(client: Client) -> dict[str, Any]:
    return {fact.label: fact for fact in source(client, "default").facts}


def source(client: Client, alias: str) -> Any:
    (found,) = (one for one in client.get(f"{LIST}health/").context["sources"] if one.alias == alias)
    return found


def test_a_worker_that_never_ran_is_told_with_the_command_that_starts_it(admin_client: Client) -> None:
    found = facts(admin_client)
    assert (found["Worker"].value, found["Worker"].state) == ("has never run", "bad")
    assert found["Worker"].command == "python manage.py bemi run"


def test_a_worker_that_is_gone_is_told_with_what_waits(
    brief_drain: Drain, client: Client, admin_user: Any, settings: Any
) -> None:
    settings.BEMI_SLOT = "bemi_test"
    client.force_login(admin_user)
    found = facts(client)
    assert found["Worker"].value == "not running"
    assert found["Worker"].command == "python manage.py bemi run"
    assert found["Lag"].value.endswith(" s")
    assert "Retained WAL" in found
    assert found["Last change"].value == "just now"


def test_what_the_worker_has_counted_and_why_it_is_stuck_is_told(
    drain: Drain, client: Client, admin_user: Any, settings: Any
) -> None:
    settings.BEMI_SLOT = "bemi_test"
    client.force_login(admin_user)
    assert "Stream" not in facts(client)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE _bemi.checkpoint SET trouble = 'run bemi skip 0/1', counters = %s",
            ['{"dead letters": 2, "sessions that failed": 1}'],
        )
    found = facts(client)
    assert (found["Stream"].value, found["Stream"].state) == ("stuck", "bad")
    assert found["Stream"].hint == "run bemi skip 0/1"
    counted = found["Exceptions since the worker started"]
    assert (counted.value, counted.hint) == ("3", "dead letters: 2, sessions that failed: 1")
    assert "Recording does not work as it should." in client.get(f"{LIST}health/").content.decode()


def test_every_database_whose_changes_are_recorded_is_there(admin_client: Client) -> None:
    assert source(admin_client, "other").facts[0].command == "python manage.py bemi run --database other"


@pytest.mark.parametrize(
    ("status", "command"),
    [("lost", "run --accept-gap"), ("unreserved", "run"), ("reserved", "")],
)
def test_the_wal_that_is_held_is_graded(status: str, command: str) -> None:
    fact = health_sources._held(status, 2**20, None, "run")
    assert fact.command == command
    assert fact.state == ("good" if status == "reserved" else "bad")


def test_tables_are_listed_with_the_reason_why_they_are_not_tracked(
    transactional_db: None, client: Client, admin_user: Any, settings: Any
) -> None:
    settings.BEMI_EXCLUDE = ["*.auth_group"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY)")
        cursor.execute("CREATE SCHEMA aside CREATE TABLE there (id int PRIMARY KEY)")
        cursor.execute("ALTER PUBLICATION bemi DROP TABLE tag")
    client.force_login(admin_user)
    try:
        context = client.get(f"{LIST}health/").context
        tables = {table.name: table for table in source(client, "default").tables}
        assert tables["public.todo"].is_tracked
        assert list(tables) == sorted(tables, key=lambda name: (tables[name].is_tracked, name))
        assert tables["public.tag"].command == "python manage.py bemi sync"
        assert tables["public.fleeting"].reason == "unlogged"
        assert tables["public.fleeting"].command == "ALTER TABLE public.fleeting SET LOGGED;"
        assert tables["aside.there"].reason == "not in BEMI_INCLUDE"
        assert tables["public.django_migrations"].reason == "excluded by BEMI_EXCLUDE or by default"
        assert any(check.id == "bemi.W006" for check in context["checks"])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE fleeting; DROP SCHEMA aside CASCADE")
        del settings.BEMI_EXCLUDE
        tracking.sync()


def test_gaps_and_dead_letters_are_told_with_what_mends_them(admin_client: Client) -> None:
    change = record(
        1, schema="", table="", operation="GAP", primary_key=None, context={"reason": "slot lost"}
    )
    DeadLetter.objects.create(
        slot="bemi",
        position=8,
        change_id=change.pk,
        message=b"x",
        origin={},
        reason="bad <value>",
        created_at=timezone.now(),
    )
    text = admin_client.get(f"{LIST}health/").content.decode()
    assert "slot lost" in text
    assert "bad &lt;value&gt;" in text
    assert "python manage.py bemi retry-dead-letters" in text


def test_lag_and_throughput_of_the_last_hour_are_charts(admin_client: Client) -> None:
    now = timezone.now()
    record(1, committed_at=now, created_at=now + timedelta(seconds=3))
    context = admin_client.get(f"{LIST}health/").context
    assert context["lag_chart"].highest == "3 s"
    assert [bar.title for bar in context["pace_chart"].bars][0].endswith(": 1")


def at(minute: int) -> datetime:
    return timezone.make_aware(datetime(2026, 11, 1, 12, minute))


def test_how_far_the_log_was_behind_is_told_by_what_it_has_by_now() -> None:
    groups = [
        MinuteGroup(7, at(0), at(0), 1, 0.1, 1000, 1000),
        # The worker stood still from minute 1 to minute 3.
        MinuteGroup(7, at(1), at(3), 1, 120, 5000, 5000),
        MinuteGroup(7, at(2), at(3), 1, 60, 9000, 9000),
        MinuteGroup(7, at(3), at(3), 1, 0.1, 9500, 9500),
        MinuteGroup(8, at(1), at(1), 1, 0.1, 77, 77),
    ]
    hour = LastHour([at(minute) for minute in range(6)], groups)
    assert hour.behind(7, 500) == [0, 4000, 8000, 0, 250, 500]
    assert hour.behind(8, 0) == [0] * 6
    # Of a source without a change in the last hour.
    assert hour.behind(9, 10) == [0, 2, 4, 6, 8, 10]
    assert hour.counts == [1, 2, 1, 1, 0, 0]
    assert hour.seconds == [0.1, 120, 60, 0.1, 0.0, 0.0]


def test_the_lag_in_bytes_is_a_chart(drain: Drain, client: Client, admin_user: Any, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_test"
    client.force_login(admin_user)
    for task in ("Sleep", "Wake up"):
        Todo.objects.create(task=task)
    drain()
    # It may have been another month.
    execute("SELECT _bemi.partition_v1(committed_at - interval '10 minutes') FROM changes")
    execute("UPDATE changes SET committed_at = committed_at - interval '10 minutes'")
    ((bytes_,),) = execute("SELECT max(position) - min(position) FROM changes")
    chart = source(client, "default").bytes_chart
    assert bytes_ > 0 and chart.highest.endswith(("bytes", "KB"))
    heights = Counter(point.partition(",")[2] for point in chart.line.split())
    assert max(count for height, count in heights.items() if height != f"{svg_charts.HEIGHT:.1f}") >= 9
    assert "Bytes behind the WAL" in client.get(f"{LIST}health/").content.decode()


def test_an_hour_with_too_many_changes_is_not_drawn(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_timeouts, "COUNT", 1)
    execute(
        """INSERT INTO changes (id, database, schema, "table", operation, committed_at, queued_at,
                                transaction_id, position)
           SELECT lpad(to_hex(n), 32, '0')::uuid, '', '', '', 'UPDATE', now(), now(), 1, 1
           FROM generate_series(1, 50000) n"""
    )
    page = admin_client.get(f"{LIST}health/").content.decode()
    assert "too many changes to show a chart" in page


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 kB"), (20 * 2**20, "20 MB"), (2**41, "2.0 TB")],
)
def test_bytes_are_for_people(count: int, text: str) -> None:
    assert as_bytes(count) == text
