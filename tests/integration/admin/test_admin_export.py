"""The filtered list as a file."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from html import unescape
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages import export
from bemi_django.admin.pages.export_rows import COLUMNS, MOMENTS
from bemi_django.masking import sql_literals
from bemi_django.models import Change
from tests.support.audit import LIST, record, record_many, visitor

EXPORT = f"{LIST}export/"


def content(client: Client, query: str) -> bytes:
    response = client.get(f"{EXPORT}{query}")
    assert response.status_code == 200
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def lines(client: Client, query: str = "?format=jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(client, query).splitlines()]


def test_csv_holds_every_column_in_the_order_of_commits(admin_client: Client) -> None:
    changes = [record(1), record(2, after={"task": 'a,"b"\nc'})]
    rows = list(csv.DictReader(io.StringIO(content(admin_client, "?format=csv").decode(), newline="")))
    assert [row["id"] for row in rows] == [str(change.pk) for change in changes]
    assert json.loads(rows[1]["after"]) == {"task": 'a,"b"\nc'}
    assert list(rows[0]) == COLUMNS


@pytest.mark.parametrize("key", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@x", "\tx", "\rx"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(admin_client: Client, key: str) -> None:
    record(1, primary_key=key)
    (row,) = csv.DictReader(io.StringIO(content(admin_client, "?format=csv").decode(), newline=""))
    assert row["primary_key"] == f"'{key}"


def test_json_lines_keep_numbers_exact(admin_client: Client) -> None:
    change = record(1)
    exact = '{"n": 12345678901234567890.123456789012345678901234567890, "i": 9007199254740993}'
    with connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = %s WHERE id = %s", [exact, change.pk])
    (line,) = content(admin_client, "?format=jsonl").decode().splitlines()
    assert "12345678901234567890.123456789012345678901234567890" in line
    assert "9007199254740993" in line


def test_an_export_has_the_filter_of_the_list(admin_client: Client) -> None:
    record(1, table="tag")
    record(2)
    assert [line["table"] for line in lines(admin_client, "?format=jsonl&table=tag")] == ["tag"]
    response = admin_client.get(f"{LIST}?view=rows&table=tag&older={record(3).pk}")
    assert "export/?table=tag&amp;format=jsonl" in response.content.decode()


def test_parquet_has_types_and_opens(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an optional part")
    monkeypatch.setattr(export, "BATCH", 2)
    changes = [record(number) for number in range(1, 6)]
    file = parquet.ParquetFile(io.BytesIO(content(admin_client, "?format=parquet")))
    table = file.read()
    assert file.num_row_groups == 3
    assert table.column("id").to_pylist() == [str(change.pk) for change in changes]
    assert table.column("committed_at").to_pylist() == [change.committed_at for change in changes]
    assert table.column("position").to_pylist() == [8, 16, 24, 32, 40]
    assert json.loads(table.column("after").to_pylist()[0]) == changes[0].after


def test_without_pyarrow_parquet_is_not_offered_and_says_what_to_install(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    record(1)
    response = admin_client.get(f"{EXPORT}?format=parquet")
    assert response.status_code == 400
    assert "pip install 'bemi-django-wal[parquet]'" in unescape(response.content.decode())
    assert "Parquet" not in admin_client.get(LIST).content.decode()


def test_a_file_is_written_while_the_log_is_read(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BATCH", 100)
    record_many(1000)
    response: Any = admin_client.get(f"{EXPORT}?format=jsonl")
    parts = iter(response.streaming_content)
    first = next(parts)
    assert len(first.splitlines()) == 100
    record(5000)
    rest = b"".join(parts)
    assert len(rest.splitlines()) == 900, "what came later is left out"


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_empty_list_is_a_file_too(admin_client: Client, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet is an optional part")
    record(1)
    content(admin_client, f"?format={format}&q=nothing")


@pytest.mark.parametrize("query", ["?format=xml", "?format=csv&q={", "?format=csv&since=x"])
def test_what_cannot_be_exported_is_said(admin_client: Client, query: str) -> None:
    for number in range(60):
        record(number + 1)
    response = admin_client.get(f"{EXPORT}{query}")
    text = response.content.decode()
    assert response.status_code == 400
    assert "Nothing was exported." in text
    # It is the list with its form, whose links do not lead back to the export.
    assert f'action="{LIST}"' in text
    assert 'href="?' not in text


def test_a_refusal_repeats_no_markup(admin_client: Client) -> None:
    response = admin_client.get(EXPORT, {"operation": "<script>alert(1)</script>"})
    assert "alert(1)" in response.content.decode()
    assert "<script>alert" not in response.content.decode()


def test_exporting_needs_a_permission_of_its_own(db: None) -> None:
    record(1)
    viewer = visitor("bemi_django.view_change")
    assert viewer.get(EXPORT).status_code == 403
    assert "format=csv" not in viewer.get(LIST).content.decode()
    exporter = visitor("bemi_django.view_change", "bemi_django.export_change", name="bob")
    assert len(lines(exporter)) == 1


@pytest.mark.django_db(transaction=True)
def test_under_asgi_it_is_streamed_too() -> None:
    record(1)
    user = get_user_model().objects.create_superuser("ann", password="x")

    async def exported() -> list[bytes]:
        client = AsyncClient()
        await sync_to_async(client.force_login)(user)
        response: Any = await client.get(f"{EXPORT}?format=jsonl")
        parts = [part async for part in response.streaming_content]
        await sync_to_async(connections.close_all)()
        return parts

    assert json.loads(b"".join(asyncio.run(exported())))["operation"] == "UPDATE"


def test_no_encoder_is_made_and_no_statement_is_redacted_again_for_a_row(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task", "context->user_id"]
    statement = "UPDATE todo SET task = 'secret of the rows' WHERE id = %s"
    for number in range(1, 41):
        record(number, context={"user_id": 7, "SQL": statement, "request_id": f"r{number}"})
    exporter = visitor("bemi_django.view_change", "bemi_django.export_change")
    made: list[Any] = []
    redacted: list[str] = []
    original, redact = json.JSONEncoder.__init__, sql_literals._redacted

    def counted(self: Any, **options: Any) -> None:
        made.append(self)
        original(self, **options)

    def noted(text: str, mask: str) -> Any:
        redacted.append(text)
        return redact(text, mask)

    monkeypatch.setattr(json.JSONEncoder, "__init__", counted)
    monkeypatch.setattr(sql_literals, "_redacted", noted)
    few = 10
    for format in ("csv", "jsonl"):
        assert b"secret" not in content(exporter, f"?format={format}")
    assert len(made) < few and redacted.count(statement) == 1


def test_a_thousand_changes_more_take_as_many_queries(
    db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task", "context->endpoint"]
    monkeypatch.setattr(export, "BATCH", 100)
    exporter = visitor("bemi_django.view_change", "bemi_django.export_change")
    record_many(400)
    numbers = []
    for rows in (400, 300, 200):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM changes WHERE position > %s", [rows * 8])
        with CaptureQueriesContext(connection) as queries:
            assert len(lines(exporter)) == rows
        numbers.append(len(queries))
    assert numbers[0] - numbers[1] == numbers[1] - numbers[2] < 10


HARD_ROWS: list[dict[str, Any]] = [
    {"id": 1, "task": "Sleep", "note": '"task": 1, {'},
    {"id": 1, "task": None},
    {"id": 1, "task": ["a", "b"], "other": 2},
    {"id": 1, "task": {"task": 1}, "json": {"task": 2, "deep": [{"task": 3}]}},
    {"id": 1, 'a"task': "kept", "task": "hidden"},
    {"id": 1, 'a"task': "kept"},
    {"id": 1, "a.task": "hidden by todo.a.task", "task": 'with "quotes" and \\'},
    {"id": 1, "key": "task", "list": ["task"]},
    {},
]
HARD_CONTEXTS: list[dict[str, Any]] = [
    {"SQL": "UPDATE todo SET task = 'secret' WHERE id = 7", "user_id": 7},
    {"SQL": "SELECT 1", "user_id": {"SQL": "SELECT 2"}, "inner": {"user_id": 3, "SQL": "SELECT 3"}},
    {"_bemi_invalid": "{'a': secret", "SQL": 5},
    {'a"SQL': "SELECT 4"},
]


@pytest.mark.parametrize(
    "patterns",
    [
        ["todo.task"],
        ["public.todo.task", "context->user_id"],
        ["todo.t*", "context->inner->*"],
        ["*.task", "todo.a.task"],
        ["tag.task"],
        ["todo.id"],
        ["context->**->user_id"],
    ],
)
def test_an_export_has_what_the_pages_show(db: None, settings: Any, patterns: list[str]) -> None:
    settings.BEMI_MASKED_FIELDS = patterns
    for number, row in enumerate(HARD_ROWS, 1):
        context = HARD_CONTEXTS[number % len(HARD_CONTEXTS)]
        table = "unknown" if number % 4 == 0 else "todo"
        record(number, before=row, after=HARD_ROWS[-number], context=context, table=table)
    exporter = visitor("bemi_django.view_change", "bemi_django.export_change")
    request: Any = RequestFactory().get("/")
    request.user = get_user_model().objects.get(username="ann")
    viewer = Viewer(request, admin.site)
    shown = [viewer.record(change) for change in Change.objects.order_by("id")]
    for record_shown, line in zip(shown, lines(exporter), strict=True):
        assert line == {name: line[name] if name in MOMENTS else record_shown[name] for name in COLUMNS}
    rows = csv.DictReader(io.StringIO(content(exporter, "?format=csv").decode(), newline=""))
    for record_shown, cells in zip(shown, rows, strict=True):
        for name in ("before", "after", "context"):
            assert json.loads(cells[name]) == record_shown[name]
        assert cells["primary_key"] == record_shown["primary_key"]


def test_values_that_are_nested_too_deeply_are_cut_where_something_is_masked(db: None, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    change = record(1)
    deep = f'{{"task": "secret", "json": {{"a": {"[" * 3000}{"]" * 3000}}}}}'
    with connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = %s WHERE id = %s", [deep, change.pk])
    (line,) = lines(visitor("bemi_django.view_change", "bemi_django.export_change"))
    assert "secret" not in json.dumps(line) and line["before"]["task"] == "••••••"
    assert line["after"] == {"(nested too deeply to be read)": None}
