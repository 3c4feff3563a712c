"""Names that several tables had one after another in one transaction: its changes may be of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from bemi_django.verification.table.versions import TableVersion

_HOLDERS = """
SELECT r.relation::bigint, r.since_xid::text::bigint, (r.since - '0/0')::bigint,
       r.description -> 'name' = n.name
FROM (SELECT jsonb_build_array(%s::text, %s::text)) n (name) CROSS JOIN _bemi.relations r
WHERE r.system = (SELECT s.system_identifier FROM pg_control_system() s) AND r.relation IN (
    SELECT had.relation FROM _bemi.relations had WHERE had.description -> 'name' = n.name)
ORDER BY r.relation, r.since
"""


class _Stage(NamedTuple):
    """A version of a table that had the name at some time; ``has_name`` tells whether it has it here."""

    relation: int
    xid: int
    lsn: int
    has_name: bool


class ReusedNames:
    """Answers from ``_bemi.relations``; each answer is kept.

    Args:
        source: A connection to the source.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._known: dict[tuple[tuple[str, str], int], bool] = {}

    def had_several(self, name: tuple[str, str], xid: int) -> bool:
        """Tell whether several tables may have had a name during a transaction.

        A table that was dropped before counts as well: nobody knows in which transaction.
        """
        if (name, xid) not in self._known:
            with self._source.cursor() as cursor:
                cursor.execute(_HOLDERS, list(name))
                stages = [_Stage(*row) for row in cursor.fetchall()]
            self._known[name, xid] = _has_several(stages, xid)
        return self._known[name, xid]

    def transactions(self, versions: Sequence[TableVersion]) -> set[int]:
        """Return the transactions in which a table has shared one of its names with another one."""
        taken = {(version.name, version.xid) for version in versions}
        given_up = {(before.name, after.xid) for before, after in pairwise(versions)}
        return {xid for name, xid in taken | given_up if self.had_several(name, xid)}


def _has_several(stages: Sequence[_Stage], xid: int) -> bool:
    positions = [stage.lsn for stage in stages if stage.xid == xid]
    if not positions:
        return False
    holders = [
        any(_holds(stage, after, xid, positions) for stage, after in pairwise([*versions, None]) if stage)
        for _, versions in groupby(stages, itemgetter(0))
    ]
    return sum(holders) > 1


def _holds(stage: _Stage, after: _Stage | None, xid: int, positions: Sequence[int]) -> bool:
    if not stage.has_name or stage.lsn > max(positions):
        return False
    return after is None or after.xid == xid or after.lsn > min(positions)
