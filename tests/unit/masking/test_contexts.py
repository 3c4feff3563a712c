"""What is left of contexts, and of the statements in them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest

from bemi_django.masking import contexts
from bemi_django.masking.contexts import ContextMasks
from bemi_django.masking.rules import DEFAULT, NOTHING
from bemi_django.masking.settings import rules_of

KEY = "0123456789abcdef"


def masked(context: dict[str, Any], mask: dict[str, Any] | None = None, **options: Any) -> Any:
    masks = ContextMasks(rules_of(mask or {}, KEY), tables={"u"}.intersection)
    return orjson.loads(masks.masked(orjson.dumps(context), **options))


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("UPDATE t SET a = 'x' WHERE id = 5", "UPDATE t SET a = 'x' WHERE id = 5"),
        ("UPDATE u SET password = 'x' WHERE id = 5", "UPDATE u SET password = *** WHERE id = ***"),
        ("UPDATE u SET \"Password\" = E'x\\'y' -- z", 'UPDATE u SET "Password" = *** ***'),
        ("UPDATE v SET password_changed_at = '2024'", "UPDATE v SET password_changed_at = '2024'"),
        ("INSERT INTO authtoken_token VALUES ('x', 5)", "INSERT INTO authtoken_token VALUES (***, ***)"),
        ("INSERT INTO people VALUES (1, 'Ann')", "INSERT INTO people VALUES (***, ***)"),
        ("UPDATE p SET card = $1", "UPDATE p SET card = $1"),
        ("UPDATE p SET card = '4111'", "UPDATE p SET card = ***"),
        ("UPDATE p SET CARD = '4111'", "UPDATE p SET CARD = ***"),
        ("SELECT set_secret('x')", "SELECT set_secret(***)"),
        ("SELECT f('x')", "SELECT f(***)"),
        ("DO $$ begin update u set x = 'y'; end $$", "DO ***"),
        ("DO $$ begin update t set x = 'y'; end $$", "DO $$ begin update t set x = 'y'; end $$"),
        ("DO $$ begin perform f('y'); end $$", "DO ***"),
        ("WITH w AS (SELECT 'x' n) UPDATE t SET a = n", "WITH w AS (SELECT 'x' n) UPDATE t SET a = n"),
        ("INSERT INTO a VALUES (1); INSERT INTO u VALUES ('x')",
         "INSERT INTO a VALUES (***); INSERT INTO u VALUES (***)"),
        ("WITH w AS (INSERT INTO u VALUES ('x')) DELETE FROM t",
         "WITH w AS (INSERT INTO u VALUES (***)) DELETE FROM t"),
        ("UPDATE u SET U&\"\\0070in\" = 'x'", "UPDATE u SET U&\"\\0070in\" = ***"),
        ("INSERT INTO t VALUES ('" + "x" * 9000, "INSERT INTO t VALUES (***"),
    ],
)  # fmt: skip
def test_literals_of_statements_that_may_touch_a_secret_are_removed(sql: str, shown: str) -> None:
    mask = {"people.*": "drop", "*.card": "hash"}
    assert masked({"SQL": sql}, mask) == {"SQL": shown}


def test_literals_are_removed_if_the_table_is_known_to_have_masked_columns() -> None:
    sql = "INSERT INTO v VALUES ('x')"
    assert masked({"SQL": sql})["SQL"] == sql
    assert masked({"SQL": sql}, is_touching=True)["SQL"] == "INSERT INTO v VALUES (***)"


@pytest.mark.parametrize(
    "sql",
    [
        # Triggers of it may write to others, whose rows have the same text.
        "INSERT INTO u VALUES ('hidden')",
        "INSERT INTO ONLY.u VALUES ('hidden')",
        "UPDATE ONLY u SET a = 'hidden'",
        "UPDATE ONLY (u) SET a = 'hidden'",
        "DELETE FROM \"U\" WHERE a = 'hidden'",
        "COPY p . u FROM STDIN WHERE a = 'hidden'",
        "MERGE INTO u USING v ON true WHEN MATCHED THEN UPDATE SET a = 'hidden'",
        "UPDATE /* u */ u SET a = 'hidden'",
        "UPDATE d.p.u SET a = 'hidden'",
        "INSERT INTO v VALUES (1); INSERT INTO \"odd table\" VALUES ('hidden')",
        "INSERT INTO v VALUES ('\"'); INSERT INTO \"odd table\" VALUES ('hidden')",
        "INSERT INTO \"odd table\" VALUES ('hidden')",
        'INSERT INTO "a""b" VALUES (\'hidden\')',
        "INSERT INTO v/**/.u VALUES ('hidden')",
        "INSERT INTO v /* . */ . u VALUES ('hidden')",
        "UPDATE v -- .\n . u SET a = 'hidden'",
        "COPY BINARY u FROM STDIN WHERE a = 'hidden'",
        "INSERT INTO v VALUES (1); INSERT INTO cost$€ VALUES ('hidden')",
        "INSERT INTO cost$€ VALUES ('hidden')",
    ],
)
def test_literals_are_removed_if_a_table_with_masked_columns_is_written_to(sql: str) -> None:
    masks = ContextMasks(DEFAULT, tables={"u", "odd table", 'a"b', "cost$€"}.intersection)
    assert "hidden" not in masks.statement(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE v SET u = 'shown'",
        'UPDATE "v" SET "u" = \'shown\' FROM u',
        "INSERT INTO p.v VALUES ('u shown')",
        "MERGE INTO v USING w ON true WHEN MATCHED THEN UPDATE SET a = 'shown'",
    ],
)
def test_literals_for_other_tables_stay(sql: str) -> None:
    masks = ContextMasks(DEFAULT, tables={"u"}.intersection)
    assert masks.statement(sql) == sql


def test_keys_are_masked_at_any_depth() -> None:
    context = {
        "user": {"email": "ann@example.com", "password": "x", "n": 1},
        "list": [{"apiKey": 5}],
        "token": None,
    }
    mask = {"context->user->email": "hash", "context->user->n": "drop"}
    found = masked(context, mask)
    assert found["user"].pop("email").startswith("hmac:")
    assert found == {"user": {"password": "***", "n": "***"}, "list": [{"apiKey": "***"}], "token": None}
    assert masked({"token": "x"}, {"context->token": "keep"}) == {"token": "x"}
    assert masked({"token": "x"}, {"context->**": "keep"}) == {"token": "x"}


def test_what_is_remembered_of_names_is_of_the_place_where_they_stand() -> None:
    masks = ContextMasks(rules_of({"context->user->n": "drop"}, KEY))
    many = {f"n{number}": number for number in range(100)}
    shown: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"n": 1, "user": {}}, {"n": 1, "user": {}}),
        ({"n": 1, "user": {"n": 2}}, {"n": 1, "user": {"n": "***"}}),
        ({"n": {"n": 2}, "user": 1}, {"n": {"n": 2}, "user": 1}),
        (many, many),
        ({**many, "password": "x"}, {**many, "password": "***"}),
    ]
    for context, expected in [*shown, *shown]:
        content = orjson.dumps(context)
        # What was read of it is not changed.
        assert orjson.loads(masks.masked(content)) == orjson.loads(masks.masked(content)) == expected


def test_large_names_and_words_are_not_remembered() -> None:
    masks = ContextMasks(DEFAULT)
    tracemalloc.start()
    try:
        for number in range(30):
            large = f"{number}{'x' * 100_000}"
            for context in ({large: 1}, {"a": {large: 1}}, {"_bemi_invalid": large}):
                assert orjson.loads(masks.masked(orjson.dumps(context))) == context
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


def test_a_statement_that_comes_again_is_judged_by_the_tables_that_there_are_then() -> None:
    tables: set[str] = set()
    masks = ContextMasks(DEFAULT, tables=tables.intersection)
    sql = "INSERT INTO a VALUES (1); INSERT INTO u VALUES ('x')"
    assert not masks.touches(sql)
    tables.add("u")
    assert masks.touches(sql)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a": 1', '{"a": 1'),
        ('{"password": "x', "***"),
        ('{"p\\u0061ssword": "x', "***"),
        ("user=1", "user=1"),
    ],
)
def test_a_context_that_could_not_be_read_is_kept_if_it_mentions_no_secret(text: str, shown: str) -> None:
    assert masked({"_bemi_invalid": text}) == {"_bemi_invalid": shown}
    assert masked({"_bemi_invalid": text}, is_touching=True) == {"_bemi_invalid": "***"}


def test_digits_are_kept() -> None:
    content = b'{"n": 12345678901234567890123.10, "password": "x"}'
    assert ContextMasks(DEFAULT).masked(content) == b'{"n":12345678901234567890123.10,"password":"***"}'


@pytest.mark.parametrize("content", [b"{}", b'{"user_id": 7,"SQL": "UPDATE t SET a = 5"}', b'{"n": 1e400}'])
def test_a_context_without_secrets_is_the_same_object(content: bytes) -> None:
    assert ContextMasks(DEFAULT).masked(content) is content
    secret = b'{"password": "x"}'
    assert ContextMasks(NOTHING).masked(secret) is secret


def test_a_message_that_cannot_be_read_is_searched_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = ContextMasks(DEFAULT)
    assert [masks.may_be_in(text) for text in (b"[harmless", b"[password")] == [False, True]
    monkeypatch.setattr(contexts, "MAX_CONTEXT_CHARACTERS", 4)
    assert masks.may_be_in(b"[harmless") and not ContextMasks(NOTHING).may_be_in(b"[harmless")
