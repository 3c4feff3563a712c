"""What the database leaves of a change, whatever its values are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.project_database import execute

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
NAMES = ("id", "a", "b", "c")
ROW = st.dictionaries(st.sampled_from(NAMES), VALUE)
LISTS = st.lists(st.sampled_from(NAMES), unique=True, max_size=2)
UNAVAILABLE = st.none() | st.fixed_dictionaries(
    {}, optional={"before": LISTS, "after": LISTS, "masked": LISTS, "ignored": LISTS}
)
QUERY = """
SELECT before::text, after::text, unavailable::text
FROM _bemi.erased_change_v1(%s::jsonb, %s::jsonb, %s::jsonb, ARRAY['id'], %s::jsonb)
"""


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(ROW, ROW, UNAVAILABLE)
def test_only_keys_are_left(before: dict[str, Any], after: dict[str, Any], unavailable: Any) -> None:
    key = before.get("id")
    hashes = {key: "hmac:1"} if isinstance(key, str) else {}
    given_json = [json.dumps(one) for one in (before, after, unavailable, hashes)]
    if unavailable is None:
        given_json[2] = None  # type: ignore[call-overload]
    ((old, new, said),) = execute(QUERY, given_json)
    rows = json.loads(old), json.loads(new)
    found = json.loads(said)
    for row, left in zip((before, after), rows, strict=True):
        assert left.keys() == row.keys()
        assert all(left[name] is None for name in left if name != "id")
        if "id" in row:
            value = row["id"]
            is_number = isinstance(value, int) and not isinstance(value, bool)
            assert left["id"] == (
                value if is_number else hashes.get(value) if isinstance(value, str) else None
            )
    erased = {name for name in {**before, **after} if name != "id"}
    assert erased <= set(found["erased"]) <= erased | {"id"}
    assert set(found["erased"]) <= set(found["masked"])
    differing = {name for name in erased & before.keys() & after.keys() if before[name] != after[name]}
    # Python takes 1 for True.
    assert differing <= set(found.get("changed", ()))
    for side in ("before", "after"):
        assert not set(found.get(side, ())) & set(found["erased"])
    assert found.get("ignored") == (unavailable or {}).get("ignored")

    # Nothing is changed by doing it again.
    ((*again, once_more),) = execute(QUERY, [old, new, said, "{}"])
    assert [json.loads(text) for text in again] == list(rows) or hashes
    assert set(json.loads(once_more)["masked"]) >= set(found["masked"])
