"""What the README says works: its commands and code are run, in order, in a project as a reader has one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.support.paths import ROOT
from tests.support.polling import DEADLINE, until

IS_READ = "SELECT 1 FROM pg_replication_slots WHERE active AND database = current_database()"
README = (ROOT / "README.md").read_text()
SETTINGS = """
import os
from urllib.parse import unquote, urlsplit
url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username,
    "PASSWORD": unquote(url.password or ""), "HOST": url.hostname, "PORT": url.port,
}}
"""
DJANGO = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'; django.setup()"
WITH_USER = """
from django.contrib.auth.models import Group, User
user, _ = User.objects.get_or_create(id=1, username="ann")
user.groups.add(Group.objects.get_or_create(name="g")[0])
"""


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands() -> list[str]:
    inline = re.findall(r"`((?:python manage\.py|pip install) [^`]+)`", README)
    return [line for block in blocks("sh") for line in block.splitlines()] + inline


@dataclass
class Project:
    """A Django project made by ``startproject``, an environment with this package, a database."""

    directory: Path
    environment: Path
    url: str

    @property
    def variables(self) -> dict[str, str]:
        path = f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))
        }
        return {**kept, "PATH": path, "VIRTUAL_ENV": str(self.environment), "DATABASE_URL": self.url}

    def run(self, command: str, directory: Path | None = None) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=directory or self.directory,
            env=self.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, code: str) -> str:
        return self.run(f"python - <<'END'\n{code}\nEND")

    def shell(self, code: str) -> str:
        return self.python(f"{DJANGO}{WITH_USER}{code}")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    home = tmp_path_factory.mktemp("readme")
    server = os.environ["DATABASE_URL"]
    administrator = psycopg2.connect(server)
    administrator.autocommit = True
    with administrator.cursor() as cursor:
        cursor.execute("CREATE DATABASE readme")
    made = Project(home, home / "env", urlsplit(server)._replace(path="/readme").geturl())
    try:
        subprocess.run([sys.executable, "-m", "venv", str(made.environment)], check=True)
        yield made
    finally:
        with administrator.cursor() as cursor:
            cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE database = 'readme'")
            for slot in cursor.fetchall():
                cursor.execute("SELECT pg_drop_replication_slot(%s)", slot)
            cursor.execute("DROP DATABASE readme WITH (FORCE)")
        administrator.close()


def wait_for(ready: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until(lambda: ready() or process.poll() is not None)
    assert ready(), "the process has ended"


def test_the_quickstart_works_word_by_word(project: Project) -> None:
    settings, context_function, querying, asking, _, engine = blocks("python")
    executed = []

    def run(command: str, directory: Path | None = None) -> str:
        executed.append(command)
        assert command in commands(), f"the README does not say: {command}"
        return project.run(command, directory)

    run("pip install '.[sqlalchemy]'", ROOT)
    run("pip install .", ROOT)
    project.run("django-admin startproject mysite .")
    with (project.directory / "mysite/settings.py").open("a") as file:
        file.write(SETTINGS + settings)
    (project.directory / "mysite/audit.py").write_text(context_function)
    assert "Recording begins when" in run("python manage.py migrate")
    assert "recording begins" in project.run("python manage.py check --database default 2>&1")
    executed.append("python manage.py check --database default")
    for command in ("python manage.py bemi sync --dry-run", "python manage.py bemi sync"):
        assert run(command).startswith("nothing to do\n")
    run("python manage.py bemi sync --create-slot")

    command = "python manage.py bemi run"
    executed.append(command)
    with subprocess.Popen(
        command.split(), cwd=project.directory, env=project.variables, stdout=subprocess.PIPE, text=True
    ) as worker:
        wait_for(
            lambda: project.query(IS_READ),
            worker,
        )
        project.shell(querying.split("for change")[0])
        log = """
            SELECT operation, context->>'reason' FROM changes WHERE "table" = 'auth_user_groups' ORDER BY id
        """
        wait_for(lambda: len(project.query(log)) == 2, worker)
        run("python manage.py bemi doctor")
        assert "running (slot bemi_" in run("python manage.py bemi status")
        assert "as in the log" in run("python manage.py bemi verify")
        worker.send_signal(signal.SIGINT)
        output = worker.communicate(timeout=DEADLINE)[0]
    assert worker.returncode == 0 and "changes written" in output
    assert project.query(log) == [("CREATE", None), ("DELETE", "clean-up")]
    printed = project.shell(querying)
    assert printed.startswith("CREATE 1 {") and "'reason': 'clean-up'" in printed
    asked = project.shell(f"from bemi_django.models import Change\n{asking}").splitlines()
    # The user is in the group again.
    assert asked[-1].startswith("conflict: public.auth_user_groups 1: another row has the same user_id")
    assert "DELETE User_groups object (1)" in asked and "CREATE ann" in asked

    project.python(
        "import os; DATABASE_URL = os.environ['DATABASE_URL'].replace('postgresql:', "
        "'postgresql+psycopg2:')\n" + engine
    )
    run("python manage.py bemi run --until-current")
    (change,) = project.query(
        """SELECT context FROM changes WHERE "table" = 'auth_user' AND operation = 'UPDATE'"""
    )
    assert change[0]["process"] == "MyWorker"

    assert run("python manage.py bemi retry-dead-letters") == "0 repaired, 0 kept\n"
    assert 'CREATE ROLE "bemi_worker" LOGIN REPLICATION;' in run("python manage.py bemi grants")

    select = blocks("sql")[1]
    assert len(project.query(select)[0]) == 7

    # These install and test the project itself: .ci/run does it, in a clean checkout.
    executed += [
        "make demo",
        "make test",
        "pip install '.[aldjemy]'",
        'pip install "bemi-django-wal[metrics]"',
    ]
    assert sorted(set(commands())) == sorted(set(executed))


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_settings_may_be_lists_or_tuples(kind: type[list[str]] | type[tuple[str, ...]]) -> None:
    settings: dict[str, Any] = {"INSTALLED_APPS": kind(["shop"]), "MIDDLEWARE": kind(["shop.middleware"])}
    exec(compile(blocks("python")[0], "README.md, settings", "exec"), settings)
    assert list(settings["INSTALLED_APPS"]) == ["shop", "bemi_django"]
    assert list(settings["MIDDLEWARE"]) == ["shop.middleware", "bemi_django.middleware.BemiMiddleware"]


def test_every_setting_is_in_the_table() -> None:
    modules = (ROOT / "bemi_django").rglob("*.py")
    in_code = {name for module in modules for name in re.findall(r'"(BEMI_\w+)"', module.read_text())}
    in_table = set(re.findall(r"^\| `(BEMI_\w+)`", README, re.MULTILINE))
    assert in_table == in_code


def test_the_ci_runs_what_the_readme_starts_with() -> None:
    ci = (ROOT / ".ci/run").read_text()
    assert "step make test\n" in ci and "step make demo-check\n" in ci


@pytest.mark.parametrize("path", re.findall(r"\]\(([\w./]+)\)", README))
def test_what_the_readme_links_to_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
