"""Statements whose text does not say what they write are stored without literals, however they begin."""

from __future__ import annotations

import pytest

from bemi_django.masking.contexts import ContextMasks
from bemi_django.masking.settings import rules_of

MASKS = ContextMasks(rules_of({"account.card": "partial"}, None), tables={"account"}.intersection)


@pytest.mark.parametrize(
    "sql",
    [
        "EXECUTE put('hidden')",
        "EXPLAIN ANALYZE EXECUTE put('hidden')",
        "EXPLAIN (ANALYZE) SELECT put('hidden')",
        "SELECT put('hidden')",
        "/* of a view */ SELECT put('hidden')",
        "-- of a view\nSELECT put('hidden')",
        "(SELECT put('hidden'))",
        "VALUES (put('hidden'))",
        "WITH one AS (SELECT put('hidden')) SELECT * FROM one",
        "BEGIN; SELECT put('hidden')",
        "UPDATE load SET n = 1; SELECT put('hidden')",
        "DECLARE c CURSOR FOR SELECT put('hidden')",
        "COPY (SELECT put('hidden')) TO STDOUT",
        "CREATE TABLE made AS EXECUTE put('hidden')",
        "SELECT \"put\"('hidden')",
        "SELECT put/**/('hidden')",
        "SELECT 'hidden' |> 1",
        "CALL put('hidden')",
        "DO $$ BEGIN PERFORM put('hidden'); END $$",
        r"UPDATE load SET n = '\\'; SELECT put('hidden')",
    ],
)
def test_what_functions_get_is_not_stored(sql: str) -> None:
    assert "hidden" not in MASKS.statement(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO load VALUES (1, 'shown; SELECT 1')",
        "UPDATE load SET n = 'shown' WHERE id IN (SELECT 1)",
        "/* of a view */ DELETE FROM load WHERE n = 'shown'",
        "BEGIN; UPDATE load SET n = 'shown'; COMMIT",
        "SET CONSTRAINTS ALL IMMEDIATE; UPDATE load SET n = 'shown'",
        "WITH one AS (SELECT 1) INSERT INTO load VALUES ('shown')",
        "EXPLAIN ANALYZE UPDATE load SET n = 'shown'",
        "DO $$ BEGIN INSERT INTO load VALUES ('shown'); END $$",
    ],
)
def test_what_is_written_to_other_tables_is_stored(sql: str) -> None:
    assert MASKS.statement(sql) == sql
