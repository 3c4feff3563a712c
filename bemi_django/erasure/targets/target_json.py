"""Targets as JSON, in which an erasure that is interrupted is noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from bemi_django.erasure.targets.held_values import During
from bemi_django.erasure.targets.target import Half, Target
from bemi_django.log.identity import KeySpan
from bemi_django.log.places import Place


def as_json(targets: Iterable[Target]) -> list[dict[str, Any]]:
    """Return targets as JSON has them."""
    return [
        {
            **target._asdict(),
            "spans": [
                {
                    "key": span.key,
                    "start": span.start and str(span.start),
                    "end": span.end and str(span.end),
                    "is_open": span.is_open,
                    "others": [str(other) for other in span.others],
                }
                for span in target.spans
            ],
            "halves": [[str(half.change), half.side] for half in target.halves],
            "during": [
                [each.values, each.start and str(each.start), each.end and str(each.end), each.side]
                for each in target.during
            ],
        }
        for target in targets
    ]


def from_json(found: Iterable[Mapping[str, Any]]) -> list[Target]:
    """Return the targets that :func:`as_json` has written."""
    return [
        Target(
            Place(*each["place"]),
            tuple(each["kept"]),
            tuple(_span(**span) for span in each["spans"]),
            tuple(each["values"]),
            tuple(each["reasons"]),
            tuple(each["texts"]),
            tuple(each["key"]),
            tuple(map(tuple, each.get("references", ()))),
            tuple(Half(UUID(change), side) for change, side in each.get("halves", ())),
            tuple(_during(*one) for one in each.get("during", ())),
            Place(*each["present"]) if each.get("present") else None,
        )
        for each in found
    ]


def _span(key: str, start: str | None, end: str | None, is_open: bool, others: list[str]) -> KeySpan:
    return KeySpan(key, _id(start), _id(end), is_open, tuple(map(UUID, others)))


def _during(values: Mapping[str, Any], start: str | None, end: str | None, side: str = "") -> During:
    return During(values, _id(start), _id(end), side)


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
