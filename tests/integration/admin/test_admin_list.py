"""The list of changes in the admin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from django.db import connection, connections
from django.test import Client
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from bemi_django.admin.search import paging, query_timeouts
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support.audit import LIST, as_rows, listed, record, record_many, visitor
from tests.support.masked_models import made

ROWS = f"{LIST}{as_rows()}"
CHECKPOINT = """
INSERT INTO _bemi.checkpoint
    (slot, lsn, start_lsn, committed_at, start_xid, system_identifier, timeline, publication)
VALUES (%s, '0/1', '0/1', now(), 1, %s, 1, 1)
"""


LARGE_TRANSACTION = """
INSERT INTO changes (id, database, schema, "table", operation, context,
                     committed_at, queued_at, transaction_id, position)
SELECT (lpad(to_hex((k >> 12) << 16 | 32768 | (k & 4095)), 16, '0')
        || '8' || lpad(to_hex(n::bigint << 30), 15, '0'))::uuid,
       current_database(), 'public', 'product', 'UPDATE', '{"db_user": "postgres"}', now(), now(), 1, k * 8
FROM generate_series(1, 2000) n, (SELECT %s::bigint AS k) position
"""


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client


def page(client: Client, query: str = "") -> str:
    response = client.get(f"{LIST}{query}" if "/" in query.partition("?")[0] else f"{LIST}{as_rows(query)}")
    assert response.status_code == 200
    return response.content.decode()


@contextmanager
def plans() -> Iterator[list[str]]:
    """The plans of what is read from the log meanwhile, with the settings in force."""
    found: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if '"changes"' in sql and sql.startswith("SELECT"):
            with connection.cursor() as cursor:
                execute_raw = cursor.cursor.execute
                execute_raw(f"EXPLAIN {sql}", params)
                found.append("\n".join(line for (line,) in cursor.cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield found


def test_the_list_says_when_who_where_what_and_the_difference(admin: Client, django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="bob")
    todo = Todo.objects.create(task="Wake up")
    record(
        1,
        primary_key=str(todo.pk),
        context={"user_id": user.pk, "endpoint": "/todos/1/rename/", "method": "POST"},
    )
    response = admin.get(ROWS)
    (row,) = response.context["rows"]
    assert row.actor.label == "bob"
    assert row.where == "POST /todos/1/rename/"
    assert (row.object.label, row.object.url) == ("Wake up", f"/admin/todos/todo/{todo.pk}/change/")
    assert [(brief.name, brief.before, brief.after) for brief in row.briefs] == [("task", "Sleep", "Wake up")]
    text = response.content.decode()
    assert '<span class="bemi-op bemi-update">UPDATE</span>' in text
    assert f"?user={user.pk}" in text


def test_long_values_are_shown_from_where_they_differ(admin: Client) -> None:
    beginning = "The surface is oiled and can be renewed at home. "
    words = "oiled" * 20
    record(1, before={"task": f"{beginning}Old"}, after={"task": f"{beginning}New <b>"})
    record(2, before={"task": f"{words}a"}, after={"task": f"{words}b"})
    record(3, before={"task": f"Short {words}"}, after={"task": f"Long {words}"})
    # A word far before says nothing of where they differ.
    record(4, before={"task": f"One {words}a"}, after={"task": f"One {words}b"})
    briefs = [row.briefs[0] for row in admin.get(ROWS).context["rows"]]
    assert [(brief.before, brief.after) for brief in (briefs[0], *briefs[2:])] == [
        ("…oiledoileda", "…oiledoiledb"),
        ("…oiledoileda", "…oiledoiledb"),
        ("…renewed at home. Old", "…renewed at home. New <b>"),
    ]
    assert (briefs[1].before or "").startswith("Short oiled")


def test_an_object_that_is_gone_is_struck_through_under_its_last_name(admin: Client) -> None:
    record(1, primary_key="99", operation="DELETE", before={"id": 99, "task": "Gone"}, after={})
    (row,) = admin.get(ROWS).context["rows"]
    assert row.object.is_deleted
    assert re.search(r"<s><a [^>]*>Gone</a></s>", page(admin))


def test_a_row_of_a_many_to_many_table_is_named_by_its_two_ends(admin: Client) -> None:
    todo = Todo.objects.create(task="Sleep")
    tag = todo.tags.create(name="night")
    through = Todo.tags.through.objects.get(todo=todo, tag=tag)
    record(1, table="todo_tags", primary_key=str(through.pk), operation="CREATE", before={}, after={"id": 1})
    assert admin.get(ROWS).context["rows"][0].object.label == "Sleep – night"


def test_a_change_by_psql_is_marked_as_outside(admin: Client) -> None:
    record(1, context={"db_user": "postgres", "application_name": "psql", "SQL": "UPDATE todo"})
    record(2, context={"application_name": "cron", "SQL": "UPDATE todo"})
    record(3, context={})
    rows = [row.actor for row in admin.get(ROWS).context["rows"]]
    assert [(actor.label, actor.is_outside) for actor in rows] == [
        ("", True),
        ("", False),
        ("postgres", True),
    ]
    assert [row.where for row in admin.get(ROWS).context["rows"]] == ["", "cron", "psql"]
    assert listed(admin, "?outside=on") == [3, 1]


def test_nothing_can_be_added_changed_or_deleted(admin: Client) -> None:
    change = record(1)
    assert admin.get(f"{LIST}add/").status_code == 404
    assert admin.post(f"{LIST}{change.pk}/delete/").status_code == 404
    admin.post(f"{LIST}{change.pk}/change/", {"operation": "CREATE"})
    change.refresh_from_db()
    assert change.operation == "UPDATE"


@pytest.mark.parametrize(
    "part", ["", "activity/", "health/", "deleted/", "export/", "timeline/todos/todo/1/"]
)
def test_without_the_permission_no_page_is_shown(db: None, part: str) -> None:
    record(1)
    assert visitor("todos.view_todo").get(f"{LIST}{part}").status_code == 403


def test_filters_narrow_the_list_down_and_combine(admin: Client) -> None:
    record(1, operation="CREATE", before={}, context={"user_id": 7, "endpoint": "/a/"})
    record(2, table="tag", context={"user_id": "7", "endpoint": "/b/"})
    record(3, context={"user_id": 8, "endpoint": "/a/"})
    record(4, context={"db_user": "postgres"})
    record(5, operation="BASELINE", before={}, context={"command": "bemi baseline"})
    assert listed(admin) == [5, 4, 3, 2, 1]
    assert listed(admin, "?operation=BASELINE") == [5]
    assert listed(admin, "?table=tag") == [2]
    assert listed(admin, "?operation=CREATE") == [1]
    assert listed(admin, "?user=7") == [2, 1]
    assert listed(admin, "?endpoint=/a/") == [3, 1]
    assert listed(admin, "?outside=on") == [4]
    assert listed(admin, "?user=7&endpoint=/a/") == [1]
    record(6, context={"endpoint": "/a/12/edit/", "route": "a/<int:pk>/edit/"})
    assert listed(admin, "?endpoint=/a/*") == [6, 3, 1]
    assert listed(admin, "?endpoint=/a*&not_endpoint=/a/12/*") == [3, 1]
    assert listed(admin, "?endpoint=a/*") == listed(admin, "?endpoint=/a/%3Cpk%3E/*") == [6]
    assert listed(admin, "?endpoint=/a/%3Cint:pk%3E/edit/") == listed(admin, "?endpoint=/a/<id>/edit/") == [6]
    record(7, context={"endpoint": "/a/red-lamp/edit/"})
    parts = ("<id>", "<int:pk>", "<uuid:x>", "<pk>", "<slug:slug>", "<path:path>")
    found = [listed(admin, f"?endpoint=/a/{part}/edit/") for part in parts]
    assert found == [[6], [6], [], [7, 6], [7, 6], [7, 6]]
    assert listed(admin, "?endpoint=/<path:all>/edit/") == [7, 6] and not listed(
        admin, "?endpoint=/<all>/edit/"
    )
    page = admin.get(f"{LIST}?endpoint=/a/12/&view=rows")
    endpoint, query = page.context["below"]
    assert endpoint == "/a/12/" and listed(admin, query.removesuffix("&view=rows")) == [6]
    assert f'href="{query.replace("&", "&amp;")}"' in page.content.decode()


@pytest.mark.parametrize("key", ["task", "command", "process", "db_user"])
def test_what_is_no_user_is_found_by_its_name_and_has_a_page_of_activity(
    admin: Client, settings: Any, key: str
) -> None:
    record(1, context={key: "nightly"})
    record(2, context={"user_id": 7})
    assert listed(admin, "?user=nightly") == [1]
    assert listed(admin, "?not_user=nightly") == [2]
    (row,) = admin.get(f"{ROWS}&user=nightly").context["rows"]
    page = admin.get(row.actor.url)
    assert [row.change.position // 8 for row in page.context["rows"]] == [1]
    assert page.context["person_name"] == "nightly" and not page.context["is_unknown"]
    timeline = admin.get(f"{LIST}timeline/todos/todo/1/?user=nightly")
    assert [step.row.change.position // 8 for step in timeline.context["steps"]] == [1]
    # What is masked is not found by trying.
    settings.BEMI_MASKED_FIELDS = [f"context->{key}"]
    client = visitor("bemi_django.view_change", "todos.view_todo")
    assert {row.actor.url for row in client.get(ROWS).context["rows"]} == {None, row_url(7)}
    assert "and no task, command or role" in client.get(f"{ROWS}&user=nightly").content.decode()


def row_url(user: int) -> str:
    """Return the address of a user's activity."""
    return f"{LIST}activity/?user={user}"


@pytest.mark.parametrize("name_field", ["username", "id", "date_joined", "is_active"])
def test_a_user_is_found_by_name_and_address_whatever_a_name_is(
    admin: Client, django_user_model: Any, monkeypatch: pytest.MonkeyPatch, name_field: str
) -> None:
    user = django_user_model.objects.create(username="bob", email="Bob@example.com")
    record(1, context={"user_id": user.pk})
    record(2, context={"user_id": user.pk + 1})
    monkeypatch.setattr(django_user_model, "USERNAME_FIELD", name_field)
    # A project may call its users by numbers or moments, which take no text.
    assert listed(admin, "?user=bob") == ([1] if name_field == "username" else [])
    assert listed(admin, "?user=bob@example.com") == listed(admin, f"?user={user.pk}") == [1]


def test_dates_are_days_of_the_site(admin: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    record(1, committed_at="2026-03-01T14:59:59Z")
    record(2, committed_at="2026-03-01T15:00:00Z")
    record(3, committed_at="2026-03-02T15:00:00Z")
    assert listed(admin, "?since=2026-03-02&until=2026-03-02") == [2]
    assert listed(admin, "?since=2026-03-02") == [3, 2]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("41", [4, 1]),
        ("r-2", [2]),
        ("pk:41", [1]),
        ("transaction:41", [4]),
        ("request:r-2", [2]),
        ("task:Sleep", [1]),
        ("became:n:6", [5]),
        ("became:n:5", []),
        ("became:task:'Wake up now'", [3]),
        ("n:5", [3]),
        ("n:'5'", [3]),
        ('task:"Wake up now"', [3]),
        ("reason=import", [3]),
        ('{"job": {"name": "night"}}', [4]),
        ("41 reason=import", []),
    ],
)
def test_the_search_box_takes(admin: Client, words: str, found: list[int]) -> None:
    record(1, primary_key="41")
    record(2, primary_key="x", before={}, after={}, context={"request_id": "r-2"})
    record(3, before={"n": 5}, after={"task": "Wake up now"}, context={"reason": "import"})
    record(4, before={}, after={}, context={"job": {"name": "night", "n": 1}}, transaction_id=41)
    record(5, before={"n": 7}, after={"n": 6})
    record(6, before={"n": 6}, after={"n": 6}, context={})
    assert listed(admin, f"?q={quote(words)}") == found


def test_an_id_of_a_change_finds_it(admin: Client) -> None:
    change = record(1)
    record(2)
    assert listed(admin, f"?q={change.pk}") == [1]


@pytest.mark.parametrize(
    "words", ["{", "[1]", '"', "transaction:x", "transaction:" + "9" * 30, '{"a": "\\u0000"}']
)
def test_what_cannot_be_searched_is_said_and_finds_nothing(admin: Client, words: str) -> None:
    record(1)
    response = admin.get(LIST, {"q": words, "view": "rows"})
    assert response.status_code == 200
    if response.context["form"].errors:
        assert response.context["rows"] == []
        assert "errorlist" in response.content.decode()


@pytest.mark.parametrize("query", ["?operation=NONE", "?since=yesterday", "?q=" + "x" * 2000, "?user=%00"])
def test_nonsense_is_an_error_beside_its_field(admin: Client, query: str) -> None:
    record(1)
    assert "errorlist" in page(admin, query)
    assert listed(admin, query) == []


@pytest.mark.parametrize("query", ["?older=x", "?newer=1"])
def test_a_page_of_no_id_is_not_found(admin: Client, query: str) -> None:
    assert admin.get(f"{LIST}{query}").status_code == 404


def walk(client: Client, query: str, direction: str) -> list[list[int]]:
    pages = []
    while True:
        response = client.get(f"{LIST}{as_rows(query) if 'view=' not in query else query}")
        pages.append([row.change.position // 8 for row in response.context["rows"]])
        query = response.context[direction]
        if query is None:
            return pages


def test_pages_follow_each_other_whatever_is_written_meanwhile(admin: Client) -> None:
    for number in range(1, 121):
        record(number)
    first = admin.get(ROWS)
    assert first.context["newer"] is None
    record(121)
    second = admin.get(f"{LIST}{first.context['older']}")
    assert [row.change.position // 8 for row in second.context["rows"]] == list(range(70, 20, -1))
    back = admin.get(f"{LIST}{second.context['newer']}")
    assert [row.change.position // 8 for row in back.context["rows"]] == list(range(120, 70, -1))
    assert back.context["newer"] is not None
    newest = admin.get(f"{LIST}{back.context['newer']}")
    assert [row.change.position // 8 for row in newest.context["rows"]] == [121]
    everything = [number for numbers in walk(admin, "", "older") for number in numbers]
    assert everything == list(range(121, 0, -1))


def test_a_filter_that_no_index_answers_is_looked_for_piece_by_piece(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 10)
    monkeypatch.setattr(paging, "BUDGET_SECONDS", 0)
    for number in range(1, 31):
        record(number, operation="DELETE" if number in {2, 28} else "UPDATE")
    pages = walk(admin, "?operation=DELETE", "older")
    assert [number for numbers in pages for number in numbers] == [28, 2]
    assert len(pages) > 2
    # One is found: how many there are is not known.
    text = page(admin, "?operation=DELETE")
    assert "Continue searching" in text and "Not everything was searched yet" in text
    response = admin.get(f"{ROWS}&operation=DELETE&older={record(99).pk}")
    first = record(0).pk
    back = walk(admin, f"?operation=DELETE&newer={first}", "newer")
    # The link that goes on with the search, not the way back.
    links = re.findall(r"<a rel=.*?</a>", page(admin, f"?operation=DELETE&newer={first}"))
    assert ["Continue searching" in link for link in links] == ['"prev"' in link for link in links]
    assert response.context["newer"] is not None
    assert sorted(number for numbers in back for number in numbers) == [2, 28]


def test_few_among_many_are_found_by_their_index_at_once(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 10)
    for number in range(1, 31):
        record(number, context={"request_id": "wanted" if number == 1 else "other"})
    response = admin.get(f"{ROWS}&q=request:wanted")
    assert [row.change.position // 8 for row in response.context["rows"]] == [1]
    assert response.context["older"] is None


def test_an_index_is_asked_however_long_the_first_changes_take(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "FIRST_WINDOW", 5)
    monkeypatch.setattr(paging, "WINDOW", 10)
    monkeypatch.setattr(paging, "BUDGET_SECONDS", 0)
    for number in range(1, 31):
        record(number, context={"request_id": "wanted" if number == 1 else "other"})
    assert listed(admin, "?q=request:wanted") == [1]


def test_what_an_index_finds_too_many_of_is_looked_for_piece_by_piece(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 10)
    monkeypatch.setattr(query_timeouts, "FILTER", 1)
    monkeypatch.setattr(paging, "BUDGET_SECONDS", 0)
    record_many(20_000)
    response = admin.get(f"{ROWS}&q={quote('{}')}&table=tag&operation=UPDATE")
    assert response.context["page"].is_partial


def test_an_index_finds_values_of_fields_where_the_settings_want_it(
    admin: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 10)
    monkeypatch.setattr(paging, "BUDGET_SECONDS", 0)
    record_many(20_000)
    query = ROWS + "&q=task:%22new%2077%22"
    response = admin.get(query)
    assert response.context["page"].is_partial and not response.context["page"].changes
    settings.BEMI_INDEX_VALUES = True
    tracking.sync()
    with plans() as found:
        response = admin.get(query)
    assert not response.context["page"].is_partial
    assert [change.after["task"] for change in response.context["page"].changes] == ["new 77"]
    assert re.search(r"Bitmap Index Scan on changes_\S*before", found[-1]), found[-1]


#: Each with a filter that finds much, little or nothing.
QUERIES = [
    "",
    "?table=todo",
    "?table=tag&operation=UPDATE",
    "?operation=DELETE",
    "?operation=GAP",
    "?user=7",
    "?user=999",
    "?endpoint=/page/3",
    "?outside=on",
    "?since=2020-01-01&until=2020-02-01",
    "?q=request:r77",
    "?q=transaction:77",
    "?q=77",
    "?q=task:new%2077",
    "?q=task:%22new%2077%22",
    "?q=reason=import",
    "?q=pk:7&table=tag",
]


@pytest.mark.parametrize("with_values", [False, True], ids=["default", "values indexed"])
def test_no_page_reads_the_log_from_one_end_to_the_other_nor_counts_it(
    admin: Client, settings: Any, with_values: bool
) -> None:
    settings.BEMI_INDEX_VALUES = with_values
    tracking.sync()
    record_many(30_000)
    for query in QUERIES:
        with plans() as found:
            response = admin.get(f"{LIST}{as_rows(query)}")
        assert response.status_code == 200
        assert found
        for plan in found:
            assert "Seq Scan" not in plan, f"{query}\n{plan}"
            assert "Aggregate" not in plan, f"{query}\n{plan}"


def test_the_total_is_an_estimate(admin: Client) -> None:
    record_many(1000)
    assert "about 1,000 changes" in page(admin)
    assert re.search(r"about \d+ changes", page(admin, "?table=tag"))
    assert "250 changes" not in page(admin, "?table=tag&operation=TRUNCATE")


def test_a_list_that_fits_on_a_page_is_counted_as_it_is(admin: Client) -> None:
    record(1)
    assert "1 change<" in page(admin)


def test_the_date_hierarchy_leads_from_months_to_days(admin: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1('2025-03-05')")
    assert "&amp;since=2025-03-01&amp;until=2025-03-31" in page(admin)
    month = page(admin, "?table=tag&since=2025-03-01&until=2025-03-31")
    assert "?table=tag&amp;view=rows&amp;since=2025-03-07&amp;until=2025-03-07" in month
    assert '<a href="?table=tag&amp;view=rows">All dates</a>' in month


def test_users_and_endpoints_of_the_newest_changes_are_suggested(
    admin: Client, django_user_model: Any
) -> None:
    from django.core.cache import cache

    cache.clear()
    user = django_user_model.objects.create(username="bob")
    record(1, context={"user_id": user.pk, "endpoint": "/a/"})
    assert '<option value="bob">' in page(admin)
    record(2, context={"endpoint": "/b/"})
    assert '<option value="/b/">' not in page(admin), "they are kept for a minute"


def test_stored_markup_stays_text(admin: Client) -> None:
    evil = "<script>alert(1)</script>"
    record(1, after={"task": evil}, context={"endpoint": evil, "db_user": evil}, table=evil)
    text = page(admin) + page(admin, f"?table={quote(evil)}")
    assert evil not in text
    assert "&lt;script&gt;" in text


def test_an_empty_log_says_where_to_look(admin: Client) -> None:
    assert "Check that the worker is running." in page(admin)
    record(1)
    assert "No changes match these filters." in page(admin, "?q=nothing")


@pytest.mark.parametrize("sources", [0, 1, 2])
def test_a_search_back_from_a_date_begins_there(db: None, sources: int) -> None:
    with connection.cursor() as cursor:
        for number in range(sources):
            cursor.execute(CHECKPOINT, [f"slot{number}", f"system{number}"])
    record(1, committed_at="2026-03-01T10:00:00Z")
    last = record(2, committed_at="2026-03-01T23:59:00Z")
    record(3, committed_at="2026-03-02T10:00:00Z")
    day = datetime(2026, 3, 2, tzinfo=timezone.utc)
    found = paging.cursor_before(day)
    if sources > 1:
        assert found == paging.PageCursor(UUID(int=0), is_first=True, committed_at=day)
        return
    assert found.id == UUID(int=last.pk.int + 1)
    assert paging.cursor_before(day + timedelta(days=30)).id is None


def test_a_page_that_ends_at_a_date_has_nothing_newer(admin: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(CHECKPOINT, ["slot", "system"])
    for number in range(1, 61):
        record(number, committed_at="2026-03-01T10:00:00Z")
    record(99)
    response = admin.get(f"{ROWS}&until=2026-03-01")
    assert [row.change.position // 8 for row in response.context["rows"]] == list(range(60, 10, -1))
    assert response.context["newer"] is None
    pages = walk(admin, "?until=2026-03-01", "older")
    assert [len(numbers) for numbers in pages] == [50, 10]


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_of_another_database_are_named_from_there(admin: Client) -> None:
    here, there = (
        Todo.objects.create(pk=1, task="here"),
        Todo.objects.using("other").create(pk=1, task="there"),
    )
    record(1, primary_key="1")
    record(2, primary_key="1", database=connections["other"].settings_dict["NAME"])
    second, first = (row.object for row in admin.get(ROWS).context["rows"])
    assert (first.label, first.url) == (here.task, "/admin/todos/todo/1/change/")
    assert (second.label, second.url, second.is_deleted) == (there.task, None, False)


def test_numbers_are_addresses_whatever_the_format(admin: Client, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    change = record(1, transaction_id=1234567, context={"user_id": 1234567})
    text = admin.get(f"{LIST}{change.pk}/change/").content.decode()
    assert f'<a href="{LIST}transaction/{change.pk}/">1234567</a>' in text
    assert f'<a href="{LIST}?user=1234567">1234567</a>' in text
    assert "1,234,567" not in text


@given(
    st.text(
        alphabet=st.characters(codec="utf-8") | st.sampled_from("{}[]\":=\\'0123456789 NaeEI-+."), max_size=30
    )
)
@example("n:NaN")
@example("n:1e999")
@example("a=Infinity")
@example('{"a": NaN}')
@example('n:"\\\\u0000"')
@tried(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_whatever_is_typed_is_found_or_refused(admin: Client, words: str) -> None:
    assert admin.get(LIST, {"q": words}).status_code == 200
    assert admin.get(LIST, {"user": words, "endpoint": words, "table": words}).status_code == 200


def test_suggestions_are_the_most_frequent_whatever_a_large_statement_wrote(admin: Client) -> None:
    for number in range(1, 131):
        for extra in range(3 if number == 77 else 1):
            record(number * 10 + extra, context={"endpoint": f"/page/{number:03}/", "user_id": number})
    with connection.cursor() as cursor:
        # One transaction, the newest, that has more rows than are read at a time.
        cursor.execute(LARGE_TRANSACTION, [5000])
    found = admin.get(ROWS).context["suggestions"]
    assert found["endpoints"][0] == "/page/077/"
    assert len(found["endpoints"]) == 100


@pytest.mark.parametrize("may_unmask", [True, False])
def test_labels_that_name_other_rows_take_few_queries(
    db: None, django_assert_max_num_queries: Any, may_unmask: bool
) -> None:
    with made() as (person, badge, *_):
        chief = person._default_manager.create(ssn="0", name="Zoe", born="1950-01-01", salary=1)
        for number in range(1, 31):
            boss = person._default_manager.create(
                ssn=str(number), name=f"P{number}", born="1960-01-01", salary=2, boss=chief
            )
            worn = badge._default_manager.create(code=f"B{number}", person=boss)
            record(
                number,
                table="badge",
                primary_key=str(worn.pk),
                operation="CREATE",
                before={},
                after={"id": 1},
            )
            gone = {"id": 1000 + number, "code": "X", "person_id": str(number)}
            record(
                number + 50,
                table="badge",
                primary_key=str(1000 + number),
                operation="DELETE",
                before=gone,
                after={},
            )
        names = ["view_change", *(["unmask_change"] if may_unmask else [])]
        client = visitor(*(f"bemi_django.{name}" for name in names), "shop.view_badge", "shop.view_person")
        client.get(ROWS)
        with django_assert_max_num_queries(60):
            labels = {row.object.label for row in client.get(f"{ROWS}&table=badge").context["rows"]}
        assert {"B30 of P30, under 0", "X of P30, under 0"} <= labels


def test_models_that_are_not_tracked_are_not_offered(admin: Client, settings: Any) -> None:
    settings.BEMI_EXCLUDE = ["public.tag"]
    offered = dict(admin.get(ROWS).context["form"].fields["table"].choices)
    assert "todo" in offered and "tag" not in offered
    # What was recorded before is found all the same.
    record(1, table="tag")
    assert listed(admin, "?table=tag") == [1]


def test_an_unfinished_search_does_not_say_that_nothing_matches(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 10)
    monkeypatch.setattr(paging, "BUDGET_SECONDS", 0)
    for number in range(1, 31):
        record(number)
    text = page(admin, "?q=name:nosuch")
    assert "No changes match" not in text and "about" not in text
    assert "Continue searching" in text


def test_an_update_without_a_difference_says_so(admin: Client) -> None:
    change = record(1, before={"id": 1}, after={"id": 1})
    assert "no difference" in page(admin)
    assert "No field has another value" in page(admin, f"{change.pk}/change/")


def test_records_of_django_are_left_out_unless_they_are_asked_for(admin: Client, settings: Any) -> None:
    by_page: dict[str, Any] = {"context": {"user_id": 7}}
    record(1, table="django_admin_log", **by_page)
    record(2, table="django_session", operation="DELETE", **by_page)
    record(3, table="todo")
    # By psql, that is no record of anything.
    record(4, table="django_admin_log", operation="DELETE", context={"db_user": "postgres"})
    assert listed(admin) == [4, 3]
    assert listed(admin, "?records=on") == [4, 3, 2, 1]
    assert listed(admin, "?table=django_session") == [2]
    assert listed(admin, "?user=7") == [3]
    exported: Any = admin.get(f"{LIST}export/?format=jsonl&user=7")
    assert b"".join(exported).count(b"\n") == 1
    settings.BEMI_BOOKKEEPING_TABLES = ["*.to?o", "pub*.django_s*"]
    assert listed(admin) == [4, 1]
    settings.BEMI_BOOKKEEPING_TABLES = []
    assert listed(admin) == [4, 3, 2, 1]
