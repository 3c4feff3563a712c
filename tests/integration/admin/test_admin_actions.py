"""The list of actions in the admin: what one transaction or request did, in a line."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from bemi_django.admin.display.actions.action import SHOWN
from bemi_django.admin.search import action_search, paging, transaction_spans
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, record_many, visitor
from tests.support.project_database import execute

CHECKPOINT = """
INSERT INTO _bemi.checkpoint
    (slot, lsn, start_lsn, committed_at, start_xid, system_identifier, timeline, publication)
VALUES (%s, '0/1', '0/1', now(), 1, %s, 1, 1)
"""

LARGE = """
INSERT INTO changes (id, database, schema, "table", primary_key, operation, before, after, context,
                     committed_at, queued_at, transaction_id, position)
SELECT (lpad(to_hex((k >> 12) << 16 | 32768 | (k & 4095)), 16, '0')
        || '8' || lpad(to_hex(n::bigint << 30), 15, '0'))::uuid,
       current_database(), 'public', 'todo', n::text, 'UPDATE', '{"n": 1}', '{"n": 2}',
       '{"command": "rank"}', now(), now(), k, k * 8
FROM generate_series(0, %s - 1) n, (SELECT %s::bigint AS k) position
"""

MOMENTS = ["2026-10-10T01:02:03+00:00", "2026-10-11T00:00:00+00:00"]
MOMENT = "Oct. 10, 2026 01:02:03"
ACTIVITY_EXPORT = "exported the numbers of the activity page"


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client


def lines(client: Client, query: str = "") -> list[Any]:
    response = client.get(f"{LIST}{query}")
    assert response.status_code == 200
    found: list[Any] = response.context["actions"]
    return found


def said(client: Client, query: str = "") -> list[str]:
    """The sentences of the list, without their links."""
    return [plain(line.sentence) for line in lines(client, query)]


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def numbers(client: Client, query: str = "") -> list[list[int]]:
    """The numbers of the changes of each action."""
    return [[change.position // 8 for change in line.action.changes] for line in lines(client, query)]


def created(number: int, ordinal: int = 0, **fields: Any) -> Change:
    return record(number, ordinal=ordinal, operation="CREATE", before={}, **fields)


def test_a_transaction_is_one_line_with_a_sentence(admin: Client, django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="dev.dana")
    todo = Todo.objects.create(task="Sleep")
    by: dict[str, Any] = {
        "context": {"user_id": user.pk, "endpoint": "/todos/", "method": "POST", "reason": "Black Friday"}
    }
    created(1, primary_key=str(todo.pk), after={"id": todo.pk, "task": "Sleep"}, **by)
    for number in (1, 2):
        after = {"id": number, "todo_id": todo.pk, "tag_id": number}
        created(1, number, table="todo_tags", primary_key=str(number), after=after, **by)
    record(1, ordinal=3, table="tag", primary_key="1", before={"name": "a"}, after={"name": "b"}, **by)
    record(1, ordinal=4, table="tag", primary_key="2", before={"name": "c"}, after={"name": "d"}, **by)
    (line,) = lines(admin)
    assert plain(line.sentence) == "created todo Sleep with 2 tags, changed name of 2 tags"
    assert (line.actor.label, line.where, line.reason) == ("dev.dana", "POST /todos/", "Black Friday")
    assert (line.action.total, len(line.rows), line.hidden, line.actor.initials) == (5, 5, 0, "DD")
    text = admin.get(LIST).content.decode()
    assert "1 action with 5 changes" in re.sub(r"\s+", " ", text)
    assert f'href="{LIST}timeline/todos/todo/{todo.pk}/">Sleep</a>' in line.sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "changed task of todo Wake up from Sleep to Wake up"),
        ({"after": {"id": 1, "task": "x" * 30}}, f"changed task of todo {'x' * 30}"),
        ({"after": {"id": 1, "task": "A", "note": ""}}, "changed note and task of todo A"),
        ({"after": dict.fromkeys("abcde")}, "changed 7 fields of todo 1"),
        ({"after": {"id": 1, "task": "Sleep"}}, "saved todo Sleep without a difference"),
        ({"operation": "CREATE", "before": {}}, "created todo Wake up"),
        ({"operation": "DELETE", "after": {}}, "deleted todo Sleep"),
        ({"operation": "BASELINE", "before": {}}, "recorded existing todo Wake up"),
        ({"operation": "TRUNCATE", "before": {}, "after": {}}, "removed all todos"),
        ({"operation": "SKIPPED", "before": {}, "after": {}}, "changed todos without a record of each"),
        (
            {"operation": "GAP", "table": "", "before": {}, "after": {}},
            "changes were lost before they could be recorded",
        ),
        ({"operation": "OTHER"}, "OTHER 1 todo"),
        ({"operation": "EVENT", "context": {"event": "viewed"}}, "viewed todo Wake up"),
        ({"operation": "EVENT", "context": {}}, "recorded 1 event"),
        *(
            (
                {
                    "operation": "EVENT",
                    "primary_key": "1" if is_of_row else None,
                    "context": {"event": event, "details": details},
                },
                sentence,
            )
            for event, details, is_of_row, sentence in (
                ("exported", {"rows": 1200, "filters": {}}, False, "exported 1,200 changes"),
                ("exported", {"rows": 3, "filters": {}, "page": "activity"}, False, ACTIVITY_EXPORT),
                ("exported", {"rows": "many"}, False, "recorded “exported”"),
                ("exported", [], True, "recorded “exported” for todo Wake up"),
                ("reverted", {"rows": 1, "what": "change"}, False, "reverted 1 row"),
                ("reverted", {"rows": True, "what": 1}, False, "recorded “reverted”"),
                ("unmasked", {"page": "rows"}, False, "viewed masked values"),
                ("unmasked", None, False, "recorded “unmasked”"),
                ("time_travel", {"moments": MOMENTS[:1]}, True, f"viewed todo Wake up as of {MOMENT}"),
                ("time_travel", {"moments": MOMENTS}, True, "compared todo Wake up at two moments"),
                (
                    "time_travel",
                    {"moments": MOMENTS, "site": True},
                    False,
                    f"went to the site as of {MOMENT}",
                ),
                ("time_travel", {"moments": MOMENTS}, False, "recorded “time_travel”"),
                ("time_travel", {"moments": 7}, True, "recorded “time_travel” for todo Wake up"),
                ("viewed", None, False, "recorded “viewed”"),
                ("logged_in", {}, False, "logged in"),
                ("logged_out", {}, False, "logged out"),
                ("login_failed", {}, False, "failed to log in"),
                ("alert_rule", {"action": "tested", "name": "”x"}, False, "tried out the alert rule “'x”"),
                ("alert_rule", {"action": "flew", "name": "x"}, False, "recorded “alert_rule”"),
                ("login_failed", {"username": "”x"}, False, "failed to log in as “'x”"),
            )
        ),
        (
            {"operation": "EVENT", "primary_key": None, "context": {"event": "deployed"}},
            "recorded “deployed”",
        ),
        (
            {"operation": "EVENT", "primary_key": None, "context": {"event": "x”, deleted 40 patients, “y"}},
            "recorded “x', deleted 40 patients, 'y”",
        ),
        ({"table": "no_model", "operation": "OTHER"}, "OTHER 1 row of no_model"),
        ({"table": "no_model"}, "changed task of no_model 1 from Sleep to Wake up"),
    ],
)
def test_the_sentence_names_what_was_done(admin: Client, fields: dict[str, Any], sentence: str) -> None:
    record(1, **fields)
    assert said(admin) == [sentence]


def test_alike_changes_are_counted(admin: Client) -> None:
    for ordinal in range(30):
        created(1, ordinal, primary_key=str(ordinal))
    for ordinal in range(2):
        record(2, ordinal=ordinal, primary_key=str(ordinal), after={"id": 1, "task": "B", "note": "c"})
    for ordinal in range(2):
        record(3, ordinal=ordinal, table="todo_tags", operation="DELETE", after={})
    for ordinal in range(2):
        record(4, ordinal=ordinal, operation="EVENT", context={"event": "viewed"})
    for ordinal in range(2):
        record(5, ordinal=ordinal, operation="EVENT", primary_key=None, context={"event": "deployed"})
    assert said(admin) == [
        "recorded “deployed” ×2",
        "recorded “viewed” for 2 todos",
        "removed 2 tags",
        "changed 2 todos",
        "created 30 todos",
    ]
    first = lines(admin)[4]
    assert (len(first.rows), first.hidden) == (20, 10)
    assert "20 of 30 changes are shown." in admin.get(LIST).content.decode()


def test_an_object_that_is_saved_several_times_is_one(admin: Client) -> None:
    for ordinal, (before, after) in enumerate((("A", "B"), ("B", "C"), ("C", "D"))):
        record(1, ordinal=ordinal, before={"id": 1, "task": before}, after={"id": 1, "task": after})
        for key in ("1", "2"):
            fields = {"primary_key": key, "before": {"id": 1, "task": before}}
            record(2, ordinal=2 * ordinal + int(key), after={"id": 1, "task": after}, **fields)
    # What has its first value again was changed all the same.
    for ordinal, (before, after) in enumerate((("A", "B"), ("B", "A"))):
        record(3, ordinal=ordinal, before={"id": 1, "task": before}, after={"id": 1, "task": after})
    # More changes than are shown: the database counts the rows, but not across transactions.
    for ordinal in range(SHOWN + 1):
        record(4, ordinal=ordinal, primary_key=str(ordinal % 3))
        of_request = {"primary_key": str(ordinal % 3), "context": {"request_id": "r"}}
        record(5 + ordinal % 2, ordinal=ordinal // 2, **of_request)
    assert said(admin) == [
        "made 21 changes to todos",
        "changed 3 todos",
        "changed task of todo A and back again",
        "changed task of 2 todos",
        "changed task of todo D from A to D",
    ]


def renamed(number: int, ordinal: int, old: str, new: str) -> Change:
    """Record that a row has another key, and nothing else."""
    return record(
        number,
        ordinal=ordinal,
        primary_key=new,
        previous_primary_key=old,
        before={"id": old},
        after={"id": new},
    )


def test_an_object_whose_key_changes_is_one(admin: Client) -> None:
    saved: dict[str, Any] = {"before": {"task": "A"}, "after": {"task": "B"}}
    record(1, primary_key="1", **saved)
    renamed(1, 1, "1", "2")
    record(1, ordinal=2, primary_key="2", before={"task": "B"}, after={"task": "C"})
    # Two rows that exchange their keys by way of a third one.
    for ordinal, (old, new) in enumerate((("1", "3"), ("2", "1"), ("3", "2"))):
        renamed(2, ordinal, old, new)
    # One that was created in the same transaction is not said to be changed.
    created(3, primary_key="1", after={"id": 1, "task": "A"})
    renamed(3, 1, "1", "2")
    # More changes than are shown: how many rows they are of is not told.
    for ordinal in range(SHOWN + 1):
        renamed(4, ordinal, str(ordinal), str(ordinal + 1))
    # A row with the key of one that was deleted is another.
    record(5, primary_key="1", **saved)
    record(5, ordinal=1, primary_key="1", operation="DELETE", before={"task": "B"}, after={})
    renamed(5, 2, "7", "1")
    assert said(admin) == [
        "changed 2 todos, deleted todo B",
        "made 21 changes to todos",
        "created todo A",
        "changed ID of 2 todos",
        "changed task and ID of todo C",
    ]


def test_rows_without_a_key_are_not_taken_for_new_ones(admin: Client) -> None:
    created(1, primary_key=None)
    record(1, ordinal=1, primary_key=None)
    created(2, primary_key="7")
    record(2, ordinal=1, primary_key="7")
    assert said(admin) == [
        "created todo Wake up",
        "created todo , changed task of todo  from Sleep to Wake up",
    ]


def test_a_sentence_stays_short(admin: Client) -> None:
    for ordinal in range(7):
        created(1, ordinal, table=f"table{ordinal}")
    (sentence,) = said(admin)
    assert sentence.endswith(", and did 3 other things")


def test_an_update_of_what_was_created_is_not_told(admin: Client) -> None:
    created(1, primary_key="7")
    record(1, ordinal=1, primary_key="7")
    assert said(admin) == ["created todo Wake up"]


@pytest.mark.parametrize(
    ("key", "whole"), [("task_id", "Whole task"), ("command_id", "Whole command")], ids=["task", "command"]
)
def test_a_run_of_several_transactions_is_one_line_with_a_page_of_its_own(
    admin: Client, key: str, whole: str
) -> None:
    first = [created(number, primary_key=str(number), context={key: "a"}) for number in (1, 2)]
    created(3, primary_key="3", context={key: "b"})
    # What a request did inside of the run is a line of its own.
    created(4, primary_key="4", context={key: "b", "request_id": "r"})
    assert numbers(admin) == [[4], [3], [1, 2]]
    line = lines(admin)[-1]
    assert (line.whole, line.action.transactions) == (whole, 2)
    page = admin.get(line.url)
    assert page.context["count"] == 2 and len(page.context["transactions"]) == 2
    assert page.context["revert"] == f"{LIST}revert/?request={first[0].pk}"
    assert page.context["run"].label == f"{key.removesuffix('_id').title()} a"
    assert admin.get(page.context["revert"]).context["selection"].changes.count() == 2


def test_the_id_of_a_run_that_is_masked_leads_nowhere(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->task_id"]
    created(1, context={"task_id": "secret"})
    reader = visitor("bemi_django.view_change")
    (line,) = lines(reader)
    assert "secret" not in line.url and line.whole == "Whole transaction"
    assert reader.get(f"{LIST}request/?task_id=secret").status_code == 404


def test_neighbouring_transactions_of_a_request_are_one_line(admin: Client) -> None:
    request = {"context": {"request_id": "r", "endpoint": "/a/"}}
    record(1, **request)
    record(2)
    record(3, ordinal=0, **request)
    record(3, ordinal=1, context={**request["context"], "task": "mail", "task_id": "t"})
    record(4, context={"command": "rank"})
    assert numbers(admin) == [[4], [1, 3, 3], [2]]
    assert [line.action.transactions for line in lines(admin)] == [1, 2, 1]
    _command, of_request, _other = lines(admin)
    assert of_request.url == f"{LIST}request/?id=r" and of_request.whole == "Whole request"
    # Who has begun it has published the task.
    assert of_request.actor.is_visitor
    assert (_command.url, _command.actor.face) == (f"{LIST}transaction/{_command.last.pk}/", "machine")


def walk(client: Client, query: str, direction: str) -> list[list[int]]:
    """The numbers of the last change of each action, page by page."""
    pages = []
    while True:
        response = client.get(f"{LIST}{query}")
        pages.append([line.last.position // 8 for line in response.context["actions"]])
        if response.context[direction] is None:
            return pages
        query = response.context[direction]


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("query", ["", "?q=task:Sleep"])
def test_pages_of_actions_follow_each_other(
    admin: Client, monkeypatch: pytest.MonkeyPatch, servers: int, query: str
) -> None:
    for number in range(servers):
        execute(CHECKPOINT, [f"slot{number}", f"system{number}"])
    monkeypatch.setattr(action_search, "SIZE", 4)
    monkeypatch.setattr(action_search, "WINDOW", 3)
    monkeypatch.setattr(paging, "WINDOW", 5)
    for number in range(1, 12):
        moment = timezone.now()
        for ordinal in range(number % 5 + 1):
            record(number, ordinal=ordinal, committed_at=moment)
    down = walk(admin, query, "older")
    assert down == [[11, 10, 9, 8], [7, 6, 5, 4], [3, 2, 1]]
    oldest = admin.get(f"{LIST}{walk_to_end(admin, query)}")
    back = walk(admin, oldest.context["newer"], "newer")
    assert [number for page in reversed(back) for number in page] == list(range(11, 3, -1))


def walk_to_end(client: Client, query: str) -> str:
    while older := client.get(f"{LIST}{query}").context["older"]:
        query = older
    return query


@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["r1", "r2", None])), max_size=12),
    size=st.integers(1, 4),
    window=st.integers(1, 4),
)
@tried(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
def test_no_change_is_lost_between_pages(admin: Client, sizes: Any, size: int, window: int) -> None:
    Change.objects.all().delete()
    for number, (count, request_id) in enumerate(sizes, 1):
        for ordinal in range(count):
            record(number, ordinal=ordinal, context={"request_id": request_id} if request_id else {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(action_search, "SIZE", size)
        patch.setattr(action_search, "WINDOW", window)
        found, total, query = [], 0, ""
        while query is not None:
            response = admin.get(f"{LIST}{query}")
            for line in response.context["actions"]:
                found += [change.pk for change in line.action.changes]
                total += line.action.total
            query = response.context["older"]
    assert total == sum(count for count, _request in sizes)
    assert len(found) == len(set(found))
    if total <= 20:
        assert len(found) == total


def test_a_page_that_begins_at_a_removed_transaction_is_the_newest_one(admin: Client) -> None:
    for number in (1, 2):
        execute(CHECKPOINT, [f"slot{number}", f"system{number}"])
    gone = record(1)
    record(2)
    key = gone.pk
    gone.delete()
    assert numbers(admin, f"?older={key}") == [[2]]


def test_filters_find_whole_actions_and_mark_what_matches(admin: Client) -> None:
    created(1, table="tag", primary_key="5", after={"id": 5, "name": "night"})
    created(1, 1, primary_key="6")
    record(2)
    assert said(admin, "?table=tag") == ["created tag night, created todo Wake up"]
    assert admin.get(f"{LIST}?table=tag").content.decode().count("bemi-match") == 1
    assert admin.get(f"{LIST}?operation=CREATE").content.decode().count("bemi-match") == 0


def test_a_match_far_inside_a_long_action_is_shown(admin: Client) -> None:
    execute(LARGE, [200, 9])
    (line,) = lines(admin, "?q=pk:150")
    assert "150" in [change.primary_key for change in line.action.changes]
    assert (line.action.total, len(line.rows)) == (200, 20)


def test_an_action_of_any_size_costs_the_same(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction_spans, "MOST_COUNTED", 100)
    execute(LARGE, [5000, 9])
    record(10)
    execute("ANALYZE changes")
    read: list[int] = []

    def explain(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "FROM" in sql and '"changes"' in sql and sql.lstrip().startswith("SELECT"):
            with connection.cursor() as cursor:
                raw = cursor.cursor
                raw.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                read.extend(rows_read(raw.fetchone()[0][0]["Plan"]))
        return run(sql, params, many, context)

    with connection.execute_wrapper(explain):
        found = lines(admin)
    assert [line.action.total for line in found] == [1, 101]
    assert found[1].action.is_cut
    assert plain(found[1].sentence) == "changed more than 100 todos"
    assert "more than 100 changes" in admin.get(LIST).content.decode()
    assert max(read) <= paging.FIRST_WINDOW, read


def rows_read(plan: dict[str, Any]) -> list[int]:
    """The rows that each part of a plan has read."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    own = int((plan["Actual Rows"] + removed) * plan["Actual Loops"])
    return [own, *(rows for part in plan.get("Plans", ()) for rows in rows_read(part))]


def test_a_page_of_actions_reads_no_table_from_one_end_to_the_other(admin: Client) -> None:
    record_many(30_000)
    found: list[str] = []

    def explain(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if '"changes"' in sql and sql.lstrip().startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"EXPLAIN {sql}", params)
                found.append("\n".join(line for (line,) in cursor.cursor.fetchall()))
        return run(sql, params, many, context)

    with connection.execute_wrapper(explain):
        for query in ("", "?table=tag", "?user=7", "?operation=GAP", "?q=request:r77", "?outside=on"):
            assert admin.get(f"{LIST}{query}").status_code == 200
    assert found
    for plan in found:
        assert "Seq Scan" not in plan, plan


def test_a_page_of_actions_takes_few_queries(admin: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(1, 26):
        todo = Todo.objects.create(task=f"Task {number}")
        tag = Tag.objects.create(name=f"Tag {number}")
        created(number, primary_key=str(todo.pk))
        created(number, 1, table="tag", primary_key=str(tag.pk), after={"id": tag.pk})
    lines(admin)
    with django_assert_max_num_queries(60):
        assert len(lines(admin)) == 25


def only_todos(request: Any, changes: Any) -> Any:
    return changes.filter(table="todo")


def test_one_does_not_see_more_than_in_rows(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_todos"
    record(1)
    record(1, ordinal=1, table="tag", before={"name": "hidden-tag"}, after={"name": "hidden-tag-2"})
    client = visitor("bemi_django.view_change", "todos.view_todo")
    text = client.get(LIST).content.decode()
    assert "hidden-tag" not in text and "Wake up" not in text
    assert said(client) == ["changed task of todo ••••••"]


def test_an_unfinished_search_of_actions_does_not_say_that_nothing_matches(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "WINDOW", 10)
    monkeypatch.setattr(paging, "BUDGET_SECONDS", 0)
    for number in range(1, 31):
        for ordinal in range(3):
            record(number, ordinal=ordinal, operation="DELETE" if number == 2 else "UPDATE")
    text = admin.get(f"{LIST}?operation=DELETE").content.decode()
    assert "No changes match" not in text and "Continue searching" in text
    pages = walk(admin, "?operation=DELETE", "older")
    # The search may go on inside of the transaction.
    assert {number for page in pages for number in page} == {2}


def test_the_switch_leads_to_rows_and_keeps_the_filters(admin: Client) -> None:
    record(1)
    text = admin.get(f"{LIST}?table=todo").content.decode()
    assert '<a href="?table=todo&amp;view=rows">Rows</a>' in text
    text = admin.get(f"{LIST}?table=todo&view=rows").content.decode()
    assert '<a href="?table=todo">Actions</a>' in text
    assert '<input type="hidden" name="view" value="rows">' in text


def test_chosen_filters_are_chips_that_remove_themselves(admin: Client) -> None:
    record(1)
    response = admin.get(f"{LIST}?q=reason%3DBlack+Friday&table=todo&outside=on&view=rows")
    found = [(chip.label, chip.value) for chip in response.context["chips"]]
    assert found == [("Search", "reason=Black Friday"), ("Model", "todos"), ("Outside the application", "")]
    assert response.context["chips"][1].query == "?q=reason%3DBlack+Friday&outside=on&view=rows"
    assert response.context["clear"] == "?view=rows"
    long = admin.get(LIST, {"endpoint": "/" + "x" * 99}).context["chips"][0]
    assert len(long.value) == 61


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("reason=Black Friday", [1]),
        ("reason=Black  Friday", [1]),
        ("reason=Black Friday endpoint=/a/", [1]),
        ("reason=Black Friday task:Sleep", [1]),
        ('reason="Black Friday" 1', [1]),
        ("reason=Black", [2]),
        ("reason=Black Friday endpoint=/b/", []),
    ],
)
def test_a_value_of_the_context_needs_no_quotation_marks(admin: Client, words: str, found: list[int]) -> None:
    record(1, context={"reason": "Black Friday", "endpoint": "/a/"})
    record(2, context={"reason": "Black", "endpoint": "/b/"})
    rows = admin.get(LIST, {"q": words, "view": "rows"}).context["rows"]
    assert [row.change.position // 8 for row in rows] == found


def test_where_nothing_is_found_the_page_says_how_the_words_were_read(admin: Client) -> None:
    record(1)
    text = unescape(admin.get(LIST, {"q": "lamp reason=x y task:z request:7"}).content.decode())
    assert "“lamp” is a primary key, a request id, a transaction id or the id of a change" in text
    assert "reason in the context is “x y”" in text
    assert "the field task was or became “z”" in text
    assert "the request id is “7”" in text


def test_an_unknown_user_is_an_error_at_the_field(admin: Client, django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="Bob", email="Bob@example.com")
    record(1, context={"user_id": user.pk})
    record(2, context={"user_id": "robot"})
    response = admin.get(f"{LIST}?user=nobody")
    assert "No user has the name, e-mail address or key" in response.content.decode()
    assert "No changes match" not in response.content.decode()
    assert response.context["form"].errors.keys() == {"user"}
    assert numbers(admin, "?user=bob") == numbers(admin, "?user=bob@EXAMPLE.com") == [[1]]
    assert numbers(admin, "?user=robot") == [[2]]
    # A user who is deleted, one of whom nothing is recorded, and one who never was.
    quiet = django_user_model.objects.create(username="quiet")
    record(3, context={"user_id": 999999})
    assert numbers(admin, "?user=999999") == [[3]]
    errors = [admin.get(f"{LIST}?user={key}").context["form"].errors for key in (quiet.pk, 888888)]
    assert [error.keys() for error in errors] == [set(), {"user"}]
    text = admin.get(f"{LIST}activity/?user=nobody").content.decode()
    assert "no changes by" in text and "<figure" not in text


def test_every_value_of_a_context_leads_to_the_changes_that_have_it(admin: Client) -> None:
    context = {
        "reason": "Black Friday",
        "user_id": 7,
        "endpoint": "/a/",
        "request_id": "r 1",
        "nested": {"a": [1, None]},
        "quoted": 'say "x"',
        "odd key": True,
        "none": None,
        "empty": "",
        "number": 1.5,
    }
    change = record(1, context=context)
    record(2, context={"user_id": 8})
    page = admin.get(f"{LIST}{change.pk}/change/")
    urls = {line.name: line.url for line in page.context["context"]}
    assert urls.keys() == context.keys()
    assert urls["request_id"] == f"{LIST}request/?id=r+1"
    for name, url in urls.items():
        response = admin.get(url)
        if name == "request_id":
            assert response.context["count"] == 1
        else:
            assert [line.last.pk for line in response.context["actions"]] == [change.pk], (name, url)
    too_long = record(3, context={"text": "x" * 600})
    (line,) = admin.get(f"{LIST}{too_long.pk}/change/").context["context"]
    assert line.url is None


def test_the_actions_of_a_model_leave_out_django_s_own_records(admin_client: Client) -> None:
    context = {"endpoint": "/admin/todos/todo/1/change/", "user_id": 1}
    record(1, context=context)
    record(1, ordinal=1, table="django_admin_log", operation="CREATE", before={}, context=context)
    for query, number in (("?table=todo", 1), ("?table=django_admin_log", 2), ("?table=todo&records=on", 2)):
        (action,) = admin_client.get(f"{LIST}{query}").context["actions"]
        assert action.action.total == number, query
        assert ("log entry" in action.sentence) == (number == 2), query


def test_a_match_is_shown_whose_transaction_is_hidden_behind_another_of_the_same_place(admin: Client) -> None:
    for ordinal in range(30):
        record(1, ordinal=ordinal, database="first")
    record(1, ordinal=30, database="second", transaction_id=2, operation="DELETE")
    (line,) = lines(admin, "?operation=DELETE")
    assert [change.database for change in line.action.changes if change.pk in line.action.matches] == [
        "second"
    ]
