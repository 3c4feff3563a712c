"""The times of many rows are looked up at once, and mean what those of a few do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_
from random import Random
from uuid import UUID

import pytest
from django.db.models import Q

from bemi_django.erasure.targets.row_spans import in_spans
from bemi_django.log.conditions import in_span
from bemi_django.log.identity import KeySpan
from bemi_django.models import Change
from tests.support.old_months import FIRST, drop, make, write

_KEYS = ["1", '["a", "é😀"]', '"\\', "", "-7"]


@pytest.fixture
def changes(db: None) -> Iterator[list[UUID]]:
    make(FIRST)
    yield [write(number, primary_key=[*_KEYS, None][number % 6]) for number in range(1, 31)]
    drop(FIRST)


def test_many_spans_have_the_changes_of_each(changes: list[UUID]) -> None:
    chance = Random(7)
    log = Change.objects.filter(database="shop")
    for number in range(9, 49):
        spans = [
            KeySpan(
                chance.choice([*_KEYS, "of nobody"]),
                chance.choice([None, *changes]),
                chance.choice([None, *changes]),
                chance.random() < 0.5,
                tuple(chance.sample(changes, chance.randint(0, 3))),
            )
            for _ in range(number)
        ]
        spans = [each._replace(is_open=each.is_open and each.start is not None) for each in spans]
        found = set(log.filter(in_spans(spans)).values_list("pk", flat=True))
        one_by_one = reduce(or_, map(in_span, spans), Q(pk__in=[]))
        assert found == set(log.filter(one_by_one).values_list("pk", flat=True))
        assert set(log.exclude(in_spans(spans)).values_list("pk", flat=True)) == {*changes} - found
