from __future__ import annotations

from typing import Any

from django.core.checks import run_checks

from bemi_django import checks


def ids(**kwargs: Any) -> set[str | None]:
    return {message.id for message in run_checks(**kwargs)}


def test_the_sample_project_has_nothing_to_complain_of(transactional_db: None) -> None:
    assert {found for found in ids(databases=["default"]) if found and found.startswith("bemi")} == set()


def test_a_missing_middleware_is_said(settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    assert "bemi.W001" in ids()


def test_a_context_function_that_cannot_be_imported_is_said(settings: Any) -> None:
    settings.BEMI_CONTEXT_FUNCTION = "no.such.function"
    assert "bemi.E001" in ids()


def test_a_table_without_triggers_is_said(transactional_db: None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE late (a int)")
        try:
            assert "bemi.W002" in ids(databases=["default"])
        finally:
            cursor.execute("DROP TABLE late")


def test_every_id_is_listed_once() -> None:
    assert checks.__doc__ is not None
    listed = [word for word in checks.__doc__.split() if word.startswith("bemi.")]
    assert len(listed) == len(set(listed))


def test_migrations_run_down_and_up(transactional_db: None) -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", "bemi_django", "zero", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '\\_bemi%'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT to_regclass('changes')")
        assert cursor.fetchone() == (None,)
    call_command("migrate", "bemi_django", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) > 0 FROM pg_trigger WHERE tgname LIKE '\\_bemi%'")
        assert cursor.fetchone() == (True,)


def test_no_migration_is_missing(transactional_db: None) -> None:
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
