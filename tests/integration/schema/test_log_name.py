"""``BEMI_TABLE``: a log of any name, beside a table of the project that is called ``changes``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import django
import pytest
from psycopg2.errors import DuplicateTable

from bemi_django.wire.table_name import split
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE
from tests.support.processes import database_url
from tests.support.roles import administrator, drop_database

# It makes slots.
pytestmark = pytest.mark.administrator

DATABASE = "named_log"
LONGEST = "n" * 55
NAMES = {
    "that of a table of ours": "histories",
    "quotes, dots, unicode and upper case": '"a.b""c"."""Änder"".ungen"',
    "backslashes, colons and what has a meaning in formats": "100%s\\x24:a.{0} %(x)s\\:b'",
    "the longest": f"{'s' * 63}.{LONGEST}",
}


@pytest.fixture
def database(transactional_db: None) -> Iterator[str]:
    """The URL of an empty database."""
    drop_database(DATABASE)
    with administrator() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    yield database_url(dbname=DATABASE)
    drop_database(DATABASE)


def python(
    database: str, name: str | None, *arguments: str, answer: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run Python in the project whose log has this name."""
    environment = {**os.environ, "DATABASE_URL": database}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.support.named_log_settings"
    if name is not None:
        environment["LOG_NAME"] = name
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == answer, done.stdout + done.stderr
    return done


def commands(database: str, name: str | None, *lines: str) -> str:
    """Run commands of Django one after the other in one process, and return what they print."""
    calls = "; ".join(f"execute_from_command_line(['', *{line!r}.split()])" for line in lines)
    return python(
        database, name, "-c", f"from django.core.management import execute_from_command_line; {calls}"
    ).stdout


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_project_works_with_a_log_of_any_name(database: str, name: str) -> None:
    done = python(database, name, "-m", "tests.support.named_log")
    schema, log = split(name) or (None, "")
    found = json.loads(done.stdout.splitlines()[-1])
    assert {place for place, _ in found} == {schema or "public"}
    names = {belonging for _, belonging in found}
    assert all(belonging.startswith(log) for belonging in names), names
    # The log, two months, 12 indexes and the key of the table are the least; nothing was cut to the same.
    assert len(names) >= 15


def test_a_name_that_cannot_be_is_reported_by_check_and_raised_where_none_runs(database: str) -> None:
    done = python(database, "a.b.c", "-m", "django", "check", answer=1)
    assert "(bemi.E007) BEMI_TABLE is 'a.b.c': use 'name' or 'schema.name'" in done.stderr
    assert "Traceback" not in done.stderr
    query = "import django; django.setup(); from bemi_django.models import Change; Change.objects.first()"
    done = python(database, "a.b.c", "-c", query, answer=1)
    assert done.stderr.splitlines()[-1].startswith("django.core.exceptions.ImproperlyConfigured: BEMI_TABLE")


@pytest.mark.parametrize("changed", ["audit.changes", 'we"ird 100%'])
def test_a_name_that_is_changed_later_is_recognised(database: str, changed: str) -> None:
    commands(database, None, "migrate -v0", "bemi run --until-current")
    check = "-m", "django", "check", "--database", "default"
    done = python(database, changed, *check, answer=1)
    assert "(bemi.E008) BEMI_TABLE stands for" in done.stderr
    assert "but the log in 'default' is public.changes" in done.stderr
    rename = re.search("rename the log, then run manage.py bemi sync: (.*)", done.stderr)
    assert rename, done.stderr
    with administrator(DATABASE) as cursor:
        cursor.execute("CREATE SCHEMA audit")
        cursor.execute(rename[1])
    again = commands(
        database, changed, "check --database default", "bemi sync", "version", "bemi sync --dry-run"
    )
    # Partitions and indexes of the old name are still the log's.
    again = again.partition(django.__version__)[2]
    assert "public.changes" not in again and "index" not in again
    python(database, changed, "-m", "tests.support.named_log", "renamed")
    # Without the setting, the log is not where the model is.
    assert "(bemi.E008)" in python(database, None, *check, answer=1).stderr
    with administrator(DATABASE) as cursor:
        cursor.execute("CREATE TABLE public.changes (id int)")
    assert "(bemi.E008)" in python(database, None, *check, answer=1).stderr


def test_a_schema_that_the_role_may_not_make_is_asked_for_in_one_line(database: str) -> None:
    with administrator(DATABASE) as cursor:
        cursor.execute("CREATE ROLE named_log_owner LOGIN PASSWORD 'secret'")
        cursor.execute("CREATE SCHEMA _bemi AUTHORIZATION named_log_owner; CREATE SCHEMA theirs")
        cursor.execute("GRANT ALL ON SCHEMA public TO named_log_owner")
    mine = database_url(dbname=DATABASE, user="named_log_owner", password="secret")
    migrate = "-m", "django", "migrate", "bemi_django", "-v0"
    try:
        done = python(mine, "audit.log", *migrate, answer=1)
        statement = "CREATE SCHEMA audit AUTHORIZATION named_log_owner"
        assert done.stderr.splitlines()[-1].endswith(statement) and "Traceback" not in done.stderr
        done = python(mine, "theirs.log", *migrate, answer=1)
        grant = "GRANT CREATE, USAGE ON SCHEMA theirs TO named_log_owner"
        assert done.stderr.splitlines()[-1].endswith(grant) and "Traceback" not in done.stderr
        with administrator(DATABASE) as cursor:
            cursor.execute(f"{statement}; {grant}; CREATE TABLE theirs.tool (id int)")
        for name in ("audit.log", "theirs.log"):
            with administrator(DATABASE) as cursor:
                cursor.execute("CREATE SCHEMA IF NOT EXISTS _bemi AUTHORIZATION named_log_owner")
            python(mine, name, *migrate)
            python(mine, name, "-m", "django", "migrate", "bemi_django", "zero", "-v0")
        with administrator(DATABASE) as cursor:
            # They were there before.
            cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname IN ('audit', 'theirs')")
            assert len(cursor.fetchall()) == 2
    finally:
        with administrator(DATABASE) as cursor:
            cursor.execute("DROP OWNED BY named_log_owner CASCADE; DROP ROLE named_log_owner")


def test_a_partition_whose_name_is_taken_and_cannot_be_longer_is_refused(database: str) -> None:
    python(database, LONGEST, "-m", "django", "migrate", "bemi_django", "-v0")
    with administrator(DATABASE) as cursor:
        cursor.execute(f"CREATE TABLE {LONGEST}_2031_05 (id int)")
        with pytest.raises(DuplicateTable, match="_2031_05 is taken, and the log needs it for a partition"):
            cursor.execute("SELECT _bemi.partition_v1('2031-05-05')")
        cursor.execute("SELECT _bemi.partition_v1('2031-06-05')")
        assert cursor.fetchone() == (True,)
