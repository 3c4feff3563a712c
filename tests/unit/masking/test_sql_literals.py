"""Literals are removed from statements, whatever they look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.masking.sql_literals import redact_literals

MASK = "*"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("UPDATE t SET a = 'x''y' WHERE id = 5", "UPDATE t SET a = * WHERE id = *"),
        ('UPDATE "t1" SET "a2" = %s WHERE b = $1', 'UPDATE "t1" SET "a2" = %s WHERE b = $1'),
        ("SET a = E'it\\'s', b = U&'x', c = B'01'", "SET a = *, b = *, c = *"),
        ("SET a = $$x 'y$$, b = $q$ $$ $q$, c = 1e5", "SET a = *, b = *, c = *"),
        ("SELECT 1 /* a /* b */ 'c */ FROM t2 -- d", "SELECT * * FROM t2 *"),
        ("SET a = true, b = FALSE, c = null, truely = -.5", "SET a = *, b = *, c = null, truely = -*"),
        ("SET a = %(name)s, b = :name, c = x::text", "SET a = %(name)s, b = :name, c = x::text"),
        ("SET a = 'cut off", "SET a = *"),
        ("SET a = $q$ cut off", "SET a = *"),
        ("SELECT /* cut off", "SELECT *"),
        ("SET a = 'x\\' secret', b = 'y'", "SET a = *"),
        ("SET a = 'x\\'', ' secret '", "SET a = *"),
        ("VALUES ($A$one $a$ secret $A$, 1)", "VALUES (*, *)"),
        ("SELECT a$b$c, $b$ secret $b$", "SELECT a$b$c, *"),
        ("SELECT $€$ a $b$ secret $b$ x $€$, b", "SELECT *, b"),
        ("SELECT a€$b$, 'x$b$ secret', $b$c$b$", "SELECT a€$b$, *, *"),
        ("SELECT €e'a\\' || 'secret'", "SELECT €e*"),
        (
            "SET LOCAL a.key TO secret; SET a.b='x'; UPDATE t SET a = b.c",
            "*; SET a.b=*; UPDATE t SET a = b.c",
        ),
        (
            "UPDATE t SET addr.city = 'x', addr.no = 5, a = b.c; SET a.b = secret; SET a.key TO secret",
            "UPDATE t SET addr.city = *, addr.no = *, a = b.c; *; *",
        ),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b.c = 7",
            "INSERT INTO t VALUES (*) ON CONFLICT (a) DO UPDATE SET b.c = *",
        ),
        ("update t set b.c = d, e = 'x'", "update t set b.c = d, e = *"),
        ("ALTER ROLE r SET a.b = secret", "ALTER ROLE r *"),
        ("UPDATE t SET a.b = 1; ALTER ROLE r SET a.b = secret", "UPDATE t SET a.b = *; ALTER ROLE r *"),
    ],
)
def test_literals_and_comments_are_replaced(statement: str, shown: str) -> None:
    assert redact_literals(statement, MASK) == shown


WORDS = st.text("abcXYZ' \\$\"\n/*-", min_size=1, max_size=12).map(lambda text: f"sesame{text}sesame")


def quoted(text: str) -> st.SearchStrategy[str]:
    doubled = text.replace("'", "''")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    tag = "$q$" if "$q$" not in text else "$other$"
    return st.sampled_from([f"'{doubled}'", f"E'{escaped}'", f"{tag}{text}{tag}"])


@given(WORDS.flatmap(quoted), WORDS.flatmap(quoted), st.integers(1000, 9999))
def test_no_literal_survives(first: str, second: str, number: int) -> None:
    shown = redact_literals(" ".join(["UPDATE t SET a =", first, ", b =", second, "+", str(number)]), MASK)
    assert "sesame" not in shown
    assert str(number) not in shown
