"""What docs/without-django.md says works: its blocks are used as a reader uses them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bemi_django.cli.command import StandaloneProgram
from bemi_django.cli.configuration import SETTINGS, configuration_of
from tests.integration.cli.test_cli import bemi
from tests.support.alembic_project import AlembicProject, TodoDatabase, todo_database
from tests.support.paths import ROOT

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
pytestmark = pytest.mark.administrator

PAGE = (ROOT / "docs/without-django.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def database(transactional_db: None) -> Iterator[TodoDatabase]:
    with todo_database("page") as made:
        yield made


def test_the_page_is_true(database: TodoDatabase, tmp_path: Path) -> None:
    revision, line, context = blocks("python")
    project = AlembicProject(tmp_path, database.url("psycopg2"))
    (file,) = (tmp_path / "alembic/versions").glob("*.py")
    file.write_text(file.read_text().split("from bemi_django")[0] + revision)
    env = tmp_path / "alembic/env.py"
    env.write_text(line + env.read_text())
    project.upgrade()

    (table,) = blocks("toml")
    placeholder = "postgresql://user@host/database"
    url = database.url("psycopg2")
    assert placeholder in table
    (tmp_path / "pyproject.toml").write_text(table.replace(placeholder, url))
    (installs, runs) = blocks("sh")
    commands = [*runs.replace(placeholder, url).splitlines(), *installs.splitlines()]
    assert len(commands) == 3
    for command in commands:
        name, *arguments = command.split()
        assert name == "bemi"
        bemi(tmp_path, *arguments, *(["--until-current"] if arguments[0] == "run" else []))
    project.downgrade()

    # In a process of its own: it hooks every engine.
    subprocess.run([sys.executable, "-W", "error", "-c", context], cwd=ROOT, check=True)


def test_all_commands_and_settings_are_on_the_page() -> None:
    parser = StandaloneProgram().create_parser("bemi", "")
    (subcommands,) = [action.choices for action in parser._actions if action.dest == "subcommand"]
    assert set(re.findall(r"`bemi ([a-z-]+)[^`]*`", PAGE)) >= set(subcommands or ())
    (sentence,) = re.findall(r"The settings are (.*?)\. They", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == set(SETTINGS)
    environment = {"BEMI_INCLUDE": "public.*,shop.*", "BEMI_SOURCE": "x"}
    assert configuration_of(["run"], environment, Path("/"))[0].settings == {
        "include": ["public.*", "shop.*"]
    }
