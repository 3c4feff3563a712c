"""The SQL files: used by exactly one operation, with an inverse, and in ASCII."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from bemi_django.schema import sql
from bemi_django.schema.operations import RunSQLFile
from tests.support.paths import ROOT

NAMES = sorted(entry.name for entry in files(sql).iterdir() if entry.name.endswith(".sql"))


def operations(found: list[Any]) -> list[RunSQLFile]:
    nested = [getattr(operation, "database_operations", [operation]) for operation in found]
    return [operation for group in nested for operation in group if isinstance(operation, RunSQLFile)]


def migrated() -> list[str]:
    modules = ["0001_initial", "0002_handlers"]
    migrations = [importlib.import_module(f"bemi_django.migrations.{name}").Migration for name in modules]
    return [operation.name for migration in migrations for operation in operations(migration.operations)]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_of_any_encoding_can_store_the_file(name: str) -> None:
    (files(sql) / name).read_text(encoding="ascii")


#: Of text in quotes without an E before it.
PLAIN = re.compile(r"(?<![A-Za-z0-9_])'(?:[^']|'')*'")


def statements() -> Iterator[tuple[str, str]]:
    """Yield the SQL of the package with the name of its file: files, and texts that say SELECT."""
    for name in NAMES:
        yield name, re.sub("--.*", "", (files(sql) / name).read_text(encoding="ascii"))
    for module in (ROOT / "bemi_django").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "SELECT " in node.value:
                yield str(module), re.sub("--.*", "", node.value)


def test_no_text_means_something_else_without_standard_conforming_strings() -> None:
    """A database or a role may have the setting turned off."""
    wrong = [(name, text) for name, code in statements() for text in PLAIN.findall(code) if "\\" in text]
    assert wrong == []


#: Functions of which the server stores what it has parsed, and not the text.
PARSED = re.compile(r"BEGIN ATOMIC(.*?)\nEND;", re.DOTALL)


def test_what_the_server_has_parsed_names_its_columns() -> None:
    """It stores what * stands for: the dump cannot be restored into a version without one of the columns."""
    bodies = [(name, body) for name, code in statements() for body in PARSED.findall(code)]
    assert len(bodies) > 3
    assert [name for name, body in bodies if re.search(r"(SELECT|,)\s+(\w+\.)?\*", body)] == []


def test_each_file_has_an_inverse_and_is_run_by_one_operation() -> None:
    assert len(set(migrated())) == len(migrated())
    # These make functions of the session: what revisions of Alembic and uninstalling ask for.
    expected = [f"{name}_{direction}.sql" for name in migrated() for direction in ("up", "down")]
    assert sorted([*expected, "left_v1.sql", "track_v1.sql"]) == NAMES


def test_what_a_source_needs_comes_first_in_the_migration() -> None:
    assert migrated()[: len(sql.SOURCE)] == list(sql.SOURCE)


def test_the_parts_of_a_database_are_those_of_the_migrations() -> None:
    assert {*sql.SOURCE, *sql.LOG, *sql.PAST} == set(migrated())
