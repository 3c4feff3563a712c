"""A change that is written again says what it said before, in values of the same types."""

from __future__ import annotations

import pytest

from bemi_django.ingest.known_change import KnownChange

KNOWN = KnownChange(
    database="shop",
    operation="CREATE",
    transaction_id=7,
    position=8,
    schema="public",
    table="order",
    partition=None,
    primary_key="1",
    previous_primary_key=None,
    before="{}",
    after='{"id": 1, "paid": true, "total": 12.50, "note": null, "tags": [1, "a"]}',
    context='{"user_id": 1}',
    unavailable='{"after": ["body"]}',
    diverged=False,
)
COMPLETE = KNOWN._replace(after=KNOWN.after.replace("}", ', "body": "text"}'), unavailable=None)


def test_what_was_missing_may_come() -> None:
    assert KNOWN.is_completed_by(COMPLETE)
    assert KNOWN.is_completed_by(KNOWN)
    assert not COMPLETE.is_completed_by(COMPLETE._replace(after='{"id": 1}'))


@pytest.mark.parametrize(
    ("said", "forged"),
    [
        ('"paid": true', '"paid": 1'),
        ('"paid": true', '"paid": 1.0'),
        ('"paid": true', '"paid": "true"'),
        ('"id": 1', '"id": true'),
        ('"id": 1', '"id": "1"'),
        ('"total": 12.50', '"total": 12.50000000000000000000000001'),
        ('"note": null', '"note": false'),
        ('"tags": [1, "a"]', '"tags": [true, "a"]'),
        ('"tags": [1, "a"]', '"tags": ["a", 1]'),
    ],
)
def test_a_value_of_another_type_is_another_value(said: str, forged: str) -> None:
    assert not KNOWN.is_completed_by(COMPLETE._replace(after=COMPLETE.after.replace(said, forged)))


def test_a_context_keeps_the_types_of_its_values() -> None:
    assert not KNOWN.is_completed_by(COMPLETE._replace(context='{"user_id": true}'))
