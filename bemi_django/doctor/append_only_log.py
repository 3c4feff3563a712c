"""Whether the log is as append-only as the settings say."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django import conf
from bemi_django.doctor.finding import Finding
from bemi_django.schema import append_only, installed
from bemi_django.schema.search_path import closed_cursor

_CHANGEABLE = "SELECT string_agg(c::text, ', ' ORDER BY c::text) FROM _bemi.changeable_v1() c"
_MAY_ASK = "SELECT has_table_privilege('_bemi.permits', 'SELECT')"
_LEFT = "SELECT EXISTS (SELECT FROM _bemi.permits p WHERE p.xid IS NULL)"


def findings() -> Iterator[Finding]:
    """Yield why rows of the log can be changed although ``BEMI_APPEND_ONLY`` is set."""
    if not append_only.is_wanted():
        return
    with closed_cursor(conf.destination()) as cursor:
        if not installed.has(cursor, "append_only_v1") or not installed.has(cursor, "partition_v1"):
            return
        cursor.execute(_CHANGEABLE)
        (changeable,) = cursor.fetchone()
        cursor.execute(_MAY_ASK)
        is_left = False
        if cursor.fetchone() == (True,):
            cursor.execute(_LEFT)
            (is_left,) = cursor.fetchone()
    if changeable:
        yield Finding(
            "bemi.D017",
            f"Rows of {changeable} can be changed, although BEMI_APPEND_ONLY is set: the trigger is missing "
            "or turned off.",
            "Run manage.py bemi sync as the owner of the log, or what manage.py bemi grants prints.",
        )
    if is_left:
        yield Finding(
            "bemi.D017",
            "Rows of the log can be changed, because changeable_log() of tests was not ended.",
            "As the owner of the log, run DELETE FROM _bemi.permits WHERE xid IS NULL.",
        )
