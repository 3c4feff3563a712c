"""What the worker asks of tables that messages name."""

from __future__ import annotations

from typing import Any

from bemi_django.ingest.rows.catalog.mask_catalog import MaskCatalog
from bemi_django.masking.rules import DEFAULT


def test_numbers_of_no_table_are_not_asked_for_one_by_one() -> None:
    asked: list[Any] = []

    def rows(query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        asked.append(parameters)
        return [] if parameters else [(7,)]

    catalog = MaskCatalog(rows, lambda oid: [], DEFAULT)
    assert all(catalog.has_masks(oid) for oid in range(100, 10_000))
    assert len(asked) == 2
    # One that there is, is asked for; and after DDL each may be.
    assert catalog.has_masks(7) and [7] in asked
    catalog.forget()
    assert catalog.has_masks(100) and asked.count([100]) == 2
