"""Questions to the archive."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError

from tests.integration.archive.conftest import Bemi
from tests.support.old_months import SECOND, write

COUNT = "SELECT count(*) FROM changes WHERE "
EXACT = '{"n": 12345678901234567890.123456789012345678901234567890, "t": "a\\u001b[31m\\nb"}'


@pytest.fixture
def ask(bemi: Bemi) -> Bemi:
    """Ask an archive of two months."""
    write(1, after=EXACT, unavailable=None)
    write(2, operation="DELETE", unavailable="null")
    write(3, SECOND, table="tag")
    bemi("archive", "--before", "2003-07", "--keep")
    return lambda *arguments: bemi("archive", "query", *arguments)


def test_the_columns_are_those_of_the_log_with_its_types(ask: Bemi) -> None:
    query = (
        "SELECT id, committed_at, after, unavailable, transaction_id, diverged FROM changes ORDER BY position"
    )
    first, second, _ = map(json.loads, ask(query, "--json").splitlines())
    assert first["committed_at"] == "2003-05-03 12:00:01.123456+00"
    assert (first["transaction_id"], first["diverged"]) == (1, False)
    assert first["id"].endswith("00000001")
    assert "12345678901234567890.123456789012345678901234567890" in ask(query, "--json")
    assert (first["unavailable"], second["unavailable"]) == (None, None)
    nulls = "SELECT count(*) FILTER (unavailable IS NULL) AS nulls, count(*) AS all_of_them FROM changes"
    assert json.loads(ask(nulls, "--json")) == {"nulls": 2, "all_of_them": 3}


def test_json_times_and_ids_are_asked_as_in_the_log(ask: Bemi) -> None:
    def count(condition: str) -> str:
        rows = list(csv.reader(io.StringIO(ask(COUNT + condition, "--csv"))))
        return rows[1][0]

    assert count("committed_at >= '2003-06-01'") == "1"
    assert count("context->>'user_id' = '7' AND \"table\" = 'todo'") == "2"
    assert count("after->>'task' = 'Wake up'") == "2"
    assert count("id = (SELECT max(id) FROM changes)") == "1"
    assert count("date_trunc('month', committed_at) = '2003-05-01'") == "2"


def test_a_table_shows_no_control_characters(ask: Bemi) -> None:
    printed = ask("SELECT position, after->>'t' AS \"t\x1b\" FROM changes ORDER BY position")
    assert "\x1b" not in printed and "a\\x1b[31m\\nb" in printed
    lines = printed.splitlines()
    assert lines[0].split() == ["position", "|", "t\\x1b"] and lines[-1] == "(3 rows)"
    assert len(lines) == 6


def test_csv_and_json_hold_any_type(ask: Bemi) -> None:
    query = (
        "SELECT 'a,\"b\n'::VARCHAR AS t, 'inf'::DOUBLE AS d, '\\xAA'::BLOB AS b, [1, NULL] AS l, "
        "{'x': true} AS s, "
        "170141183460469231731687303715884105727 AS h, 1.50::DECIMAL(5, 2) AS m, DATE '2003-05-01' AS day, "
        "NULL AS nothing, true AS yes, '=1+1' AS formula, "
        # What Python's moments do not have.
        "'-infinity'::DATE AS past, 'infinity'::TIMESTAMPTZ AS never, '0044-03-15 (BC)'::TIMESTAMP AS ides, "
        "TIME '24:00:00' AS midnight, INTERVAL '2 years' AS term, "
        "{'a b': ['infinity'::DATE], 'n': 1} AS nested; -- ;"
    )
    (row,) = csv.DictReader(io.StringIO(ask(query, "--csv"), newline=""))
    assert row == {
        "t": 'a,"b\n', "d": "inf", "b": "\\xaa", "l": "[1, null]", "s": '{"x": true}',
        "h": "170141183460469231731687303715884105727", "m": "1.50", "day": "2003-05-01", "nothing": "",
        "yes": "true", "formula": "=1+1", "past": "-infinity", "never": "infinity",
        "ides": "0044-03-15 (BC) 00:00:00", "midnight": "24:00:00", "term": "2 years",
        "nested": '{"a b": ["infinity"], "n": 1}',
    }  # fmt: skip
    found = json.loads(ask(query, "--json"))
    assert found["h"] == 170141183460469231731687303715884105727
    assert (found["d"], found["l"], found["s"], found["nothing"]) == ("inf", [1, None], {"x": True}, None)
    assert (found["never"], found["nested"]) == ("infinity", {"a b": ["infinity"], "n": 1})


def test_csv_and_json_hold_any_character(ask: Bemi) -> None:
    for text in ("a\u200f\u202e\x7f\x85\x1b\rb", "a\nb"):
        query = f"SELECT '{text}' AS t"
        (row,) = csv.DictReader(io.StringIO(ask(query, "--csv"), newline=""))
        assert row["t"] == json.loads(ask(query, "--json"))["t"] == text


def test_a_month_without_a_manifest_is_not_asked(ask: Bemi, tmp_path: Path) -> None:
    (tmp_path / "archive" / SECOND / "manifest.json").unlink()
    (tmp_path / "archive" / "notes").mkdir()
    assert "(2 rows)" in ask("SELECT id FROM changes")


REFUSED = [
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM '{file}'",
    "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
    "SELECT * FROM glob('/*')",
    "COPY (SELECT 1) TO '{made}'",
    "EXPORT DATABASE '{made}'",
    "ATTACH '{made}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "CREATE TABLE t AS SELECT 1",
    "DROP VIEW changes",
    "SELECT 1; SELECT 2",
    "SELECT * FROM location",
    "SELECT getenv('HOME')",
    "SELECT no FROM changes",
    "SELECT",
    "",
]


def test_nothing_but_the_archive_can_be_read_and_nothing_written(ask: Bemi, tmp_path: Path) -> None:
    secret, made = tmp_path / "secret.csv", tmp_path / "made"
    secret.write_text("a\nsecret\n")
    for query in REFUSED:
        with pytest.raises(CommandError) as refused:
            ask(query.format(file=secret, made=made))
        assert "archive" in str(refused.value) and "\n" not in str(refused.value)
        assert not made.exists() and "secret\n" not in str(refused.value)
    assert "(3 rows)" in ask("SELECT id FROM changes")
