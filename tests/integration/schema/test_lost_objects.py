"""A database whose django_migrations say more than it has, as after a dump of one schema."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from bemi_django.models import Change
from tests.support.project_database import execute, moved
from tests.support.roles import drop_database

NAME = "lab_lost"

pytestmark = pytest.mark.administrator


@pytest.fixture
def lost(transactional_db: None) -> Iterator[None]:
    drop_database(NAME)
    execute(f"CREATE DATABASE {NAME}")
    try:
        with moved(NAME=NAME):
            call_command("migrate", "bemi_django", fake=True, verbosity=0)
            yield
    finally:
        drop_database(NAME)


def hints() -> list[str]:
    return [str(found.hint) for found in run_checks(databases=["default"]) if found.id == "bemi.W023"]


def test_what_is_missing_is_said_with_the_way_to_install_it(lost: None) -> None:
    (hint,) = hints()
    remedy = "'manage.py migrate --fake bemi_django zero', then 'manage.py migrate bemi_django'"
    assert remedy in hint
    for command in ("status", "sync", "prune"):
        with pytest.raises(CommandError, match=remedy):
            call_command("bemi", command, stdout=io.StringIO())
    call_command("migrate", "bemi_django", "zero", fake=True, verbosity=0)
    with pytest.raises(CommandError, match="run 'manage.py migrate bemi_django' first"):
        call_command("bemi", "status", stdout=io.StringIO())
    call_command("migrate", "bemi_django", verbosity=0)
    assert hints() == [] and Change.objects.count() == 0


def test_a_log_that_was_to_be_elsewhere_when_migrations_were_applied_is_missing(
    lost: None, settings: Any
) -> None:
    call_command("migrate", "bemi_django", "zero", fake=True, verbosity=0)
    settings.BEMI_DESTINATION = "other"
    call_command("migrate", "bemi_django", verbosity=0)
    del settings.BEMI_DESTINATION
    (hint,) = hints()
    assert "BEMI_DESTINATION was another database" in hint
    with pytest.raises(CommandError, match="migrate --fake bemi_django zero"):
        call_command("bemi", "run", "--until-current", stdout=io.StringIO())
    call_command("migrate", "bemi_django", "zero", fake=True, verbosity=0)
    call_command("migrate", "bemi_django", verbosity=0)
    assert hints() == [] and Change.objects.count() == 0


def test_a_role_that_may_not_read_the_migrations_is_told_in_one_line(lost: None) -> None:
    execute("ALTER TABLE django_migrations RENAME COLUMN app TO other")
    with pytest.raises(CommandError, match="missing"):
        call_command("bemi", "status", stdout=io.StringIO())
