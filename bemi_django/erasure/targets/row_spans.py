"""The keys that rows of an object had, each in its time, as a condition for their changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, F, Func, Q

from bemi_django.log.conditions import in_span
from bemi_django.log.identity import KeySpan
from bemi_django.log.lossless_json import dumps

#: So many are asked for one by one.
_FEW = 8

# The times are looked up by keys, and not one after the other: a row that left the object, or came to it, has
# some of its own. An index has the keys. What is NULL is in none, also where the condition is negated.
_IS_IN_ONE = """({key} IS NOT NULL AND {key} OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[]) AND EXISTS (
    SELECT FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb OPERATOR(pg_catalog.->) {key}) t (bounds)
    CROSS JOIN LATERAL (SELECT (t.bounds OPERATOR(pg_catalog.->>) 0)::pg_catalog.uuid,
                               (t.bounds OPERATOR(pg_catalog.->>) 1)::pg_catalog.uuid) b (since, until)
    WHERE COALESCE({id} OPERATOR(pg_catalog.>=) b.since, true)
        AND COALESCE({id} OPERATOR(pg_catalog.<) b.until, true)
        AND NOT (t.bounds OPERATOR(pg_catalog.->) 2) OPERATOR(pg_catalog.?) {id}::pg_catalog.text))"""


class _IsInOne(Func):
    """Whether a change is one of rows with some keys, in the time of each."""

    output_field = BooleanField()

    def __init__(self, spans: Sequence[KeySpan]) -> None:
        super().__init__(F("pk"), F("primary_key"))
        self._spans = spans

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return the statement, which looks up each key once."""
        id, key = (compiler.compile(each)[0] for each in self.source_expressions)
        times: dict[str, list[Any]] = {}
        for span in self._spans:
            others = [*span.others, *([span.start] if span.is_open else ())]
            bounds = [_text(span.start), _text(span.end), list(map(_text, others))]
            times.setdefault(span.key, []).append(bounds)
        return _IS_IN_ONE.format(id=id, key=key), [list(times), dumps(times)]


def in_spans(spans: Sequence[KeySpan]) -> Q:
    """Return the condition for the changes of rows under keys, each in its time."""
    if len(spans) > _FEW:
        return Q(_IsInOne(spans))
    return reduce(or_, map(in_span, spans), Q(pk__in=[]))


def _text(id: UUID | None) -> str | None:
    return None if id is None else str(id)
