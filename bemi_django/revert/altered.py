"""Compare net effects with live rows whose columns have other types now than when they were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bemi_django.log.live.live_tables import LiveTable, RowValues
from bemi_django.log.live.present_types import rendered
from bemi_django.revert.net import Net, differ


def take_present_types(
    cursor: Any, table: LiveTable, nets: Iterable[Net], live: Mapping[Net, RowValues]
) -> None:
    """Replace the values of net effects that are as in the live row, but for the type of their column.

    Args:
        cursor: A cursor of ``row_session``.
        table: The table.
        nets: Net effects on its rows.
        live: The rows as they are now.
    """
    rows: list[RowValues] = []
    suspects = []
    for net in nets:
        now = live.get(net, {})
        new = {
            column: value for column, value in net.new.items() if column in now and differ(now[column], value)
        }
        if new or net.torn:
            suspects.append(net)
            rows += [new, {column: net.old[column] for column in new if column in net.old}]
            rows += [
                {column: value} for column, pairs in net.torn.items() for pair in pairs for value in pair
            ]
    present = iter(rendered(cursor, table, rows))
    for net in suspects:
        new, old = next(present), next(present)
        same = {column for column, value in new.items() if not differ(live[net][column], value)}
        net.new.update({column: live[net][column] for column in same})
        net.old.update({column: value for column, value in old.items() if column in same})
        torn = {
            column: [(next(present)[column], next(present)[column]) for _ in pairs]
            for column, pairs in net.torn.items()
        }
        net.torn = {column: pairs for column, pairs in torn.items() if any(differ(*pair) for pair in pairs)}
