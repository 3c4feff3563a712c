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
        "INSERT INTO load VALUES (1, put('hidden'))",
        "UPDATE load SET n = md5('hidden')",
        "UPDATE load SET n = encode(pg_catalog.sha256('hidden'), 'hex')",
        "INSERT INTO load (id, n) SELECT 1, v.n FROM (VALUES ('hidden')) AS v (n), put(v.n)",
        "UPDATE load SET n = public.put('hidden')",
        "UPDATE load SET n = public.lower('hidden')",
        "UPDATE load SET n = lower ( \"put\" ( 'hidden' ) )",
        "UPDATE load SET n = (ROW ('hidden')::pair).put",
        "DELETE FROM load WHERE put/* */('hidden') IS NULL",
        r"DELETE FROM load WHERE put/* */('it\'s hidden') IS NULL",
        "MERGE INTO load l USING put('hidden') v ON v.id = l.id WHEN MATCHED THEN DELETE",
        "WITH one AS (SELECT put('hidden')) INSERT INTO load SELECT 1",
        "WITH one (id) AS (SELECT put('hidden')) DELETE FROM load",
        "EXPLAIN ANALYZE UPDATE load SET n = put('hidden')",
        "SELECT 1; UPDATE load SET n = put('hidden')",
        "UPDATE load SET n = 1 FROM put('hidden') AS (a int)",
        "DO $$ DECLARE n int; BEGIN n := put('hidden'); UPDATE load SET n = 1; END $$",
        "DO $$ BEGIN IF put('hidden') THEN UPDATE load SET n = 1; END IF; END $$",
        "INSERT INTO load VALUES (1, pg_catalog.query_to_xml('UPDATE account SET hidden', true, true, ''))",
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
        """INSERT INTO "public"."load" ("id", "n") VALUES (1, 'shown') ON CONFLICT ("id") DO NOTHING""",
        "INSERT INTO load (id, n) VALUES (1, pg_catalog.lower('put(shown)')), (2, now()::text)",
        "INSERT INTO load AS l (id) VALUES ('shown') ON CONFLICT (id) DO UPDATE SET (id, n) = ROW (1, 2)",
        "UPDATE load SET n = CAST('shown' AS numeric(10, 2)) WHERE (id) IN ('1') AND NOT (id = ANY (%s))",
        "WITH one (id) AS MATERIALIZED (SELECT 1), b(id) AS (VALUES (1)) DELETE FROM load WHERE n = 'shown'",
        "UPDATE load SET n = v.n FROM (VALUES (1, 'shown')) v(id, n) WHERE v.id = load.id RETURNING (load.n)",
        "UPDATE load SET n = CASE WHEN (id > 1) THEN ('shown') ELSE (n) END WHERE EXISTS (SELECT FROM load)",
        "MERGE INTO load USING (VALUES (1)) AS v (id) ON (v.id = load.id) WHEN NOT MATCHED THEN "
        "INSERT (id, n) VALUES (1, 'shown')",
    ],
)
def test_what_is_written_to_other_tables_is_stored(sql: str) -> None:
    assert MASKS.statement(sql) == sql
