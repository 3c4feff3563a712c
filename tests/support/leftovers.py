"""What tests leave behind in the databases that all of them share."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from tests.support.paths import TESTS

_STANDING = (TESTS / "support/standing.sql").read_text()
_FORGET = (TESTS / "support/forget.sql").read_text()
_TRACKING = "SELECT 'tracking ' || t::text FROM _bemi.tracking t"


class Standing:
    """What is in the shared databases; what tests must leave as it is."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    def remember(self) -> None:
        """Remember what is there now."""
        self._known = {alias: _standing(alias) for alias in _aliases()}

    def changes(self) -> list[str]:
        """Return what is there since it was remembered, and what is gone; it is remembered as it is now."""
        before = self._known
        if not before:
            return []
        forget()
        self.remember()
        return [
            f"{verb} in {alias}: {line}"
            for alias, now in self._known.items()
            for verb, lines in (("left", now - before[alias]), ("gone", before[alias] - now))
            for line in sorted(lines)
        ]


def forget(*aliases: str) -> None:
    """Empty the records in ``_bemi``, and forget what tables were like, unless a slot needs that."""
    for alias in aliases or _aliases():
        with connections[alias].cursor() as cursor:
            cursor.execute(_FORGET)


def _aliases() -> Iterator[str]:
    return (
        alias for alias in connections if str(connections[alias].settings_dict["NAME"]).startswith("test_")
    )


def _standing(alias: str) -> frozenset[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(_STANDING)
        found = [line for (line,) in cursor.fetchall()]
        cursor.execute("SELECT to_regclass('_bemi.tracking')")
        if cursor.fetchone() != (None,):
            cursor.execute(_TRACKING)
            found += [line for (line,) in cursor.fetchall()]
    return frozenset(found)
