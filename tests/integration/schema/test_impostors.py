"""A role that may create objects in the schema of the log, or in another one of the path, gains nothing.

PostgreSQL prefers functions and operators whose arguments fit better than those of its own, whatever the
order of the path. In a path that names ``pg_catalog`` behind other schemas, even those that fit as well are
preferred, and tables, too. Only a name with its schema, or a path without other schemas, is safe.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import QueryDict

import bemi_django
from bemi_django import conf, on_change
from bemi_django.admin.pages.health.health_sources import source_facts
from bemi_django.admin.pages.health.health_tables import table_health
from bemi_django.admin.pages.health.throughput import read_last_hour
from bemi_django.admin.search import date_links, row_estimate
from bemi_django.admin.search.paging import cursor_before
from bemi_django.handlers import registry
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.log.blame import blame
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from bemi_django.verification.verify import Options, verify
from bemi_django.wire.lsn import format_lsn
from sample_project.todos.models import Todo
from tests.support.old_months import old_months, write
from tests.support.pipeline import Drain, Pipeline
from tests.support.roles import administrator


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


# It makes roles of its own.
pytestmark = pytest.mark.administrator

PATH = "search_path=pg_catalog, pg_temp"
FUNCTIONS = """
SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner), p.prosrc, p.proconfig,
       p.prosqlbody IS NOT NULL, p.prosecdef,
       coalesce((SELECT array_agg(t::regtype::text) FROM unnest(p.proargtypes::oid[]) t), '{}')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = '_bemi' OR starts_with(n.nspname, '_bemi_past_')
"""
#: Types that arguments in SQL have: an impostor takes any two of them.
TYPES = ("name", "text", "oid", "jsonb", '"char"', "int2", "int4", "int8", "regclass")
#: Types on either side of an operator.
OPERANDS = (*TYPES, "numeric", "float8", "bool", "timestamptz", "interval", "pg_lsn", "uuid", "varchar")
COMPARISONS = ("=", "<>", "<", ">", "<=", ">=", "?", "?|", "~", "!~", "~~", "!~~", "@>", "<@", "&&", "^@")
OPERATORS = (*COMPARISONS, "||", "->", "->>", "#>>", "+", "-", "*", "/", "%")
SYSTEM = (
    "pg_class",
    "pg_namespace",
    "pg_proc",
    "pg_type",
    "pg_publication",
    "pg_trigger",
    "pg_event_trigger",
)
IMPOSTORS = """
CREATE TABLE public.caught (role name, impostor text, query text);
GRANT ALL ON public.caught TO PUBLIC;
CREATE FUNCTION public.note(impostor text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF current_user <> 'mallory' THEN
        INSERT INTO public.caught VALUES (current_user, impostor, left(current_query(), 300));
    END IF;
END $$;
DO $block$
DECLARE
    called record;
BEGIN
    FOR called IN
        WITH s (home) AS (SELECT unnest(%(schemas)s::text[])), t (type) AS (SELECT unnest(%(types)s::text[]))
        SELECT home, name, pg_catalog.format('%%s, %%s', a.type, b.type) AS args
        FROM s, unnest(%(names)s::text[]) name, t a, t b
        UNION ALL
        SELECT home, name, type FROM s, unnest(%(names)s::text[]) name, t
    LOOP
        EXECUTE format(
            'CREATE FUNCTION %%I.%%I(%%s) RETURNS text LANGUAGE plpgsql AS '
            '$f$BEGIN PERFORM public.note(%%L); RETURN NULL; END$f$',
            called.home, called.name, called.args, called.name);
    END LOOP;
    FOR called IN
        WITH t (type) AS (SELECT unnest(%(operands)s::text[]))
        SELECT 'before' AS home, name, 'operator ' || name AS function, a.type AS a, b.type AS b,
               CASE WHEN name = ANY (%(comparisons)s::text[]) THEN 'bool' ELSE 'text' END AS result
        FROM unnest(%(operators)s::text[]) name, t a, t b
    LOOP
        EXECUTE format(
            'CREATE FUNCTION %%I.%%I(%%s, %%s) RETURNS %%s LANGUAGE plpgsql AS '
            '$f$BEGIN PERFORM public.note(%%L); RETURN NULL; END$f$',
            called.home, called.function, called.a, called.b, called.result, called.name);
        EXECUTE format(
            'CREATE OPERATOR %%I.%%s (LEFTARG = %%s, RIGHTARG = %%s, FUNCTION = %%I.%%I)',
            called.home, called.name, called.a, called.b, called.home, called.function);
    END LOOP;
END
$block$;
"""


#: A schema in front of pg_catalog has the same functions and tables, as one with which tests stop the time.
TWINS = """
CREATE SCHEMA late;
GRANT USAGE ON SCHEMA late TO PUBLIC;
CREATE FUNCTION public.is_noted(impostor text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.note(impostor);
    RETURN true;
END $$;
DO $block$
DECLARE
    twin record;
BEGIN
    FOR twin IN
        SELECT p.proname AS name, pg_get_function_arguments(p.oid) AS args,
               pg_get_function_result(p.oid) AS result, p.proretset AS is_set
        FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname = ANY (%(names)s)
            AND NOT p.proargtypes::oid[] && ARRAY['internal'::regtype, 'cstring', '"any"']::regtype[]::oid[]
            AND p.prorettype <> ALL ('{internal,cstring,trigger,event_trigger}'::regtype[])
            AND NOT starts_with(p.proname, 'pg_event_trigger')
    LOOP
        EXECUTE format('CREATE FUNCTION late.%%I(%%s) RETURNS %%s LANGUAGE plpgsql AS '
            '$f$BEGIN PERFORM public.note(%%L); RETURN%%s; END$f$',
            twin.name, twin.args, twin.result, twin.name || ' in front',
            CASE WHEN NOT twin.is_set THEN ' NULL' END);
    END LOOP;
    FOR twin IN SELECT unnest(%(tables)s::text[]) AS name LOOP
        EXECUTE format('CREATE VIEW late.%%I AS SELECT * FROM pg_catalog.%%I WHERE '
            '(SELECT public.is_noted(%%L))', twin.name, twin.name, twin.name || ' in front');
        EXECUTE format('GRANT SELECT ON late.%%I TO PUBLIC', twin.name);
    END LOOP;
END
$block$;
"""


def query(statement: str, parameters: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


# Words in front of a parenthesis that are no functions, and names of ours for rows.
KEYWORDS = (
    r"\b(?:all|and|any|as|case|coalesce|else|exists|from|if|in|not|operator|or|then|values|when|[ceu])\s*\("
)


# Types of arguments that name no object of the database.
VALUES = {"timestamp with time zone", "bigint", "integer", "uuid", "jsonb", "text[]"}


def unqualified(source: str) -> set[str]:
    """Return the functions, operators and types in a function's body that have no schema."""
    # A label of a block is no operator.
    code = re.sub(r"--[^\n]*|^\s*<<\w+>>\s*$", "", source, flags=re.MULTILINE)
    code = re.sub(r"E?'(?:[^'\\]|''|\\.)*'", "''", code)
    calls = set(re.findall(r"(?<![\w.\"])(\w+)\s*\(", re.sub(KEYWORDS, ";(", code.lower())))
    types = set(re.findall(r"::(?![\w\"]+\.)\S+", code))
    # A minus in front of a number is part of the number.
    code = re.sub(
        r"OPERATOR\(pg_catalog\.[^)]+\)|:=|::|-\d|(?:ERRCODE|MESSAGE) =", " ", code, flags=re.IGNORECASE
    )
    return calls | types | set(re.findall(r"[-+*/<>=~!@#%^&|`?]+", code))


@pytest.mark.django_db
def test_every_function_names_its_objects_with_their_schema_or_has_a_closed_path() -> None:
    tracking.sync()
    found = query(FUNCTIONS)
    assert len(found) > 25 and any(name.startswith("_bemi_past_") for name, *_ in found)
    for name, owner, source, settings, is_bound, is_definer, arguments in found:
        is_closed = PATH in (settings or [])
        assert is_closed or is_bound or unqualified(source) == set(), name
        assert not any(setting.startswith("search_path") and setting != PATH for setting in settings or []), (
            name
        )
        # No argument names an object: what these functions touch they find themselves. That of a role without
        # rights runs what it is given.
        if is_definer and owner != "_bemi_compute":
            allowed = VALUES
            if name.startswith("_bemi.recorded_v1("):
                # It only compares names and keys with those in the log.
                allowed = {"text", "text[]", "pg_lsn", "pg_snapshot"}
            if re.match(r"_bemi\.(chain|seal|note|note_replaced)_v1\(", name):
                # These only hash and store what they are given; a chain is found by its name in a table.
                allowed = {"text", "jsonb", "bytea", "boolean"}
            assert is_closed and set(arguments) <= allowed, name


@pytest.fixture(scope="module")
def impostors(django_db_setup: None) -> Iterator[None]:
    """A role that may create in every schema of the path has put its own beside all that we call."""
    schemas = ["public", "before"]
    with administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute("""
            SELECT array_agg(DISTINCT f.proname::text) FROM pg_proc f
            WHERE f.pronamespace = 'pg_catalog'::regnamespace AND EXISTS (
                SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = '_bemi' AND p.prosrc ~ ('\\m' || f.proname || '\\('))
        """)
        ((names,),) = cursor.fetchall()
        cursor.execute("CREATE ROLE mallory; CREATE SCHEMA before; GRANT USAGE ON SCHEMA before TO PUBLIC")
        cursor.execute("GRANT CREATE ON SCHEMA public, before TO mallory")
        # Thousands of functions need not be followed, and all bodies are the same.
        cursor.execute("ALTER EVENT TRIGGER _bemi_follow_ddl DISABLE; SET ROLE mallory")
        cursor.execute("SET check_function_bodies = off")
        types = {"types": list(TYPES), "operands": list(OPERANDS)}
        operators = {"operators": list(OPERATORS), "comparisons": list(COMPARISONS)}
        cursor.execute(IMPOSTORS, {"schemas": schemas, "names": names, **types, **operators})
        ours = "".join(
            path.read_text()
            for path in Path(bemi_django.__path__[0]).rglob("*.*")
            if path.suffix in (".py", ".sql")
        )
        called = sorted(set(re.findall(r"(\w+)\(", ours)))
        cursor.execute("RESET ROLE; SET search_path = pg_catalog")
        cursor.execute(TWINS, {"names": called, "tables": list(SYSTEM)})
        cursor.execute("RESET search_path")
        cursor.execute("ALTER EVENT TRIGGER _bemi_follow_ddl ENABLE ALWAYS; SET ROLE mallory")
    yield
    with administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute(
            "SET client_min_messages = error; DROP SCHEMA before, late CASCADE; DROP FUNCTION is_noted"
        )
        # One after the other: the locks of all at once do not fit into the server's table.
        while True:
            cursor.execute("""
                DO $$
                DECLARE dropped text;
                BEGIN
                    FOR dropped IN SELECT oid::regprocedure::text FROM pg_proc
                        WHERE proowner = 'mallory'::regrole LIMIT 1000 LOOP
                        EXECUTE 'DROP FUNCTION ' || dropped || ' CASCADE';
                    END LOOP;
                END$$
            """)
            cursor.execute("SELECT count(*) FROM pg_proc WHERE proowner = 'mallory'::regrole")
            if cursor.fetchone() == (0,):
                break
        cursor.execute("DROP OWNED BY mallory; DROP ROLE mallory")


@pytest.fixture
def mallory(impostors: None, transactional_db: None) -> Iterator[None]:
    """Let the test's connection search the schemas of the impostors."""
    query("TRUNCATE public.caught")
    query("SET search_path = late, pg_catalog, before, public")
    yield
    connection.close()


def connect() -> Any:
    return psycopg2.connect(
        **conf.connection_parameters("default"), options="-c search_path=late,pg_catalog,before,public"
    )


def next_commit(slot: str) -> str:
    """Return where the next transaction of a slot commits: the LSN in its Begin message."""
    ((message,),) = query(
        "SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes("
        "%s, NULL, NULL, 'proto_version', '1', 'publication_names', 'bemi') LIMIT 1",
        [slot],
    )
    return format_lsn(int.from_bytes(message[1:9], "big"))


def caught() -> list[Any]:
    return query("SELECT DISTINCT role::pg_catalog.text, impostor, query FROM public.caught")


def test_nobody_runs_the_functions_of_mallory(mallory: None) -> None:
    query("CREATE TABLE before.changes (id int)")
    query("CREATE TABLE public.bait (id int PRIMARY KEY, note varchar(9), kind text)")
    try:
        query("ALTER TABLE public.bait ADD more jsonb; ALTER TABLE public.bait RENAME note TO remark")
        query("INSERT INTO public.bait VALUES (1, 'a'); DELETE FROM public.bait")
        assert caught() == []
        query("SELECT _bemi.partition_v1('2031-05-05')")
        tracking.sync()
        tracking.sync(dry_run=True)
        assert caught() == []
        run_checks(databases=["default"])
        assert caught() == []
    finally:
        query("DROP TABLE before.changes, public.bait")
    assert caught() == []
    # What they are good for.
    query("SELECT relname || 'x'::text FROM pg_catalog.pg_class LIMIT 1")
    assert [impostor for _, impostor, _ in caught()] == ["||"]


def test_the_worker_and_the_command_run_no_function_of_mallory(
    mallory: None, drain: Drain, settings: Any
) -> None:
    todo = Todo.objects.create(task="a")
    todo.task = "b"
    todo.save()
    assert [change.operation for change in drain()] == ["CREATE", "UPDATE"]
    assert caught() == []
    settings.BEMI_AS_OF_PATIENCE = 0
    with as_of(Change.objects.get(operation="CREATE")):
        assert Todo.objects.get().task == "a"
    assert caught() == []


def test_questions_to_the_log_run_no_function_of_mallory(mallory: None, drain: Drain) -> None:
    todo = Todo.objects.create(task="a")
    todo.task = "b"
    todo.save()
    tag = todo.tags.create(name="c")
    drain()
    log = Change.objects.using("default")
    assert log.outside().count() == 0
    assert log.field_changed("task", from_="a", to="b").count() == 1
    assert log.for_object(todo, related=True).count() == 3
    assert log.by(7).in_transaction(1).between(todo.created_at, todo.created_at).count() == 0
    assert log.before({"task": "a"}).after_not({"task": "c"}).context_not({"a": 1}).count() == 1
    assert blame(todo)["task"].previous == "a"
    assert caught() == []
    assert log.updated().revert(dry_run=True).conflicts == ()
    assert log.updated().revert().is_applied
    tag.delete()
    drain()
    assert log.deleted().revert().is_applied
    assert caught() == []


def test_questions_of_sqlalchemy_run_no_function_of_mallory(mallory: None, drain: Drain) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
    from bemi_django.integrations import sqlalchemy_changes as mapped

    Todo.objects.create(task="a")
    drain()
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect)
    try:
        criteria = (mapped.outside(), mapped.field_changed("task", from_="a"), mapped.context({"a": 1}))
        with engine.connect() as opened:
            for criterion in criteria:
                assert opened.execute(sqlalchemy.select(mapped.Change.id).where(criterion)).all() == []
    finally:
        engine.dispose()
    assert caught() == []


def test_no_page_runs_a_function_of_mallory(mallory: None, drain: Drain) -> None:
    todo = Todo.objects.create(task="a")
    drain()
    run_checks(databases=["default"])
    assert [table.is_tracked for table in table_health("default") if table.name.endswith(".todo")] == [True]
    assert caught() == []
    cache.clear()
    assert source_facts("default", read_last_hour())
    assert row_estimate.total() >= 0 and row_estimate.matching(Change.objects.all()) >= 0
    assert date_links.links(QueryDict(), None, None)
    assert cursor_before(todo.created_at) is not None
    assert caught() == []


def test_no_handler_and_no_command_runs_a_function_of_mallory(
    mallory: None, drain: Drain, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "registered", {})
    settings.BEMI_SLOT = "bemi_test"
    heard: list[str] = []

    @on_change(Todo, name="todos", since="beginning")
    def hear(change: Change) -> None:
        heard.append(change.after["task"])
        if len(heard) < 3:
            raise ValueError

    todo = Todo.objects.create(task="a")
    drain()
    try:
        assert Dispatcher("default", rhythm=Rhythm(first_pause=0.01)).run(until_current=True) == 1
    finally:
        query("DELETE FROM _bemi.handlers")
    assert heard == ["a", "a", "a"]
    assert caught() == []
    pipeline = Pipeline.of_project("bemi_test")
    with pipeline.worker():
        assert [result.differences for result in verify(pipeline.config, Options(only=["public.todo"]))] == [
            0
        ]
    pipeline.release()
    assert caught() == []
    for command in (
        ["retry-dead-letters"],
        ["blame", f"todos.Todo:{todo.pk}"],
        ["grants"],
        ["prune"],
        ["sync"],
        ["doctor", "--json"],
        ["uninstall", "--dry-run"],
        ["revert", "--change", str(Change.objects.get().pk), "--dry-run", "--noinput"],
    ):
        call_command("bemi", *command, stdout=io.StringIO(), stderr=io.StringIO())
        assert caught() == [], command
    with pytest.raises(CommandError, match="the worker is not running"):
        call_command("bemi", "status", stdout=io.StringIO())
    assert caught() == []


def test_who_records_exports_and_erases_a_row_runs_no_function_of_mallory(
    mallory: None, drain: Drain, settings: Any, tmp_path: Path
) -> None:
    todo = Todo.objects.create(task="a")
    drain()
    settings.BEMI_SLOT = "bemi_test"
    pipeline = Pipeline.of_project("bemi_test")
    try:
        with pipeline.worker():
            call_command("bemi", "baseline", "public.todo", stdout=io.StringIO())
            assert caught() == []
    finally:
        pipeline.release()
    for command in (
        ["subject", f"todos.Todo:{todo.pk}", "--export", str(tmp_path)],
        ["erase", f"todos.Todo:{todo.pk}", "--reason", "x", "--noinput"],
    ):
        call_command("bemi", *command, stdout=io.StringIO(), stderr=io.StringIO())
        assert caught() == [], command


def test_leaving_out_a_transaction_runs_no_function_of_mallory(
    mallory: None, drain: Drain, settings: Any
) -> None:
    Todo.objects.create(task="a")
    settings.BEMI_SLOT = "bemi_test"
    pipeline = Pipeline.of_project("bemi_test")
    with pipeline.worker():
        pass
    pipeline.release()
    try:
        Todo.objects.create(task="b")
        out = io.StringIO()
        call_command("bemi", "skip", next_commit("bemi_test"), stdout=out)
    finally:
        pipeline.release()
    assert "a GAP was recorded" in out.getvalue()
    assert caught() == []


def test_old_months_go_and_come_back_without_a_function_of_mallory(
    mallory: None, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_ARCHIVE = str(tmp_path)
    with old_months():
        write(1)
        query("CREATE TABLE public.old_changes (LIKE public.changes INCLUDING ALL)")
        query("INSERT INTO public.old_changes SELECT * FROM public.changes WHERE committed_at < '2004-01-01'")
        try:
            for command in (
                ["archive", "--before", "2003-06"],
                ["archive", "query", "SELECT count(*) FROM changes"],
                ["import", "2003-05"],
                ["convert", "public.old_changes", "--drop"],
            ):
                out = io.StringIO()
                call_command("bemi", *command, stdout=out)
                assert out.getvalue() and caught() == [], command
        finally:
            query("DROP TABLE IF EXISTS public.old_changes")
            query("DELETE FROM _bemi.walked")
            query("DELETE FROM _bemi.completeness; DELETE FROM _bemi.prunings; DELETE FROM _bemi.touched")


def test_a_table_is_rebuilt_without_a_function_of_mallory(mallory: None, drain: Drain, settings: Any) -> None:
    query("CREATE TABLE public.book (id int PRIMARY KEY, word text)")
    pipeline = Pipeline.of_project("bemi_test")
    try:
        query("INSERT INTO public.book VALUES (1, 'a')")
        drain()
        query("DROP TABLE public.book")
        settings.BEMI_SLOT = "bemi_test"
        with pipeline.worker():
            call_command("bemi", "restore-table", "public.book", stdout=io.StringIO())
        assert query("SELECT word FROM public.book_restored") == [("a",)]
        assert caught() == []
    finally:
        pipeline.release()
        query("DROP TABLE IF EXISTS public.book, public.book_restored")
