"""``bemi uninstall`` and ``migrate bemi_django zero``, in databases whose owner is no superuser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from psycopg2.extras import LogicalReplicationConnection

from bemi_django import conf
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.schema import tracking
from bemi_django.schema.locking import briefly
from bemi_django.schema.removal import installation, remains
from tests.support import roles
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until

# A worker creates its slot.
pytestmark = [
    pytest.mark.administrator,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]

OWNER, SOURCE, LOG = "uninstall_owner", "uninstall_source", "uninstall_log"
SLOT = "bemi_uninstall"
TABLES = """
CREATE TABLE plain (id int PRIMARY KEY);
CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
CREATE TABLE complete (id int PRIMARY KEY); ALTER TABLE complete REPLICA IDENTITY FULL;
CREATE TABLE by_index (id int NOT NULL); CREATE UNIQUE INDEX by_id ON by_index (id);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_id;
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (1000);
"""
IDENTITIES = {"by_index": "i", "complete": "f", "nothing": "n", "part": "d", "plain": "d"}
#: Whatever an installation may leave: objects of its schemas, and others by their names.
OURS = """
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE '\\_bemi%'
UNION SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE '\\_bemi%'
UNION SELECT 'event trigger ' || evtname FROM pg_event_trigger WHERE evtname LIKE '\\_bemi%'
UNION SELECT 'publication ' || pubname FROM pg_publication
UNION SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
UNION SELECT 'table ' || relname FROM pg_class WHERE relname LIKE 'changes%'
UNION SELECT 'type ' || typname FROM pg_type WHERE typname LIKE 'changes%'
ORDER BY 1
"""
REPLICA_IDENTITIES = """
SELECT relname, relreplident FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)
"""


class Project:
    """The aliases ``default``, the source, and ``other``, where its log may be."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.aliases = ["default"]

    def add_other(self) -> None:
        self._stack.enter_context(database("other", LOG))
        self.aliases.append("other")

    def put_log_elsewhere(self, settings: Any) -> None:
        self.add_other()
        settings.BEMI_DESTINATION = "other"
        settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]

    def query(self, statement: str, alias: str = "default", parameters: Any = None) -> list[Any]:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def administer(self, statement: str, database: str = SOURCE) -> None:
        with roles.administrator(database) as cursor:
            cursor.execute(statement)

    def migrate(self, *target: str) -> None:
        for alias in {"default", conf.destination()}:
            call_command("migrate", "bemi_django", *target, database=alias, verbosity=0, skip_checks=True)

    def sources(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return conf.connection_parameters("default"), conf.connection_parameters(conf.destination())

    def run(self, *, accept_gap: bool = False) -> int:
        worker = Supervisor(WorkerConfig(*self.sources(), SLOT, "bemi", accept_gap=accept_gap), QUICK)
        written = worker.run(until_current=True)
        until(lambda: self.query("SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = %s",
                                 parameters=[SLOT]) == [])  # fmt: skip
        return written

    def record(self, *, accept_gap: bool = False) -> None:
        self.run(accept_gap=accept_gap)
        for table in (*IDENTITIES, "parts"):
            if table != "part":
                self.query(f"INSERT INTO {table} SELECT coalesce(max(id), 0) + 1 FROM {table}")  # noqa: S608
        self.run()

    def uninstall(self, *arguments: str) -> str:
        output = io.StringIO()
        call_command("bemi", "uninstall", *arguments, stdout=output)
        return output.getvalue()

    def identities(self) -> dict[str, str]:
        return dict(self.query(REPLICA_IDENTITIES, parameters=[list(IDENTITIES)]))

    def ours(self, alias: str = "default") -> list[str]:
        return [name for (name,) in self.query(OURS, alias)]

    def everywhere(self) -> dict[str, list[str]]:
        return {alias: self.ours(alias) for alias in self.aliases}

    def gaps(self) -> list[dict[str, Any]]:
        query = "SELECT context::text FROM public.changes WHERE operation = 'GAP' ORDER BY id"
        return [json.loads(context) for (context,) in self.query(query, conf.destination())]

    def logged(self) -> int:
        ((count,),) = self.query("SELECT count(*) FROM public.changes", conf.destination())
        return int(count)


@contextmanager
def database(alias: str, name: str) -> Iterator[None]:
    """Make an empty database for an alias, and drop it when the block ends."""
    with roles.administrator() as cursor:
        cursor.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    with roles.administrator(name) as cursor:
        cursor.execute(f"GRANT ALL ON SCHEMA public TO {OWNER}")
    original = connections[alias].settings_dict
    connections[alias].close()
    changed = {"NAME": name, "USER": OWNER, "PASSWORD": roles.PASSWORD}
    connections[alias].settings_dict = {**original, **changed}
    try:
        yield
    finally:
        connections[alias].close()
        connections[alias].settings_dict = original
        roles.drop_database(name)


@pytest.fixture
def project(settings: Any) -> Iterator[Project]:
    settings.BEMI_SLOT = SLOT
    with roles.administrator() as cursor:
        cursor.execute(f"CREATE ROLE {OWNER} LOGIN REPLICATION PASSWORD '{roles.PASSWORD}'")
    try:
        with ExitStack() as stack:
            stack.enter_context(database("default", SOURCE))
            made = Project(stack)
            made.query(TABLES)
            yield made
    finally:
        with roles.administrator() as cursor:
            cursor.execute(f"DROP ROLE {OWNER}")


@pytest.mark.parametrize(
    ("place", "state", "keep"),
    [
        ("here", "fresh", False),
        ("here", "rows", False),
        ("here", "rows", True),
        ("elsewhere", "slot", True),
        ("elsewhere", "rows", True),
    ],
)
def test_install_uninstall_and_install_again(
    project: Project, settings: Any, place: str, state: str, keep: bool
) -> None:
    if place == "elsewhere":
        project.put_log_elsewhere(settings)
    settings.BEMI_APPEND_ONLY = state == "rows"
    project.migrate()
    tracking.sync()
    protected = "SELECT count(*) FROM pg_trigger WHERE tgname = '_bemi_append_only'"
    assert project.query(protected, conf.destination()) == [(3 if state == "rows" else 0,)]
    # The owner may not create event triggers; an administrator has done so.
    project.administer("SELECT _bemi.event_triggers_v1()")
    if state == "slot":
        project.run()
    elif state == "rows":
        project.record()
        assert project.logged() == 5
    arguments = ["--keep-log"] if keep else []
    before = project.everywhere()
    planned = project.uninstall("--dry-run", *arguments).splitlines()
    assert project.everywhere() == before
    assert set(project.identities().values()) == {"f"}

    done = project.uninstall(*arguments).splitlines()
    assert [line for line in planned if not line.startswith("left")] == [
        line for line in done if not line.startswith(("left", "uninstalled"))
    ]
    assert ("slot: bemi_uninstall" in done) == (state != "fresh")
    assert project.identities() == IDENTITIES
    for alias, left in project.everywhere().items():
        if keep and alias == conf.destination():
            assert {name.split()[0] for name in left} == {"schema", "table", "type", "trigger"}
        else:
            assert left == []
    if keep:
        assert project.logged() == (6 if state == "rows" else 1)
        (ended,) = project.gaps()
        assert ended["reason"] == "recording was ended with 'bemi uninstall'" and ended["os_user"]
        assert (ended["command"], ended["arguments"]) == ("bemi uninstall", {"keep_log": True})
        assert ended["database_role"] == OWNER
        assert any("the log public.changes in" in line for line in done)
    assert project.uninstall(*arguments).splitlines()[-1] == "nothing to do"

    project.migrate()
    assert set(project.identities().values()) == {"f"}
    project.record(accept_gap=True)
    assert project.logged() >= (10 if keep and state == "rows" else 5)
    project.uninstall()
    assert not any(project.everywhere().values())
    assert project.identities() == IDENTITIES


def test_it_refuses_while_a_worker_reads_the_slot(project: Project) -> None:
    project.migrate()
    project.run()
    supervisor = Supervisor(WorkerConfig(*project.sources(), SLOT, "bemi"), QUICK)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(supervisor.run)
        try:
            until(
                lambda: project.query(
                    "SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = 'bemi_uninstall'"
                )
            )
            before = project.ours()
            with pytest.raises(CommandError, match="a worker reads the slot bemi_uninstall .*: stop"):
                project.uninstall()
            planned = project.uninstall("--dry-run")
            assert "a worker reads the slot" in planned and "log: public.changes" in planned
            assert project.ours() == before and set(project.identities().values()) == {"f"}
        finally:
            supervisor.stop()
            running.result(DEADLINE)
    until(
        lambda: (
            not project.query(
                "SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = 'bemi_uninstall'"
            )
        )
    )
    project.uninstall()
    assert project.ours() == []


def test_a_slot_that_is_read_when_all_else_is_gone_is_left_and_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.migrate()
    # The server ends a stream whose publication goes.
    project.query("CREATE PUBLICATION of_reader")
    project.run()
    slots_of, is_first = remains.slots_of, iter([True])
    # A worker that was started after the first look.
    monkeypatch.setattr(remains, "slots_of", lambda source: [] if next(is_first, False) else slots_of(source))
    reader = psycopg2.connect(**project.sources()[0], connection_factory=LogicalReplicationConnection)
    with closing(reader), reader.cursor() as cursor:
        cursor.start_replication(SLOT, options={"proto_version": "1", "publication_names": "of_reader"})
        done = project.uninstall().splitlines()
    remedy = "SELECT pg_drop_replication_slot('bemi_uninstall')"
    stop = "left: a worker reads the slot bemi_uninstall: stop 'manage.py bemi run', then run"
    assert f"{stop} {remedy}" in done and done[-1].startswith("uninstalled")
    assert project.ours() == ["publication of_reader", "slot bemi_uninstall"]


def interrupt_after(steps: int, patched: pytest.MonkeyPatch) -> None:
    """Interrupt what is removed after so many transactions."""
    calls = 0

    def interrupted(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > steps:
            raise KeyboardInterrupt
        briefly(*arguments, **options)

    patched.setattr(installation, "briefly", interrupted)


def test_it_goes_on_wherever_it_was_interrupted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.migrate()
    project.record()
    interruptions = 0
    while True:
        try:
            with monkeypatch.context() as patched:
                interrupt_after(1, patched)
                project.uninstall()
            break
        except CommandError as error:
            assert str(error).startswith("interrupted")
            interruptions += 1
            assert interruptions < 50, "each run does something"
    # The event triggers, the publication, each table, and the rest.
    assert interruptions > len(IDENTITIES)
    assert project.ours() == [] and project.identities() == IDENTITIES


def test_what_an_interruption_has_left_can_be_installed_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.migrate()
    project.record()
    for steps in (0, 1, 4):
        with monkeypatch.context() as patched, pytest.raises(CommandError, match="^interrupted"):
            interrupt_after(steps, patched)
            project.uninstall()
        project.migrate()
        assert set(project.identities().values()) == {"f"}
    project.record(accept_gap=True)
    assert project.logged() == 11
    project.uninstall()
    assert project.ours() == [] and project.identities() == IDENTITIES


def test_the_migrations_are_not_undone_while_something_would_be_lost(project: Project) -> None:
    project.migrate()
    project.run()
    refusal = (
        "while there is the slot bemi_uninstall .*: run 'manage.py bemi uninstall' instead, with --keep-log"
    )
    with pytest.raises(CommandError, match=refusal):
        project.migrate("zero")
    project.record()
    before = project.ours()
    with pytest.raises(CommandError, match="and the log public.changes, which has rows"):
        project.migrate("zero")
    project.query("SELECT pg_drop_replication_slot('bemi_uninstall')")
    with pytest.raises(CommandError, match="there is the log public.changes, which has rows"):
        project.migrate("zero")
    assert project.ours() == [name for name in before if name != "slot bemi_uninstall"]
    assert set(project.identities().values()) == {"f"}
    project.query("TRUNCATE changes")
    project.migrate("zero")
    assert project.ours() == [] and project.identities() == IDENTITIES


def test_migrations_of_a_log_elsewhere_are_not_undone_either(project: Project, settings: Any) -> None:
    project.put_log_elsewhere(settings)
    project.migrate()
    project.record()
    for alias, what in (("default", "the slot bemi_uninstall"), ("other", "the log public.changes")):
        with pytest.raises(CommandError, match=f"on '{alias}' while there is {what}"):
            call_command("migrate", "bemi_django", "zero", database=alias, verbosity=0, skip_checks=True)
    project.uninstall()
    assert not any(project.everywhere().values())


def test_what_only_an_administrator_may_do_is_left_and_named(project: Project) -> None:
    project.migrate()
    project.record()
    other = "CREATE TABLE theirs (id int PRIMARY KEY); CREATE PUBLICATION theirs FOR TABLE nothing"
    project.administer(f"ALTER ROLE {OWNER} NOREPLICATION SUPERUSER")
    project.query(other)
    call_command("bemi", "sync", stdout=io.StringIO())
    project.administer(
        f"ALTER ROLE {OWNER} NOSUPERUSER; ALTER TABLE theirs OWNER TO CURRENT_USER; "
        "ALTER PUBLICATION theirs OWNER TO CURRENT_USER"
    )
    done = project.uninstall()
    left = [line for line in done.splitlines() if line.startswith("left: ")]
    remedies = [
        "SELECT pg_drop_replication_slot('bemi_uninstall')",
        "ALTER TABLE public.nothing REPLICA IDENTITY NOTHING",
        "ALTER TABLE public.theirs REPLICA IDENTITY DEFAULT",
    ]
    for remedy in remedies:
        assert [line for line in left if line.endswith(remedy)], (remedy, left)
        project.administer(remedy)
    assert project.ours() == ["publication theirs"]
    assert project.identities() == IDENTITIES
    project.administer("DROP PUBLICATION theirs; DROP TABLE theirs")
    assert project.uninstall() == "nothing to do\n"


def test_a_publication_of_somebody_else_keeps_its_tables_as_they_are(project: Project) -> None:
    project.migrate()
    project.administer("ALTER PUBLICATION bemi OWNER TO CURRENT_USER")
    left = [line for line in project.uninstall().splitlines() if line.startswith("left: ")]
    # Without an identity, an UPDATE of a published table fails.
    project.query("INSERT INTO nothing VALUES (1)")
    project.query("UPDATE nothing SET id = 2")
    assert any(line.endswith("run DROP PUBLICATION bemi") for line in left)
    project.administer("DROP PUBLICATION bemi")
    for line in left:
        if "ALTER TABLE" in line:
            project.query(line[line.index("ALTER TABLE") :])
    assert project.ours() == [] and project.identities() == IDENTITIES


def test_the_rights_and_roles_that_stay_are_named(project: Project) -> None:
    project.migrate()
    script = io.StringIO()
    call_command(
        "bemi", "grants", "--worker", "uninstall_worker", "--reader", "uninstall_reader", stdout=script
    )
    try:
        project.administer(script.getvalue())
        done = project.uninstall().splitlines()
        (reader,) = [line for line in done if line.startswith("left: the role uninstall_reader stays")]
        (worker,) = [line for line in done if line.startswith("left: the role uninstall_worker stays")]
        assert "REVOKE CONNECT ON DATABASE uninstall_source FROM uninstall_reader" in reader
        # The test's other databases use it.
        assert any(line.startswith("left: the role _bemi_compute stays, because other") for line in done)
        for line in (reader, worker):
            # What the line says is enough to drop the role.
            project.administer(line.partition(", run ")[2])
    finally:
        for role in ("uninstall_worker", "uninstall_reader"):
            with roles.administrator(SOURCE) as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
                if cursor.fetchone():
                    cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_an_installation_of_another_role_is_refused_before_anything_is_done(project: Project) -> None:
    project.migrate()
    project.administer("ALTER SCHEMA _bemi OWNER TO CURRENT_USER")
    before = project.ours()
    with pytest.raises(CommandError, match="The schema _bemi belongs to the role"):
        project.uninstall()
    assert project.ours() == before and set(project.identities().values()) == {"f"}


def test_objects_of_others_that_depend_on_the_log_are_named_before_anything_is_done(project: Project) -> None:
    project.migrate()
    project.record()
    for statement in (
        "SELECT _bemi.partition_v1('2001-01-01')",
        'CREATE VIEW "my report" AS SELECT * FROM changes',
        "CREATE VIEW of_rows AS SELECT c FROM changes c",
        "CREATE TYPE of_one AS (one changes)",
        "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM _bemi.checkpoint",
        "CREATE FUNCTION latest(n int) RETURNS SETOF changes LANGUAGE sql AS 'SELECT * FROM changes LIMIT n'",
        "CREATE TABLE notes (id int, one changes, number int DEFAULT _bemi.sequence_v1('x', '0/0')::int)",
        # Beside ours, each kind of object.
        'CREATE TABLE _bemi."my (own" (id serial PRIMARY KEY, t text UNIQUE)',
        "CREATE TYPE _bemi.mine AS (one int)",
        "CREATE VIEW _bemi.v AS SELECT 1 AS one",
        "CREATE FUNCTION _bemi.mine(n int) RETURNS int LANGUAGE sql RETURN n",
        "CREATE AGGREGATE _bemi.all_of(int) (sfunc = int4pl, stype = int)",
    ):
        project.query(statement)
    project.administer(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;"
        "CREATE FOREIGN TABLE _bemi.far (id int) SERVER nowhere"
    )
    before = project.ours()
    said = project.uninstall("--dry-run")
    with pytest.raises(
        CommandError, match="nothing was removed, because objects of others depend on the log or are in its"
    ):
        project.uninstall()
    assert project.ours() == before and project.logged() == 5
    lines = [line.removesuffix(" first") for line in said.splitlines() if ": run " in line]
    assert sum(" depends on the log: run " in line for line in lines) == 7
    assert sum(" is in the schema _bemi: run " in line for line in lines) == len(lines) - 7 == 6
    for line in lines:
        # What the line says is enough.
        project.administer(line.partition(": run ")[2])
    project.uninstall()
    assert project.ours() == [] and project.identities() == IDENTITIES


def test_a_log_that_other_databases_need_stays(project: Project) -> None:
    # The log in "default" has the changes of both.
    project.add_other()
    for alias in ("default", "other"):
        call_command("migrate", "bemi_django", database=alias, verbosity=0, skip_checks=True)
    project.record()
    done = io.StringIO()
    call_command("bemi", "uninstall", "--database", "other", stdout=done)
    assert project.ours("other") == [] and project.logged() == 5
    assert set(project.identities().values()) == {"f"}
    project.uninstall()
    assert project.ours() == []


def test_a_table_that_is_locked_is_waited_for_briefly_and_done_by_the_next_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.migrate()
    project.record()
    monkeypatch.setattr(installation, "briefly", partial(briefly, lock_timeout=0.01, attempts=2))
    with roles.administrator(SOURCE) as cursor:
        cursor.execute("BEGIN; LOCK TABLE plain IN ACCESS SHARE MODE")
        with pytest.raises(CommandError, match="not everything was removed: .*lock timeout; .* again"):
            project.uninstall()
        cursor.execute("ROLLBACK")
    assert project.logged() == 5
    project.uninstall()
    assert project.ours() == [] and project.identities() == IDENTITIES


def test_at_a_terminal_it_asks_before_it_deletes_a_log_with_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []
    answers = ["no", "yes"]

    def ask(question: str) -> str:
        questions.append(question)
        return answers.pop(0)

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", ask)
    project.migrate()
    project.record()
    before = project.ours()
    for arguments in (["--dry-run"], ["--dry-run", "--keep-log"]):
        project.uninstall(*arguments)
    assert questions == []
    assert project.uninstall() == "nothing was removed\n"
    assert len(questions) == 1 and "--keep-log" in questions[0]
    assert project.ours() == before and set(project.identities().values()) == {"f"}
    project.uninstall()
    assert project.ours() == [] and answers == []
