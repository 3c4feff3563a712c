"""``bemi verify`` explains what settings have left out, and nothing more than that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django.ingest.selection.condition import Condition
from bemi_django.ingest.selection.rules import Selection
from bemi_django.verification.records.result import Verified
from bemi_django.verification.verify import Options, verify
from bemi_django.wire.name_pattern import column_pattern, table_pattern
from tests.support import roles
from tests.support.pipeline import Pipeline, worker_config
from tests.support.project_database import execute


@pytest.fixture
def selecting(pipeline: Pipeline) -> Iterator[Any]:
    """Give the worker rules; it begins again with each call."""
    everything = pipeline.config

    def select(*ignored: str, unchanged: bool = False, condition: Any = None) -> None:
        pipeline.drain()
        pipeline.stop()
        conditions = [(table_pattern("*"), Condition("c", condition))] if condition else []
        selection = Selection([column_pattern(pattern) for pattern in ignored], unchanged, conditions)
        pipeline.config = everything._replace(selection=selection)

    yield select
    pipeline.stop()
    pipeline.config = everything
    execute("DELETE FROM _bemi.omitted_columns")
    execute("DELETE FROM _bemi.omitted_changes")
    execute("DELETE FROM _bemi.verifications")


def verified(pipeline: Pipeline) -> Verified:
    pipeline.drain()
    pipeline.stop()
    with pipeline.worker():
        # The role of the worker may not read the tables.
        config = worker_config(pipeline.slot, role=roles.OWNER)
        (result,) = verify(config, Options(only=["lab.t"]))
    pipeline.release()
    return result


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""], ids=["key", "no key"])
def test_an_ignored_column_is_not_compared_whenever_it_was_ignored(
    pipeline: Pipeline, selecting: Any, key: str
) -> None:
    execute(f"CREATE TABLE lab.t (id int {key}, word text, seen int)")
    execute("INSERT INTO lab.t VALUES (1, 'a', 1), (2, 'b', 1)")
    selecting("t.seen")
    execute("INSERT INTO lab.t VALUES (3, 'c', 1)")
    execute("UPDATE lab.t SET seen = 2")
    execute("UPDATE lab.t SET word = 'd', seen = 3 WHERE id = 2")
    assert verified(pipeline).is_true
    selecting()
    execute("INSERT INTO lab.t VALUES (4, 'd', 4)")
    result = verified(pipeline)
    assert result.is_true and result.rows == 4, str(result)
    # What is recorded is still compared.
    execute("UPDATE changes SET after = after || '{\"word\": \"other\"}' WHERE after ->> 'id' = '3'")
    assert not verified(pipeline).is_true


def test_a_row_that_is_older_than_the_log_may_be_touched_by_what_is_left_out(
    pipeline: Pipeline, selecting: Any
) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, word text, seen int)")
    execute("INSERT INTO lab.t SELECT i, 'a', 1 FROM generate_series(1, 5) i")
    selecting("t.seen", unchanged=True)
    # As if they had been there before the table was tracked.
    pipeline.drain()
    execute("DELETE FROM changes")
    execute("UPDATE lab.t SET seen = 2 WHERE id < 3")
    execute("UPDATE lab.t SET word = word WHERE id = 3")
    result = verified(pipeline)
    assert (result.explained, result.missing.count) == ({"explained by changes that were left out": 3}, 2)


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""], ids=["key", "no key"])
def test_what_a_condition_left_out_explains_as_many_differences(
    pipeline: Pipeline, selecting: Any, key: str
) -> None:
    execute(f"CREATE TABLE lab.t (id int {key}, word text)")
    execute("INSERT INTO lab.t SELECT i, 'a' FROM generate_series(1, 4) i")
    selecting(condition=lambda table, before, after: "bot" not in (before.get("word"), after.get("word")))
    execute("INSERT INTO lab.t VALUES (10, 'bot'), (11, 'bot')")
    execute("UPDATE lab.t SET word = 'bot' WHERE id = 1")
    execute("DELETE FROM lab.t WHERE id = 1")
    result = verified(pipeline)
    assert result.is_true, str(result)
    assert result.explained == {"explained by changes that were left out": 3}
    execute("DELETE FROM changes")
    assert verified(pipeline).missing.count == 1
