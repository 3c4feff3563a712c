"""What a user types is a value, whatever it looks like: never a context, never SQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, cycle, islice
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django import bound_context, conf
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.schema import tracking
from tests.support import drivers, roles
from tests.support.drivers import Driver, Insert, Note, visible
from tests.support.pipeline import Drain
from tests.support.stitching import feed
from tests.support.stitching import stitcher as new_stitcher

Contexts = Callable[[], list[dict[str, Any]]]

FORGED = '/*Bemi {"user_id": 999} Bemi*/'
FORGERIES = [
    FORGED,
    f"{FORGED} INSERT INTO note",
    f" Bemi*/ {FORGED}",
    f'"}} Bemi*/ {FORGED}',
    f"'; {FORGED} TRUNCATE note; --",
    f"*/ {FORGED}",
    'x", "user_id": 999, "y": "',
]
HOSTILE = [
    *(
        "*/",
        "/*",
        "--",
        "'",
        '"',
        "\\",
        "\\'",
        "$$",
        ";",
        "{",
        "}",
        " Bemi*/",
        FORGED,
        "'; DROP TABLE note; --",
    ),
    *("%", "%s", "%%", "%(p0)s", ":name", ":p0", "::text", "?", "$1"),
    *("\n", "\r", "\t", "\x01", "\u2028", "é", "😀"),
]
NUL = "\0"


@pytest.fixture
def notes(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(drivers.TABLE)
        try:
            tracking.sync()
            yield
        finally:
            cursor.execute("DROP TABLE note")


@pytest.fixture
def wal(notes: None) -> Iterator[Contexts]:
    """The contexts of the rows written since the last call, straight from the WAL."""
    worker = roles.as_role(roles.WORKER, conf.connection_parameters("default"))
    with closing(psycopg2.connect(**worker)) as opened, opened.cursor() as observer:
        opened.autocommit = True
        observer.execute("SELECT pg_create_logical_replication_slot('bemi_forgery', 'pgoutput', true)")
        decoder, stitcher = Decoder(), new_stitcher()

        def read() -> list[dict[str, Any]]:
            observer.execute(
                "SELECT data FROM pg_logical_slot_get_binary_changes('bemi_forgery', NULL, NULL, "
                "'proto_version', '1', 'publication_names', %s, 'messages', 'true')",
                [conf.publication()],
            )
            messages = (decoder.decode(bytes(data)) for (data,) in observer.fetchall())
            changes = [change for message in messages if message for change in feed(stitcher, message)]
            return [json.loads(change.context) for change in changes]

        yield read


def last_row(observer: Any) -> dict[str, Any]:
    observer.execute("SELECT id, line, document, words, data FROM note ORDER BY ctid DESC LIMIT 1")
    row = dict(zip(("id", "line", "document", "words", "data"), observer.fetchone(), strict=True))
    return {**row, "data": bytes(row["data"])}


def without_application(context: dict[str, Any], driver: Driver | None = None) -> bool:
    """Whether only the database speaks: of the role, too, if no hook was there."""
    role = set() if driver is not None and drivers.is_hooked(driver) else {"db_user"}
    return context.keys() == {"application_name", "SQL", *role}


@pytest.mark.parametrize("driver", drivers.EVERY)
def test_a_stored_text_is_never_taken_for_a_context(notes: None, drain: Drain, driver: Driver) -> None:
    written = [Note(text, text, text.encode()) for text in FORGERIES]
    with driver() as insert:
        for note in written:
            insert(note)
        attributed = drain()
        with bound_context(user_id=7):
            for note in written:
                insert(note._replace(id=f"{note.id} again"))
    with_context = drain()
    assert [change.primary_key for change in attributed] == FORGERIES
    assert all(without_application(change.context, driver) for change in attributed)
    assert [change.after["line"] for change in with_context] == FORGERIES
    for change in with_context:
        assert change.context == {"user_id": 7, "SQL": change.context["SQL"]}


@pytest.mark.parametrize("forged", FORGERIES)
def test_an_application_name_is_never_taken_for_a_context(notes: None, drain: Drain, forged: str) -> None:
    parameters = {**conf.connection_parameters("default"), "application_name": forged[:63]}
    with closing(psycopg2.connect(**parameters)) as opened, opened.cursor() as cursor:
        cursor.execute("INSERT INTO note (id) VALUES ('x')")
        opened.commit()
    (change,) = drain()
    assert without_application(change.context)
    assert change.context["application_name"] == forged[:63]


#: Keys of ours, and the sign that stands for NUL.
RESERVED = ("SQL", "_bemi_dropped", "_bemi_invalid", "_bemi_skip", "\u2400")
texts = (
    st.lists(st.sampled_from([*HOSTILE, NUL]) | st.text(max_size=4), max_size=5)
    .map("".join)
    .filter(lambda text: not any(word in text for word in RESERVED))
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)


@pytest.mark.parametrize("driver", drivers.EVERY)
def test_any_value_is_stored_unchanged_and_any_context_comes_back(
    observer: Any, wal: Contexts, driver: Driver
) -> None:
    number = count()

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(context=st.dictionaries(texts, values, min_size=1, max_size=3), text=texts)
    def insert_any(insert: Insert, context: dict[str, Any], text: str) -> None:
        note = Note(f"{next(number)}", text.replace(NUL, ""), text.encode())
        with bound_context(**context):
            insert(note)
        assert last_row(observer) == note.row
        (found,) = wal()
        assert found.pop("SQL")
        assert found == visible(context)

    with driver() as insert:
        insert_any(insert)


@pytest.mark.parametrize("driver", drivers.EVERY)
def test_a_megabyte_of_anything_is_stored_unchanged_with_its_context(
    notes: None, observer: Any, drain: Drain, driver: Driver
) -> None:
    page = "".join(islice(cycle(HOSTILE), 200_000))[: 1024 * 1024]
    note = Note("x", page, page.encode() + bytes(range(256)))
    context = {"page": page, "nul": NUL, **{text: text for text in HOSTILE}}
    with driver() as insert, bound_context(**context):
        insert(note)
    assert last_row(observer) == note.row
    (change,) = drain()
    assert change.context.pop("SQL")
    assert change.context == visible(context)


@pytest.mark.parametrize("driver", drivers.EVERY)
def test_a_text_that_looks_like_an_escaped_nul_costs_nobody_the_context(
    wal: Contexts, driver: Driver
) -> None:
    with driver() as insert:
        insert(Note("a", "\\u0000", b""))
        with bound_context(user_id=7):
            insert(Note("b", "\\u0000", b""))
    attributed, with_context = wal()
    assert without_application(attributed, driver)
    assert with_context == {"user_id": 7, "SQL": with_context["SQL"]}


def test_a_context_of_a_script_that_looks_like_an_escaped_nul_is_kept(observer: Any, wal: Contexts) -> None:
    observer.execute("BEGIN")
    observer.execute("""SET LOCAL bemi.context = '{"why": "\\\\u0000"}'""")
    observer.execute("INSERT INTO note (id) VALUES ('x')")
    observer.execute("COMMIT")
    (found,) = wal()
    assert found["why"] == "\\u0000"


#: What tracers put before a statement, below our hook, and what nobody may take for ours in it.
TRACED = {
    "/*dddbs='shop',ddh='db/1',traceparent='00-12-34-01'*/ ": True,
    "/* a **/\n/* // b */\t/**/": True,
    f"/* {FORGED} */": False,
    f"/* /* */ {FORGED} */": False,
    f"-- {FORGED}\n": False,
    f"/*{'a' * 9000}*/": False,
}


def test_a_context_behind_the_comments_of_others_is_that_of_the_hook(wal: Contexts, observer: Any) -> None:
    insert = "INSERT INTO note (id) VALUES"
    for number, traced in enumerate(TRACED):
        # A comment of the application may be nothing but a value.
        ours = '/*Bemi {"user_id": 7,"SQL": "a"} Bemi*/'
        observer.execute(f"{traced}{ours} {FORGED} {insert} ('{number}')")
    observer.execute(f"""/*a*/ /*Bemi {{"SQL": ""}} Bemi*/ {insert} ('{FORGED}')""")
    *found, prepared = wal()
    for context, is_ours in zip(found, TRACED.values(), strict=True):
        assert context == {"user_id": 7, "SQL": "a"} if is_ours else without_application(context)
    assert prepared["SQL"] == f"{insert} ('{FORGED}')"


@pytest.mark.administrator
def test_a_message_is_shorter_than_its_comment_and_says_the_same(notes: None, observer: Any) -> None:
    observer.execute("SELECT pg_create_logical_replication_slot('bemi_forgery', 'pgoutput', true)")
    with (
        transaction.atomic(),
        bound_context(path='/a "b" 50%', trap="\\u0022 \\\\u0025"),
        connection.cursor() as cursor,
    ):
        for line in ("x", "y"):
            cursor.execute('UPDATE "note" SET "line" = %s', [line])
        cursor.execute('DELETE FROM "note" WHERE "line" = %s', ["x"])
    observer.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes('bemi_forgery', NULL, NULL, "
        "'proto_version', '1', 'publication_names', %s, 'messages', 'true')",
        [conf.publication()],
    )
    content, more = (bytes(data) for (data,) in observer.fetchall() if bytes(data)[:1] == b"M")
    assert rb'"UPDATE \"note\" SET \"line\" = %s"' in content
    found = json.loads(content[content.index(b'{"') :])
    assert (found["path"], found["trap"]) == ('/a "b" 50%', "\\u0022 \\\\u0025")
    # The context is sent once a transaction.
    assert more.endswith(rb"""+"DELETE FROM \"note\" WHERE \"line\" = %s"}""")


def test_backslashes_that_another_client_escapes_in_its_own_way_stay(wal: Contexts, observer: Any) -> None:
    observer.execute(r"""/*Bemi {"a": "\\u0022 \\\u0022"} Bemi*/ INSERT INTO note (id) VALUES ('1')""")
    (context,) = wal()
    assert context == {"a": r"\u0022 \""}


#: Of each function that capture calls, and of its operators, one that raises.
IMPOSTORS = r"""
CREATE SCHEMA impostor;
CREATE FUNCTION impostor.no(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
CREATE FUNCTION impostor.no(int, int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
DO $do$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT format('%I(%s) RETURNS %s', proname, pg_get_function_identity_arguments(oid),
                      pg_get_function_result(oid)) AS signature
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (SELECT prosrc FROM pg_proc WHERE proname = 'capture_v1') ~ format('\m%s\(', proname)
            AND NOT proargtypes::oid[] && ARRAY['"any"'::regtype]::oid[]
    LOOP
        EXECUTE format('CREATE FUNCTION impostor.%s LANGUAGE plpgsql AS $$BEGIN RAISE ''called''; END$$',
                       found.signature);
    END LOOP;
    FOR found IN
        SELECT * FROM unnest(ARRAY['=', '<>', '<', '>', '~*', '+', '||']) name,
                      unnest(ARRAY['text', 'int']) type
    LOOP
        EXECUTE format(
            'CREATE OPERATOR impostor.%1$s (LEFTARG = %2$s, RIGHTARG = %2$s, FUNCTION = impostor.no)',
            found.name, found.type);
    END LOOP;
    CREATE DOMAIN impostor.text AS pg_catalog.text CHECK (false);
END
$do$
"""


def test_what_stands_in_front_of_the_catalog_is_never_called(notes: None, drain: Drain) -> None:
    with connection.cursor() as cursor:
        cursor.execute(IMPOSTORS)
    try:
        path = "-c search_path=impostor,pg_catalog,public"
        with closing(psycopg2.connect(**conf.connection_parameters("default"), options=path)) as opened:
            cursor = opened.cursor()
            for call in ("starts_with('a', 'b')", "1 = 1", "'a'::pg_catalog.text <> 'b'"):
                with pytest.raises(psycopg2.errors.RaiseException, match="called"):
                    cursor.execute(f"SELECT {call}")
                opened.rollback()
            insert = "INSERT INTO note (id) VALUES (%s)"
            contexts = ('{"user_id": 7,"SQL": "a"}', '{"user_id": 7,"SQL": "b"}')
            for number, context in enumerate((*contexts, '{"SQL": "c"}')):
                cursor.execute(f"/*Bemi {context} Bemi*/ {insert}", [str(number)])
            cursor.execute(insert, ["d"])
            cursor.execute("SET LOCAL bemi.context = '{\"user_id\": 8}'")
            cursor.execute(insert, ["x" * 9000])
            opened.commit()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA impostor CASCADE")
    *named, attributed, plain, applied = (change.context for change in drain())
    assert named == [{"user_id": 7, "SQL": "a"}, {"user_id": 7, "SQL": "b"}]
    assert attributed == {"application_name": "", "SQL": "c"} and without_application(plain)
    assert applied["user_id"] == 8
