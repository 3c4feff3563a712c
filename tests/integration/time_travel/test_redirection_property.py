"""Names that a statement redirects are those that PostgreSQL's own parser takes for tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bemi_django.time_travel.statements.redirection import Redirection
from tests.support.project_database import execute

SCHEMAS = ("app", "ÄÖ", 'o"dd', "Über" * 10)

#: What reads like code in a string, a comment or a name.
rough = st.lists(
    st.sampled_from(
        [
            "'",
            "''",
            '"',
            "\\",
            "\\'",
            "$",
            "$$",
            "$a$",
            "/*",
            "*/",
            "--",
            "\n",
            ".",
            " ",
            "app.thing",
            "E'",
            "U&",
            "ä",
        ]
    ),
    max_size=8,
).map("".join)


@st.composite
def literals(draw: st.DrawFn) -> str:
    """A string in one of PostgreSQL's notations."""
    text = draw(rough)
    kind = draw(st.sampled_from(["'", "E'", "e'", "U&'", "N'", "$$", "$a$", "$ä_1$", "two", "escaped two"]))
    plain = text.replace("'", "''")
    if kind.startswith("$"):
        return f"{kind}{text.replace('$', '')}{kind}"
    if kind in ("E'", "e'"):
        escaped = text.replace("\\", "\\\\").replace("'", draw(st.sampled_from(["''", "\\'"])))
        return f"{kind}{escaped}'"
    if kind == "U&'":
        return f"U&'{plain.replace(chr(92), chr(92) * 2)}'"
    if kind == "two":
        return f"'{plain}' \n '{plain}'"
    if kind == "escaped two":
        return f"E'{plain.replace(chr(92), chr(92) * 2)}' -- ' \n 'it\\'s'"
    return f"{kind}{plain}'"


@st.composite
def blanks(draw: st.DrawFn) -> str:
    """What may stand between two tokens."""
    kind = draw(st.sampled_from(["", " ", "\n", "line", "block", "nested"]))
    text = draw(rough).replace("/*", "").replace("*/", "")
    if kind == "line":
        return f"--{text.replace(chr(10), '')}\n"
    if kind == "block":
        return f"/*{text}*/"
    return f"/* {text} /* {text} */ {text} */" if kind == "nested" else kind


@st.composite
def names(draw: st.DrawFn) -> str:
    """A name of a schema in one of its notations."""
    schema = draw(st.sampled_from(SCHEMAS))
    quoted = '"' + schema.replace('"', '""') + '"'
    written = [quoted, "U&" + quoted.replace(schema[0], f"\\{ord(schema[0]):04x}", 1)]
    written.append(f"U&\"!{ord(schema[0]):04X}{quoted[2:]} UESCAPE '!'")
    if schema == "app":
        written += ["app", "APP", "aPp"]
    if schema == "ÄÖ":
        written.append("ÄÖ")
    return draw(st.sampled_from(written))


@pytest.fixture
def redirection(transactional_db: None) -> Iterator[Redirection]:
    pasts = {schema: f"past {number}" for number, schema in enumerate(SCHEMAS)}
    for schema, past in pasts.items():
        for name, value in ((schema, "present"), (past, "past")):
            quoted = '"' + name.replace('"', '""') + '"'
            execute(f"CREATE SCHEMA {quoted}")
            execute(f"CREATE TABLE {quoted}.thing AS SELECT '{value}'::text AS value")
    ((database,),) = execute("SELECT current_database()")
    yield Redirection({(schema, "thing") for schema in SCHEMAS}, pasts, database)
    for name in (*pasts, *pasts.values()):
        execute('DROP SCHEMA "' + name.replace('"', '""') + '" CASCADE')


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(literals(), names()), min_size=1, max_size=5),
    st.lists(blanks(), min_size=3, max_size=3),
)
def check(redirection: Redirection, items: list[str], between: list[str]) -> None:
    one, two, three = between
    parts = [
        f"(SELECT{one} value FROM {item}{one}.{two}thing{three} LIMIT 1)" if is_name(item) else f"{item}{one}"
        for item in items
    ]
    sql = f"SELECT {one}{f'{two},{three}'.join(parts)}"
    try:
        with transaction.atomic():
            (present,) = execute(sql)
    except DatabaseError:
        assume(False)
    (past,) = execute(redirection.of(sql))
    wanted = tuple("past" if is_name(item) else value for item, value in zip(items, present, strict=True))
    assert past == wanted, sql


def is_name(item: str) -> bool:
    return item.startswith(('"', 'U&"', "app", "APP", "aPp", "ÄÖ"))


def test_names_are_redirected_where_the_server_reads_names(redirection: Redirection) -> None:
    check(redirection)
