"""What only an administrator can mend: ``bemi run`` ends with status 1 and one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from bemi_django.exceptions import Refused, first_line, sqlstate_of
from bemi_django.ingest.error_advice import is_lasting, of_connection, told
from bemi_django.ingest.refusal import with_state
from bemi_django.ingest.stream import connections
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline

ROLES = """
CREATE ROLE plain LOGIN PASSWORD 'p';
CREATE ROLE asleep REPLICATION PASSWORD 'p';
CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD 'p';
CREATE ROLE barred LOGIN REPLICATION PASSWORD 'p';
CREATE ROLE "No-Rights" LOGIN REPLICATION PASSWORD 'p';
CREATE ROLE "barred-from" LOGIN REPLICATION PASSWORD 'p';
CREATE ROLE counter LOGIN PASSWORD 'p';
CREATE ROLE maker LOGIN PASSWORD 'p';
GRANT USAGE ON SCHEMA _bemi TO "No-Rights", counter, maker;
GRANT SELECT, INSERT, UPDATE ON _bemi.checkpoint TO counter, maker;
GRANT SELECT, INSERT ON _bemi.histories TO counter, maker;
GRANT SELECT ON _bemi.chains TO counter, maker;
GRANT EXECUTE ON FUNCTION _bemi.partition_v1 TO maker;
"""
UNMAKE = "; ".join(
    f"DROP OWNED BY {role}; DROP ROLE {role}"
    for role in ("plain", "asleep", "crowded", "barred", '"barred-from"', '"No-Rights"', "counter", "maker")
)

#: Where the worker reads or writes as whom, and what it says then.
CASES = {
    "wrong password": (
        "source plain wrong",
        'password authentication failed for user "plain": correct USER and PASSWORD in DATABASES',
    ),
    "no login": ("source asleep", "is not permitted to log in: run as superuser: ALTER ROLE asleep LOGIN"),
    "no replication": ("source plain", "run as superuser: ALTER ROLE plain REPLICATION (RDS: GRANT rds_"),
    "pg_hba": ("source barred", "let barred in with a line of pg_hba.conf, then reload the server's conf"),
    "pg_hba of the log": ("log barred", "let barred in with a line of pg_hba.conf"),
    "no database": (
        "source plain p nowhere",
        'database "nowhere" does not exist: create the database, or correct NAME in DATABASES',
    ),
    "slot of another database": (
        "source postgres - empty",
        "the slot bemi_trail belongs to database postgres: choose another name with BEMI_SLOT",
    ),
    "log not migrated": ("log postgres - empty", "run 'manage.py migrate bemi_django --database log' first"),
    "no schema": (
        "source barred-from",
        'run as the owner in postgres: GRANT USAGE ON SCHEMA _bemi TO "barred-from"',
    ),
    "no schema of the log": (
        "log plain",
        "run as the owner in postgres: GRANT USAGE ON SCHEMA _bemi TO plain",
    ),
    "no descriptions": (
        "source No-Rights",
        'run as the owner in postgres: GRANT SELECT ON _bemi.relations TO "No-Rights"',
    ),
    "no checkpoint": (
        "log No-Rights",
        'run as the owner in postgres: GRANT SELECT, INSERT, UPDATE ON _bemi.checkpoint TO "No-Rights"',
    ),
    "no partitions": (
        "log counter",
        "run as the owner in postgres: GRANT EXECUTE ON FUNCTION _bemi.partition_v1 TO counter",
    ),
    "no changes": ("log maker", "run as the owner in postgres: GRANT INSERT ON changes TO maker"),
}


@pytest.fixture(scope="module", autouse=True)
def roles(source_cluster: Cluster, log_cluster: Cluster) -> Iterator[None]:
    for cluster in (source_cluster, log_cluster):
        rules = cluster.directory / "data" / "pg_hba.conf"
        rules.write_text("host all barred all reject\n" + rules.read_text())
        cluster.run(ROLES)
        cluster.run("CREATE DATABASE empty")
        cluster.run("SELECT pg_reload_conf()")
    yield
    for cluster in (source_cluster, log_cluster):
        cluster.run("DROP DATABASE empty")
        cluster.run(UNMAKE)


def address(cluster: Cluster, role: str, password: str = "p", database: str = "postgres") -> str:
    server = cluster.server
    if role == server.user:
        password = server.password
    return f"postgresql://{quote(role)}:{password}@{server.host}:{server.port}/{database}"


@pytest.mark.parametrize(("who", "words"), CASES.values(), ids=CASES)
def test_a_refusal_is_one_line_that_says_what_to_do(who: str, words: str, trail: LoadPipeline) -> None:
    trail.write()
    where, *identity = who.split()
    given = {where: address(getattr(trail, where), *identity)}
    with trail.command(**given) as worker:
        assert worker.ends() == 1, worker.out
        (line,) = worker.errors.splitlines()
        assert line.startswith("CommandError: ") and words in line
        assert "Traceback" not in worker.out and "trying again" not in worker.out


#: What connects to the source, and to the log, in its own way.
COMMANDS = {
    "source": ("run", "status", "doctor", "verify", "sync", "baseline", "retry-dead-letters"),
    "log": (
        *("run", "status", "sync", "prune", "verify --chain", "archive --before 2020-01 --to /nowhere"),
        "handlers",
    ),
}


@pytest.mark.parametrize(
    ("where", "command"), [(where, command) for where, names in COMMANDS.items() for command in names]
)
def test_a_wrong_password_is_one_failed_log_in(where: str, command: str, trail: LoadPipeline) -> None:
    """Providers and directories lock accounts after a few of them."""
    trail.write()
    cluster = getattr(trail, where)

    def failed() -> int:
        said = b'FATAL:  password authentication failed for user "plain"'
        log: bytes = (cluster.directory / "server.log").read_bytes()
        return log.count(said)

    before = failed()
    given = {"source": trail.source.server.url, "log": trail.log.server.url}
    given[where] = address(cluster, "plain", "wrong")
    with Command("bemi", *command.split(), slot=trail.slot, **given) as process:
        assert process.ends() == 1, process.out
        (line,) = process.errors.splitlines()
        assert line.endswith('"plain": correct USER and PASSWORD in DATABASES')
    assert failed() == before + 1


def test_a_database_that_cannot_be_asked_hides_no_other_error(trail: LoadPipeline) -> None:
    """The log lacks a table, and the source, which would know why, refuses the connection."""
    source = address(trail.source, "plain", "wrong")
    with Command("bemi", "prune", slot=trail.slot, source=source, log=trail.log.server.url) as process:
        assert process.ends() == 1, process.out
        assert process.errors == 'CommandError: relation "_bemi.lost_months" does not exist\n'


#: Who connects how, and with which SQLSTATE the server refuses that.
REFUSALS: dict[str, dict[str, Any]] = {
    "28P01": {"user": "plain", "password": "wrong"},
    "28000": {"user": "asleep", "password": "p"},
    "3D000": {"user": "plain", "password": "p", "dbname": "nowhere"},
    "42501": {"user": "plain", "password": "p", "replication": "database"},
    "42704": {"user": "plain", "password": "p", "options": "-c nothing=1"},
    "22023": {"user": "plain", "password": "p", "options": "-c work_mem=much"},
    "53300": {"user": "crowded", "password": "p"},
    "": {"user": "plain", "password": "p", "port": 1},
}


def test_a_refusal_is_known_by_its_sqlstate_whatever_the_server_says(trail: LoadPipeline) -> None:
    """In a language that we do not know, and in an encoding that psycopg2 does not."""
    said = "FATAL:  Zugriff f\u00fcr \u00bbplain\u00ab verweigert"
    for state, given in REFUSALS.items():
        parameters = {**trail.source.parameters, **given}
        for raised in (
            psycopg2.OperationalError(said),
            UnicodeDecodeError("utf-8", said.encode("latin-1"), 14, 15, "invalid start byte"),
        ):
            error = with_state(raised, parameters)
            assert sqlstate_of(error) == state and isinstance(error, psycopg2.Error)
            refused = of_connection(error, parameters)
            assert (refused is not None) == (state not in ("53300", "")), refused
            if state:
                assert ": " in str(refused or told(error)).replace(first_line(error), ""), state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("28P01", 'FATAL:  password authentication failed for user "plain"'),
        ("28P01", 'FATAL:  Zugriff verweigert\npassword retrieved from file "/home/plain/.pgpass"'),
        ("28000", 'FATAL:  LDAP authentication failed for user "plain"'),
        ("", 'connection to server at "db" (10.0.0.7), port 5432 failed: timeout expired'),
    ],
)
def test_a_server_is_not_asked_again(state: str, said: str, trail: LoadPipeline) -> None:
    """No log-in that has failed is tried again, and no server that was not there is waited for twice."""
    # It would accept the connection.
    error = with_state(psycopg2.OperationalError(said), trail.source.parameters)
    assert sqlstate_of(error) == state and first_line(error) == " ".join(said.splitlines()[0].split())


def test_a_password_that_was_renewed_meanwhile_is_no_reason_to_end(trail: LoadPipeline) -> None:
    passwords = iter(["former", "p"])

    def ask() -> dict[str, Any]:
        return {**trail.source.parameters, "user": "plain", "password": next(passwords)}

    with pytest.raises(psycopg2.Error, match="password authentication failed") as raised:
        connections._connect(psycopg2.connect, ask)
    assert not is_lasting(raised.value)
    # An answer, as a watchdog understands it.
    assert sqlstate_of(raised.value)


def test_a_setting_that_a_role_may_not_have_is_no_lack_of_a_right_to_connect(trail: LoadPipeline) -> None:
    given = {**trail.source.parameters, "user": "plain", "password": "p"}
    with pytest.raises(Refused, match='"log_statement": correct OPTIONS in DATABASES'):
        connections._connect(psycopg2.connect, lambda: {**given, "options": "-c log_statement=all"})


def test_a_source_without_our_objects_is_one_line(trail: LoadPipeline) -> None:
    source = address(trail.source, "postgres", database="empty")
    with trail.command(source=source, slot="bemi_unmade") as worker:
        assert worker.ends() == 1
        assert worker.errors == (
            "CommandError: the database objects of bemi_django are missing: "
            "run 'manage.py migrate bemi_django' first\n"
        )


def test_a_publication_that_the_worker_may_not_make_is_one_line(trail: LoadPipeline) -> None:
    trail.source.run("DROP PUBLICATION bemi")
    with trail.command(source=address(trail.source, "No-Rights"), slot="bemi_unmade") as worker:
        assert worker.ends() == 1
        assert worker.errors == (
            "CommandError: cannot create the publication: permission denied for database postgres; "
            "run 'manage.py bemi sync' as the owner of the tables\n"
        )


def test_a_slot_of_another_plugin_is_one_line(trail: LoadPipeline) -> None:
    trail.source.run("SELECT pg_create_logical_replication_slot('bemi_unmade', 'test_decoding')")
    try:
        with trail.command(slot="bemi_unmade") as worker:
            assert worker.ends() == 1
            assert worker.errors == (
                "CommandError: the slot bemi_unmade belongs to database postgres (plugin test_decoding): "
                "choose another name with BEMI_SLOT\n"
            )
    finally:
        trail.source.run("SELECT pg_drop_replication_slot('bemi_unmade')")


def test_a_server_without_logical_wal_is_one_line(trail: LoadPipeline) -> None:
    with trail.command(source=trail.log.server.url) as worker:
        assert worker.ends() == 1
        assert worker.errors == (
            "CommandError: wal_level is replica: "
            "run ALTER SYSTEM SET wal_level = logical and restart the server\n"
        )
