# ruff: noqa: S608 - names of our own
"""Tables whose rows have keys of any type, which look like anything: that of Ann, and that of Bob.

Of lists and documents, that of Bob contains that of Ann.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.project_database import execute


class Kind(NamedTuple):
    """A type of keys: that of Ann, one that she had before, and that of Bob; ``is_meaningless``: it stays."""

    type_: str
    key: str
    former: str
    other: str
    is_meaningless: bool = False


KINDS = {
    "text": Kind("text", 'O\'Hara "x" \\u0000 a/b.c:%s,é', "moved; DROP TABLE x --", "other"),
    "digits": Kind("text", "4111111111111111", "01511234567", "4111111111111112"),
    "json": Kind("text", '["ann@example.org", {"a": 1}]', '{"mail": "ann@example.net"}', "[1]"),
    "letter": Kind("char(1)", "t", "f", "x"),
    "padded": Kind("char(12)", "ann miller", "ann.miller", "bob"),
    "uuid": Kind("uuid", f"{'8f14e45f-ceea-467a-9a36-dedd4bea254'}3", f"{0:032}", f"{1:032}", True),
    "numeric": Kind("numeric(20,4)", "-1.5000", "12345678901234.5000", "0.0001", True),
    "bigint": Kind("bigint", "9223372036854775807", "-9223372036854775808", "0", True),
    "date": Kind("date", "1981-07-30", "1981-07-31", "0044-03-15 BC"),
    "moment": Kind("timestamptz", "1981-07-30 12:00:00.5+00", "1981-07-30 13:00:00+00", "infinity"),
    "boolean": Kind("boolean", "t", "t", "f"),
    "bytes": Kind("bytea", "\\x00ff27ff", "\\x00ff27fe", "\\x"),
    "address": Kind("inet", "192.0.2.1", "2001:db8::1", "192.0.2.2"),
    "list": Kind(
        "text[]",
        '{ann@example.org,"a \\"b\\", c"}',
        "{ann@example.net}",
        '{ann@example.org,"a \\"b\\", c",more}',
    ),
    "document": Kind(
        "jsonb", '{"mail": "ann@example.org"}', '["ann@example.net"]', '{"mail": "ann@example.org", "n": 1}'
    ),
    "scalar": Kind("jsonb", '"null"', '"12.50"', "null"),
    "literal": Kind("jsonb", "true", "false", '"true"'),
    "enum": Kind("kind_of_key", "very \"odd\", 'kind'", "former", "1"),
}


@contextmanager
def kinds_of_keys() -> Iterator[None]:
    """Have a table of each kind, and one of rows that refer to it, in a block."""
    execute("CREATE TYPE kind_of_key AS ENUM ('very \"odd\", ''kind''', 'former', '1')")
    for name, kind in KINDS.items():
        execute(
            f"CREATE TABLE kind_{name} (key {kind.type_} PRIMARY KEY, remark text);"
            f"CREATE TABLE of_{name} (id int PRIMARY KEY, remark text, "
            f"key {kind.type_} REFERENCES kind_{name} ON DELETE CASCADE ON UPDATE CASCADE)"
        )
    try:
        yield
    finally:
        for name in KINDS:
            execute(f"DROP TABLE of_{name}, kind_{name}")
        execute("DROP TYPE kind_of_key")


def write_rows(name: str) -> None:
    """Write rows of Ann and of Bob, give Ann another key, and delete her row."""
    kind = KINDS[name]
    both = f"%s::{kind.type_}"
    rows = f"({both}, 'remark of ann'), ({both}, 'remark of bob')"
    execute(f"INSERT INTO kind_{name} VALUES {rows}", [kind.former, kind.other])
    rows = f"(1, 'note of ann', {both}), (2, 'note of bob', {both})"
    execute(f"INSERT INTO of_{name} VALUES {rows}", [kind.former, kind.other])
    execute(f"UPDATE kind_{name} SET key = {both} WHERE key = {both}", [kind.key, kind.former])
    execute(f"DELETE FROM kind_{name} WHERE key = {both}", [kind.key])


def printed(name: str) -> str:
    """Return the key of Ann as the log has it."""
    # A cast of char(n) to text would take its spaces.
    ((text,),) = execute(f"SELECT format('%%s', %s::{KINDS[name].type_})", [KINDS[name].key])
    return str(text)
