from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bemi_django.capture import comment, context_encoding, context_masks
from bemi_django.capture.warn_once import warn_once
from bemi_django.wire import RESERVED_KEYS

texts = st.text() | st.sampled_from(
    ["*/", "/*", "%s", "%(x)s", "'", "--", "\\", ":name", "?", "$1", "\0", "😀"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def annotate(sql: str, context: dict[str, Any]) -> str:
    return comment.context_comment(sql, context) + sql


def parsed(annotated: str, sql: str) -> dict[str, Any]:
    assert annotated.endswith(sql)
    text = annotated[: len(annotated) - len(sql)]
    assert text.startswith("/*Bemi {") and text.endswith("} Bemi*/ ")
    content: dict[str, Any] = json.loads(text[7:-8])
    return content


@pytest.mark.parametrize("sql", ["DELETE FROM t", "  UPDATE t SET a = 1", "/* a */ CALL p()"])
def test_the_context_stands_in_front_of_the_statement(sql: str) -> None:
    assert parsed(annotate(sql, {"user": 7}), sql) == {"user": 7, "SQL": sql}


@given(st.dictionaries(texts.filter(lambda key: key not in RESERVED_KEYS), values, max_size=4))
def test_any_context_comes_back_equal_from_an_inert_comment(context: dict[str, Any]) -> None:
    # Secrets are masked by the names of their keys.
    assume(all(repr(context_masks.masked(key, value)) == repr(value) for key, value in context.items()))
    sql = "UPDATE t SET a = %s"
    annotated = annotate(sql, context)
    body = annotated[2 : -len(sql) - 3]
    # A slash alone is nothing: no asterisk stands beside it.
    assert not re.search(r"[*%?'$]|:\S|[^\x00-\x7f]|[\x00-\x1f]", body.replace("Bemi*/", "")), body
    found = parsed(annotated, sql)
    assert found.pop("SQL") == sql
    if (
        "\\ud" not in json.dumps(context)
        and "\0" not in repr(context)
        and "\\u0000" not in json.dumps(context)
    ):
        assert found == context


@given(st.dictionaries(st.sampled_from(["SQL", "db_user", "_bemi_skip", "user_id"]), texts, min_size=1))
def test_keys_of_ours_in_a_context_have_another_name(context: dict[str, Any]) -> None:
    found = parsed(annotate("DELETE FROM t", context), "DELETE FROM t")
    assert found.pop("SQL") == "DELETE FROM t"
    assert {key.removeprefix("app_") for key in found} == context.keys()
    assert not {"db_user", "_bemi_skip"} & found.keys()


def test_nul_and_half_surrogates_become_visible_signs() -> None:
    found = parsed(annotate("DELETE FROM t", {"a": "x\0y\ud800z", "b": ["😀"]}), "DELETE FROM t")
    assert found["a"] == "x␀y\N{REPLACEMENT CHARACTER}z"
    assert found["b"] == ["😀"]


def test_what_is_not_json_is_stored_as_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    cycle: list[object] = []
    cycle.append(cycle)
    endless = 10**5000  # Python prints no number as long as this
    context = {"bad": float("nan"), "broken": Broken(), "good": 1, "cycle": cycle, "endless": endless}
    found = parsed(annotate("DELETE FROM t", context), "DELETE FROM t")
    assert found["good"] == 1
    assert found["bad"] == "nan"
    assert found["broken"] == "<Broken>"
    assert found["endless"] == "<int>"


def test_the_largest_values_of_an_oversized_context_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_encoding, "MAX_CONTEXT_CHARACTERS", 100)
    found = parsed(annotate("DELETE FROM t", {"user": 7, "page": "x" * 1000}), "DELETE FROM t")
    assert found == {"user": 7, "_bemi_dropped": ["page"], "SQL": "DELETE FROM t"}


@pytest.mark.parametrize(("room", "dropped"), [(9, ["page"]), (8, ["user", "page"])])
def test_what_just_fits_is_kept(monkeypatch: pytest.MonkeyPatch, room: int, dropped: list[str]) -> None:
    monkeypatch.setattr(context_encoding, "MAX_CONTEXT_CHARACTERS", room)
    found = parsed(annotate("DELETE FROM t", {"user": 7, "page": "x" * 20}), "DELETE FROM t")
    assert found["_bemi_dropped"] == dropped


def test_what_goes_wrong_with_a_context_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    for _ in range(2):
        annotate("DELETE FROM t", {"bad": {1, float("nan")}, "worse": float("inf")})
    assert [record.getMessage() for record in caplog.records] == [
        "a value of a context is not JSON: such values are stored as text"
    ]


@pytest.mark.parametrize(
    ("sql", "short"),
    [
        ("INSERT INTO t VALUES (%s, %s), (%s, %s), (%s, %s)", "INSERT INTO t VALUES (%s, %s), … ×3"),
        (
            "INSERT INTO t VALUES (f(%s)), (f(%s)) RETURNING id",
            "INSERT INTO t VALUES (f(%s)), … ×2 RETURNING id",
        ),
        ("INSERT INTO t VALUES (%(a__0)s), (%(a__1)s)", "INSERT INTO t VALUES (%(a__0)s), … ×2"),
        ("INSERT INTO t VALUES ($1, $2), ($3, $4)", "INSERT INTO t VALUES ($1, $2), … ×2"),
        ("INSERT INTO t VALUES (%s)", "INSERT INTO t VALUES (%s)"),
        ("INSERT INTO t VALUES (%s", "INSERT INTO t VALUES (%s"),
        ("INSERT INTO t DEFAULT VALUES", "INSERT INTO t DEFAULT VALUES"),
    ],
)
def test_a_list_of_like_rows_is_collapsed(sql: str, short: str) -> None:
    assert comment.collapse_values(sql) == short


def test_a_long_statement_is_cut_with_a_mark() -> None:
    sql = "UPDATE t SET a = " + "x" * 10_000
    recorded = parsed(annotate(sql, {}), sql)["SQL"]
    assert recorded == sql[:8192] + "… (cut)"
