from __future__ import annotations

import pytest

from bemi_django import wire
from bemi_django.schema import sql
from bemi_django.wire.sequence import HistoryStart, sequence_at, sequence_of


@pytest.mark.parametrize(
    "shared",
    [
        wire.MESSAGE_PREFIX,
        wire.COMMENT_START,
        wire.COMMENT_END,
        wire.SQL_KEY,
        wire.CONTEXT_SETTING,
        str(wire.MAX_SQL_CHARACTERS),
    ],
)
def test_the_trigger_function_has_the_same_strings(shared: str) -> None:
    assert shared in sql.read("capture_v1_up")


@pytest.mark.parametrize(("lsn", "history"), [(50, 1), (100, 1), (199, 1), (200, 2), (300, 2)])
def test_a_position_belongs_to_the_latest_history_that_had_begun_or_to_the_first(
    lsn: int, history: int
) -> None:
    histories = [HistoryStart(1, 100), HistoryStart(2, 200)]
    assert sequence_at(histories, lsn) == sequence_of(history, lsn)
