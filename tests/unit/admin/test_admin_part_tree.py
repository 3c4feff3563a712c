"""What a request has started, whatever the contexts say: each part once, below the request itself."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.utils.timezone import override
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.admin.display.actions.run import ActionRun
from bemi_django.admin.display.contexts.connection_text import connection_text
from bemi_django.admin.pages.requests.part_tree import MadeChange, PartKey, RunPart, key_of, tree_of, walk

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def made(*contexts: dict[str, Any]) -> list[MadeChange]:
    return [MadeChange(BEGIN + timedelta(seconds=n), context) for n, context in enumerate(contexts)]


def names(part: RunPart) -> Any:
    return ("".join(part.key), [names(below) for below in part.parts])


def test_a_request_of_a_task_is_below_the_task() -> None:
    found = tree_of(
        ActionRun("request_id", "r"),
        made(
            {"request_id": "r"},
            {"request_id": "r", "task_id": "t"},
            {"request_id": "c", "parent_request_id": "r", "task_id": "t"},
            {"request_id": "r", "task_id": "u", "parent_task_id": "t"},
        ),
    )
    assert names(found) == ("r", [("rt", [("ct", []), ("ru", [])])])
    assert (found.began, found.last, found.count) == (BEGIN, BEGIN, 1)


def test_a_part_begins_when_its_id_says() -> None:
    early = f"{int(BEGIN.timestamp() * 1000) - 150:012x}7{'0' * 3}8{'0' * 15}"
    found = tree_of(
        ActionRun("request_id", early),
        made({"request_id": early}, {"request_id": early, "task_id": early}),
    )
    (task,) = found.parts
    assert (found.began, found.last) == (BEGIN - timedelta(milliseconds=150), BEGIN)
    # A task has the id of its message.
    assert task.began == BEGIN + timedelta(seconds=1)


@pytest.mark.parametrize("later", [timedelta(milliseconds=-1), timedelta(days=31)])
def test_what_an_id_says_is_not_believed_if_it_cannot_be(later: timedelta) -> None:
    run = ActionRun("command_id", "0" * 12 + "70008" + "0" * 15)
    assert run.began_at(datetime.fromtimestamp(0, timezone.utc) + later) is None
    assert run.began_at(datetime(1970, 1, 1, 0, 0, 1)) == datetime(1970, 1, 1)
    with override("Asia/Kathmandu"):
        # The last second of all is no moment there.
        last = ActionRun("request_id", f"{253402300799000 << 80 | 0x7 << 76 | 0b10 << 62:032x}")
        assert last.began_at(datetime(2026, 1, 1)) is None


def test_a_request_that_has_changed_nothing_itself_is_at_the_top() -> None:
    found = tree_of(ActionRun("request_id", "r"), made({"request_id": "r", "task_id": "t"}))
    assert names(found) == ("r", [("rt", [])]) and found.count == 0


def test_a_request_is_not_named_by_what_its_task_has_sent_before_it_committed() -> None:
    found = tree_of(
        ActionRun("request_id", "r"),
        made(
            {"request_id": "c", "parent_request_id": "r", "task_id": "t", "endpoint": "/pay/"},
            {"request_id": "r", "task_id": "t", "endpoint": "/cart/"},
        ),
    )
    assert names(found) == ("r", [("rt", [("ct", [])])])
    assert found.context["endpoint"] == "/cart/"


IDS = st.sampled_from(["", "a", "b", "c", 1, None])
CONTEXTS = st.lists(
    st.fixed_dictionaries(
        {}, optional={name: IDS for key in PartKey._fields for name in (key, f"parent_{key}")}
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("key", ["request_id", "task_id", "command_id"])
@given(contexts=CONTEXTS)
def test_each_part_is_in_the_tree_once(key: str, contexts: list[dict[str, Any]]) -> None:
    found = list(walk(tree_of(ActionRun(key, "a"), made({key: "a"}, *contexts))))
    assert sum(part.count for part in found) == len(contexts) + 1
    assert len(found) == len(set(map(id, found)))
    assert {part.key for part in found if part.count} == set(map(key_of, [{key: "a"}, *contexts]))


@pytest.mark.parametrize(
    ("connection", "text"),
    [
        ({"role": "shop", "address": "::1", "pid": 7, "application_name": ""}, "role shop from ::1, pid 7"),
        ({"role": "shop", "current_role": "owner", "pid": 7}, "role shop, as owner, pid 7"),
        ({"address": "::1", "application_name": "psql"}, "from ::1, psql"),
        ({"role": "shop", "other": 1}, ""),
        ({"role": ["shop"]}, ""),
        ("shop", ""),
    ],
)
def test_a_connection_is_told_in_words_if_it_is_one(connection: Any, text: str) -> None:
    assert connection_text(connection) == text
