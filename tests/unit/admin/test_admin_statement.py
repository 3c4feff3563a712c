"""SQL to read, and SQL to run again."""

from __future__ import annotations

from typing import Any

import pytest
import sqlparse

from bemi_django.admin.display.sql_text import LONGEST, Statements, format_sql, replay_sql


def test_a_statement_is_laid_out() -> None:
    assert format_sql("select a from b where c = 1").splitlines() == ["SELECT a", "FROM b", "WHERE c = 1"]


def test_a_very_long_statement_stays_as_it_is() -> None:
    long = "select " + "a, " * LONGEST + "a"
    assert format_sql(long) == long


def test_a_page_formats_so_much_and_equal_statements_once(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted: list[str] = []

    def count(statement: str, **options: Any) -> str:
        formatted.append(statement)
        return sqlparse_format(statement, **options)

    sqlparse_format = sqlparse.format
    monkeypatch.setattr(sqlparse, "format", count)
    statements = Statements()
    texts = [f"vacuum a{number}, {'a' * 500}" for number in range(200)]
    shown = [statements.format(text) for text in texts * 3]
    assert len(formatted) == len(set(formatted)) and 30 < len(formatted) < 45
    assert sum(map(len, formatted)) <= LONGEST
    assert shown[0] == format_sql(texts[0]) != texts[0] and shown[199] == texts[199]
    assert shown[:200] == shown[200:400] == shown[400:]
    # What is too long leaves the others their share.
    statements = Statements()
    assert statements.format("select " * LONGEST) == "select " * LONGEST
    assert statements.format(texts[0]) == shown[0]


def test_names_and_values_are_quoted() -> None:
    row = {'a"b': "it's \\ new"}
    assert replay_sql("CREATE", "s", 't"x', {}, row) == (
        'INSERT INTO "s"."t""x" ("a""b")\nSELECT "a""b"\n'
        'FROM jsonb_populate_record(NULL::"s"."t""x", E\'{"a\\\\"b": "it\'\'s \\\\\\\\ new"}\');'
    )


def test_what_is_no_change_of_a_row_has_no_statement() -> None:
    assert replay_sql("GAP", "", "", {}, {}) is None
    assert replay_sql("UPDATE", "s", "t", {"a": 1}, {"a": 1}) is None
    assert replay_sql("TRUNCATE", "s", "t", {}, {}) == 'TRUNCATE "s"."t";'
