"""A publication that somebody has altered, so that the server sends less than was written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.checks import run_checks

from bemi_django.schema import tracking
from tests.support.project_database import execute

OF_TABLE = "ALTER PUBLICATION bemi DROP TABLE public.tag; ALTER PUBLICATION bemi ADD TABLE public.tag "


def said() -> list[str]:
    return [found.msg for found in run_checks(databases=["default"]) if found.id == "bemi.W004"]


@pytest.fixture
def altered(transactional_db: None) -> Iterator[None]:
    tracking.sync()
    yield
    tracking.sync()


@pytest.mark.parametrize("option", ["publish = 'insert, update'", "publish_via_partition_root = true"])
def test_options_that_leave_out_changes_are_said_and_corrected(option: str, altered: None) -> None:
    assert said() == []
    execute(f"ALTER PUBLICATION bemi SET ({option})")
    assert said() == ["The publication bemi of 'default' leaves out changes of tracked tables."]
    assert tracking.sync(dry_run=True).done == ["publication with all changes: bemi"]
    assert tracking.sync().done == ["publication with all changes: bemi"]
    assert said() == [] and tracking.sync().done == []
    assert execute("SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication") == [
        (True, True, True, True, False)
    ]


@pytest.mark.postgres(15)
@pytest.mark.parametrize("part", ["WHERE (id > 5)", "(id)"])
def test_a_table_of_which_only_a_part_is_published_is_said_and_published_as_a_whole(
    part: str, altered: None
) -> None:
    execute(OF_TABLE + part)
    (message,) = said()
    assert "are in the publication with some of their rows or columns only: public.tag" in message
    assert tracking.sync().done == ["published as a whole: public.tag"]
    assert said() == [] and tracking.sync().done == []
