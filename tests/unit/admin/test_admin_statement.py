"""SQL to read, and SQL to run again."""

from __future__ import annotations

from bemi_django.admin.display.sql_text import LONGEST, format_sql, replay_sql


def test_a_statement_is_laid_out() -> None:
    assert format_sql("select a from b where c = 1").splitlines() == ["SELECT a", "FROM b", "WHERE c = 1"]


def test_a_very_long_statement_stays_as_it_is() -> None:
    long = "select " + "a, " * LONGEST + "a"
    assert format_sql(long) == long


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
