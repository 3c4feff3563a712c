from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.capture import statement
from bemi_django.capture.statement import first_words, is_write

WRITES = [
    "INSERT INTO t VALUES (1)",
    "  \n\tupdate t set a = 1",
    "-- why\nDELETE FROM t",
    "/* why */ /* and */ MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
    "TRUNCATE t",
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
    "WITH t AS (SELECT 1 FROM u FOR UPDATE) UPDATE t SET a = 1",
    "CALL p()",
    "DO $$ BEGIN END $$",
    "COPY t FROM STDIN",
    "/* a /* b */ c */ UPDATE t SET a = 1",
    "/*/* a */ b **//*/ c */ -- d\r DELETE FROM t",
    "/* a '*/ -- ' /*\n/**/ INSERT INTO t VALUES (1)",
    "EXECUTE p('x')",
    "EXPLAIN ANALYZE DELETE FROM t",
    "explain (verbose, analyze) update t set a = 1",
    "EXPLAIN (ANALYZE) EXECUTE p",
    "EXPLAIN /* a */ ANALYSE VERBOSE WITH x AS (DELETE FROM t RETURNING 1) SELECT 1",
    "EXPLAIN ANALYZE (WITH x AS (DELETE FROM t RETURNING 1) SELECT 1)",
    "(WITH x AS (UPDATE t SET a = 1 RETURNING 1) SELECT 1)",
    "( /* a */ (WITH x AS (UPDATE t SET a = 1 RETURNING 1) SELECT 1))",
    "; UPDATE t SET a = 1",
    ";;-- a\n; ; UPDATE t SET a = 1",
    "SELECT 1; UPDATE t SET a = 1",
    "SELECT 'a'';'; UPDATE t SET a = 1",
    r"SELECT E'\''; UPDATE t SET a = 1 WHERE b = ''",
    r"SELECT E'a''\''; UPDATE t SET a = 1 WHERE b = ''",
    r"SELECT '\'; UPDATE t SET a = ''",
    'SELECT 1 AS "a"";"; UPDATE t SET a = 1',
    "SELECT $$ ' $$; UPDATE t SET a = ''",
    "SELECT $a$ $$ ' $b$ $a$; UPDATE t SET a = $$;$$",
    "SELECT a$b$ FROM t; UPDATE t SET a$b$ = 1",
    "SELECT 1 -- '\n; UPDATE t SET a = ''",
    "SELECT 1 /* ' /* ; */ ' */; UPDATE t SET a = ''",
    "TABLE t; UPDATE t SET a = 1",
    "BEGIN; UPDATE t SET a = 1; COMMIT",
    "CREATE TABLE c (a int); INSERT INTO c VALUES (1)",
    "SET LOCAL lock_timeout = 1; UPDATE t SET a = 1",
    "LOCK TABLE t; DELETE FROM t",
    "PREPARE p AS UPDATE t SET a = 1; EXECUTE p",
    "A STATEMENT THAT NOBODY KNOWS YET",
]
OTHERS = [
    "",
    " ",
    ";",
    " ; -- a\n ; /* b */",
    "SELECT 1",
    "select 1",
    "(SELECT 1)",
    "SELECT 1;",
    "SELECT 1; SELECT 2",
    "SELECT '; UPDATE t SET a = 1'",
    r"SELECT E'\'; UPDATE t SET a = 1'",
    r"SELECT E'''\'; UPDATE t SET a = 1'",
    'SELECT 1 AS "; UPDATE t"',
    "SELECT $$; UPDATE t SET a = 1$$",
    "SELECT $a$; $$ UPDATE t SET a = 1$a$",
    "SELECT 1 /* ; /* */ UPDATE t */",
    "SELECT 1 -- ; UPDATE t",
    "SELECT '; UPDATE t SET a = 1",
    "WITH t AS (SELECT 1) SELECT * FROM t",
    "WITH t AS (SELECT 1 FROM u FOR UPDATE) SELECT * FROM t",
    "with t as (select 1 from u for no key\nupdate) select * from t",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN (ANALYZE, BUFFERS) SELECT 1",
    "EXPLAIN UPDATE t SET a = 1",
    "EXPLAIN VERBOSE DELETE FROM t",
    "SAVEPOINT s",
    "SET TRANSACTION READ ONLY",
    "VACUUM t",
    "/* UPDATE */ SELECT 1",
    "-- DELETE",
    "DECLARE c CURSOR FOR SELECT 1",
    "PREPARE p AS UPDATE t SET a = 1",
    "/* a /* b */ UPDATE t SET a = 1",
    "/* a /* b */ UPDATE t */ SELECT 1",
    "/*/ UPDATE t SET a = 1",
]


@pytest.mark.parametrize("sql", WRITES)
def test_a_statement_that_may_write_is_recognised(sql: str) -> None:
    assert is_write(sql)


@pytest.mark.parametrize("sql", OTHERS)
def test_a_statement_that_only_reads_is_recognised(sql: str) -> None:
    assert not is_write(sql)


FIRST_WORDS = {
    "commit": [("COMMIT", "")],
    "": [("", "")],
    ";": [("", ""), ("", "")],
    "-- a\n(Prepare /* b */ transaction 'c')": [("PREPARE", "TRANSACTION")],
    "ROLLBACK TO a; ROLLBACK": [("ROLLBACK", "TO"), ("ROLLBACK", "")],
    "SELECT ';'; END--": [("SELECT", ""), ("END", "")],
    "'a' b": [("", "")],
}


@pytest.mark.parametrize("sql", FIRST_WORDS)
def test_each_statement_of_a_text_begins_with_two_words(sql: str) -> None:
    assert list(first_words(sql)) == FIRST_WORDS[sql]


def ends_of_statements(text: str) -> list[int]:
    """Find the semicolons that end a statement, by the states of PostgreSQL's lexer (scan.l)."""
    ends, at = [], 0
    while at < len(text):
        if text.startswith("--", at):
            while at < len(text) and text[at] not in "\r\n":
                at += 1
        elif text.startswith("/*", at):
            depth, at = 1, at + 2
            while depth and at < len(text):
                step = 1 if text.startswith("/*", at) else -1 if text.startswith("*/", at) else 0
                depth, at = depth + step, at + (2 if step else 1)
        elif text[at] in "\"'" or text.startswith("E'", at):
            has_escapes = text[at] == "E"
            at += has_escapes
            quote, at = text[at], at + 1
            while at < len(text) and (text[at] != quote or text.startswith(quote * 2, at)):
                at += 2 if text[at] == quote or (has_escapes and text[at] == "\\") else 1
            at += 1
        elif text.startswith("$$", at):
            closing = text.find("$$", at + 2)
            at = closing + 2 if closing >= 0 else len(text)
        else:
            ends += [at + 1] * (text[at] == ";")
            at += 1
    return ends


@example([" E'", "\\'", ";"])
@given(st.lists(st.sampled_from([*"/*'\";\\ \n", "/*", "*/", "--", " $$ ", "''", " E'", "\\'"]), max_size=16))
def test_statements_end_where_they_end_for_postgresql(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert list(statement._starts(text))[1:] == ends_of_statements(text)


def skipped_by_postgresql(text: str) -> bool:
    """Whether all of the text is blank to PostgreSQL's lexer, written as its scan.l is: by states."""
    while text:
        if text[0].isspace():
            text = text[1:]
        elif text.startswith("--"):
            ends = [text.find(end) for end in "\r\n" if end in text]
            if not ends:
                return False
            text = text[min(ends) :]
        elif text.startswith("/*"):
            depth, text = 1, text[2:]
            while depth:
                if not text:
                    return False
                step = 1 if text.startswith("/*") else -1 if text.startswith("*/") else 0
                depth, text = depth + step, text[2 if step else 1 :]
        else:
            return False
    return True


@given(st.lists(st.sampled_from(["/*", "*/", "/", "*", " ", "a", "--", "\n", "\r"]), max_size=12))
def test_a_statement_is_judged_by_the_word_behind_all_that_postgresql_skips(pieces: list[str]) -> None:
    blank = "".join(pieces)
    if skipped_by_postgresql(blank):
        assert is_write(blank + "TRUNCATE t")
        assert not is_write(blank + "SELECT 1")


UPDATE = "UPDATE t SET a = 1"
LONG: dict[str, Callable[[int], str]] = {
    "blanks": lambda count: " \n" * count + UPDATE,
    "comments": lambda count: "/*a*/--\r" * count + UPDATE,
    "nested comments": lambda count: "/*" * count + "*/" * count + UPDATE,
    "comment that never ends": lambda count: "/*/" * count,
    "statements": lambda count: "SELECT 1;" * count,
    "strings": lambda count: "SELECT 1;" + "'a'''E'\\''" * count,
    "string that never ends": lambda count: "SELECT 1; E'" + "\\'''" * count,
    "dollars that never end": lambda count: "SELECT 1;" + "".join(f" $a{n}$" for n in range(count)),
    "parentheses": lambda count: "(" * count + "SELECT 1",
    "options": lambda count: "EXPLAIN" + " ANALYZE" * count + " SELECT 1",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_is_read_in_one_pass(text: Callable[[int], str]) -> None:
    def seconds(count: int) -> float:
        sql, best = text(count), float("inf")
        for _ in range(5):
            started = time.process_time()
            is_write(sql)
            best = min(best, time.process_time() - started)
        return best

    # Sixteen times the text takes about sixteen times as long; a pass for each part takes 256 times as long.
    assert seconds(16_000) < 100 * max(seconds(1_000), 1e-5)
