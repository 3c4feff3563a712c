"""Without a superuser, as docs/hosting.md describes it: a role that may create roles installs and grants."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from sample_project.postgres_server import ADDRESSES
from tests.support.cluster import Cluster
from tests.support.paths import ROOT
from tests.support.roles import PASSWORD

PAGE = (ROOT / "docs/hosting.md").read_text()
LOG = "SELECT after, unavailable FROM changes WHERE \"table\" = 'priced'"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # The role for computed values belongs to a server: this one has nobody else's.
    made = Cluster()
    try:
        made.run(f"CREATE ROLE provider LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'")
        made.run("CREATE DATABASE mysite OWNER provider")
        yield made
    finally:
        made.close()


def manage(cluster: Cluster, role: str, *arguments: str) -> str:
    given = cluster.parameters_of(role)
    addressed = {
        "PGHOST": given["host"],
        "PGPORT": str(given["port"]),
        "PGUSER": role,
        "PGPASSWORD": PASSWORD,
    }
    kept = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
    done = subprocess.run(
        [sys.executable, "-m", "sample_project.manage", *arguments],
        cwd=ROOT,
        env={
            **kept,
            **addressed,
            "PGDATABASE": "mysite",
            "DJANGO_SETTINGS_MODULE": "sample_project.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_role_that_may_create_roles_installs_and_grants(cluster: Cluster) -> None:
    (sql,) = re.findall(r"^ *```sql\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    before, after = sql.splitlines()
    parameters = {**cluster.parameters_of("provider"), "dbname": "mysite"}
    with closing(psycopg2.connect(**parameters)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            "CREATE TABLE priced (id int PRIMARY KEY, net int, "
            "gross int GENERATED ALWAYS AS (net * 2) STORED)"
        )
        manage(cluster, "provider", "migrate", "--verbosity", "0")
        granted = manage(cluster, "provider", "bemi", "grants")
        assert granted.count(" REPLICATION;") == 1
        for statements in (before, granted.replace(" REPLICATION;", ";"), after):
            cursor.execute(statements)
        cursor.execute(f"ALTER ROLE bemi_worker PASSWORD '{PASSWORD}'")
        # A right that could not be granted is a warning.
        assert not [notice for notice in connection.notices if not notice.startswith("NOTICE")]
        cluster.run("ALTER ROLE bemi_worker REPLICATION")

        manage(cluster, "bemi_worker", "bemi", "run", "--until-current")
        cursor.execute("INSERT INTO priced VALUES (1, 4)")
        manage(cluster, "bemi_worker", "bemi", "run", "--until-current")
        cursor.execute(LOG)
        assert cursor.fetchall() == [({"id": 1, "net": 4, "gross": 8}, None)]
