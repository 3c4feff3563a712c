"""A source that is short of resources while a row is read: for a while, or because of this row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.ingest.stream.conftest import Warned
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until

FAILING = """
CREATE SEQUENCE failures;
GRANT ALL ON failures TO PUBLIC;
ALTER FUNCTION _bemi.describe_v1 RENAME TO describe_kept;
CREATE FUNCTION _bemi.describe_v1(targets oid[], is_whole boolean DEFAULT true)
RETURNS TABLE (oid oid, description jsonb) LANGUAGE plpgsql SECURITY DEFINER AS $function$
BEGIN
    IF nextval('public.failures') <= {count} THEN
        RAISE 'not enough of it' USING ERRCODE = '{state}';
    END IF;
    RETURN QUERY SELECT * FROM _bemi.describe_kept(targets, is_whole);
END
$function$
"""
MENDED = """
DROP SEQUENCE failures;
DROP FUNCTION _bemi.describe_v1;
ALTER FUNCTION _bemi.describe_kept RENAME TO describe_v1
"""


@contextmanager
def failing(trail: LoadPipeline, state: str, count: int) -> Iterator[None]:
    """Let the description of a table fail this number of times."""
    trail.source.run(FAILING.format(state=state, count=count))
    try:
        yield
    finally:
        trail.source.run(MENDED)


@pytest.mark.parametrize(
    ("state", "count"), [("53200", 3), ("53400", 3), ("53100", 6), ("53300", 6)], ids=str
)
def test_a_shortage_that_passes_loses_nothing(
    state: str, count: int, trail: LoadPipeline, warned: Warned
) -> None:
    with failing(trail, state, count), trail.worker():
        trail.write()
        trail.catch_up()
        assert warned("not enough of it") == count
        assert trail.log.one("SELECT count(*) FROM _bemi.dead_letters") == 0


@pytest.mark.parametrize("state", ["53000", "53200", "53400"])
def test_a_shortage_that_does_not_pass_costs_values_and_not_the_log(
    state: str, trail: LoadPipeline, warned: Warned
) -> None:
    count = "SELECT count(*) FROM changes WHERE operation = 'CREATE' AND unavailable IS NOT NULL"
    with failing(trail, state, 1_000_000), trail.worker():
        # Each transaction would end a session, or three.
        trail.write(2)
        until(lambda: trail.log.one(count) == 2)
        assert warned("not enough of it") == 3
        letters = trail.log.run("SELECT DISTINCT reason, change_id IS NOT NULL FROM _bemi.dead_letters")
        assert letters == [(f"{state}: not enough of it", True)]
        # The rows of other tables, and those that follow when it is over, are whole.
        trail.source.run("ALTER SEQUENCE failures RESTART 2000000")
        trail.source.run("INSERT INTO load VALUES (3, 3)")
        until(lambda: trail.logged()[-1:] == [3])
        assert "failures for lack of resources" in trail.counters()
