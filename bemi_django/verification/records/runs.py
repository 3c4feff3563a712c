"""Remember what a run has compared, to continue it, and to take another sample the next time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from bemi_django.verification.records.result import Verified

#: Runs of a slot that are kept.
KEPT = 100

_BEGIN = """
INSERT INTO _bemi.verifications (slot, asked, round)
VALUES (%(slot)s, %(asked)s, coalesce((
    SELECT max(v.round) + 1 FROM _bemi.verifications v
    WHERE v.slot = %(slot)s AND v.asked = %(asked)s::jsonb AND v.ended_at IS NOT NULL), 0))
RETURNING id, round
"""
# One that was not interrupted is the last one to be continued.
_LAST = """
SELECT id, round, ended_at IS NULL FROM _bemi.verifications
WHERE slot = %s AND asked = %s::jsonb ORDER BY id DESC LIMIT 1
"""
_FORGET = """
DELETE FROM _bemi.verifications v WHERE v.slot = %s AND v.id < (
    SELECT min(kept.id) FROM (
        SELECT k.id FROM _bemi.verifications k WHERE k.slot = %s ORDER BY k.id DESC LIMIT %s) kept)
    AND EXISTS (SELECT FROM _bemi.verifications later WHERE later.slot = v.slot AND later.asked = v.asked
                AND later.id > v.id AND later.ended_at IS NOT NULL)
"""
_READ = "SELECT result, place FROM _bemi.verified WHERE verification = %s AND name = %s"
_SAVE = """
INSERT INTO _bemi.verified (verification, name, result, place) VALUES (%s, %s, %s, %s)
ON CONFLICT (verification, name) DO UPDATE SET result = excluded.result, place = excluded.place
"""
_END = """
UPDATE _bemi.verifications SET ended_at = clock_timestamp(), tables = %s, wrong = %s WHERE id = %s
"""

#: Where the comparison of a table has come to, as a value of JSON. It is empty at the beginning.
Place = dict[str, Any]


class Run(NamedTuple):
    """A run of ``bemi verify``: ``round`` is the number of runs before it that were asked the same."""

    destination: Any
    id: int
    round: int

    def result_of(self, name: str) -> tuple[Verified, Place | None]:
        """Return what was found of a table, and up to which place; None if it has been compared.

        Args:
            name: The table as ``schema.name``.
        """
        with self.destination.cursor() as cursor:
            cursor.execute(_READ, [self.id, name])
            found = cursor.fetchone()
        if found is None:
            return Verified(name), {}
        result = Verified.of_json(name, found[0])
        # It may have been mended since.
        return (Verified(name), {}) if result.failure else (result, found[1])

    def save(self, result: Verified, place: Place | None) -> None:
        """Remember what was found of a table up to a place; None if it has been compared."""
        with self.destination.cursor() as cursor:
            values = json.dumps(asdict(result)), None if place is None else json.dumps(place)
            cursor.execute(_SAVE, [self.id, result.table, *values])

    def end(self, tables: int, wrong: int) -> None:
        """Remember that the run has come to its end.

        Args:
            tables: The number of tables.
            wrong: The number of those that differ, or could not be compared.
        """
        with self.destination.cursor() as cursor:
            cursor.execute(_END, [tables, wrong, self.id])


def begin(
    destination: Any, slot: str, tables: Sequence[str], sample: str | None, *, resume: bool = False
) -> Run:
    """Begin a run.

    Args:
        destination: A connection to the log, in autocommit.
        slot: The slot of the worker.
        tables: The tables that are asked for; empty for all.
        sample: The sample that is asked for.
        resume: Continue the last run that was asked the same, if it was interrupted.
    """
    asked = json.dumps({"tables": sorted(tables), "sample": sample})
    with destination.cursor() as cursor:
        if resume:
            cursor.execute(_LAST, [slot, asked])
            found = cursor.fetchone()
            if found is not None and found[2]:
                return Run(destination, *found[:2])
        cursor.execute(_BEGIN, {"slot": slot, "asked": asked})
        run = Run(destination, *cursor.fetchone())
        cursor.execute(_FORGET, [slot, slot, KEPT])
    return run
