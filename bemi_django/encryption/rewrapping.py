"""Encrypt the keys of subjects anew, with the newest key of the project."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.encryption.subject_key import SubjectRow
from bemi_django.exceptions import Refused
from bemi_django.schema.search_path import closed_cursor

#: Keys that are encrypted in one transaction.
BATCH = 1000
_FIRST = "00000000-0000-0000-0000-000000000000"
_MAY = "SELECT has_table_privilege('_bemi.subject_keys', %s)"
_COUNT = "SELECT count(*) FROM _bemi.subject_keys WHERE wrapped IS NOT NULL"
_READ = """
SELECT id::text, database, schema, "table", key, wrapped FROM _bemi.subject_keys
WHERE wrapped IS NOT NULL AND id > %s::text::uuid ORDER BY id LIMIT %s
"""
# A key that was erased meanwhile does not come back.
_WRITE = """
UPDATE _bemi.subject_keys k SET wrapped = decode(n.wrapped, 'hex')
FROM unnest(%s::text[], %s::text[]) n (id, wrapped) WHERE k.id = n.id::uuid
"""


class Rewrapped(NamedTuple):
    """How many keys were encrypted anew, had the newest key before, and are decrypted by none.

    ``late`` of those encrypted anew were made with a former key during the run.
    """

    done: int = 0
    present: int = 0
    unreadable: int = 0
    late: int = 0


def rewrap(
    alias: str, masters: MasterKeys, watch: Callable[[float], None], *, dry_run: bool = False
) -> Rewrapped:
    """Encrypt the keys of the database anew, in transactions of :data:`BATCH`.

    Each transaction leaves all keys readable, and a run that was interrupted can be made again. After keys
    were encrypted, all are looked at again: a process may have made keys meanwhile.

    Args:
        alias: Alias of the database of the log.
        masters: The keys of the project.
        watch: Called with the part that is done, from 0 to 1, after each transaction.
        dry_run: Only count.

    Raises:
        Refused: The role may not do this.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_MAY, ["SELECT" if dry_run else "UPDATE"])
        if cursor.fetchone() != (True,):
            raise Refused(
                "only the owner of _bemi.subject_keys may change keys: run the command as that role"
            )
    first = _pass(alias, masters, watch, dry_run=dry_run)
    if dry_run or not first.done:
        return first
    again = _pass(alias, masters, watch)
    return first._replace(done=first.done + again.done, unreadable=again.unreadable, late=again.done)


def _pass(
    alias: str, masters: MasterKeys, watch: Callable[[float], None], *, dry_run: bool = False
) -> Rewrapped:
    done = present = unreadable = seen = 0
    after = _FIRST
    with closed_cursor(alias) as cursor:
        cursor.execute(_COUNT)
        (total,) = cursor.fetchone()
    while True:
        with closed_cursor(alias) as cursor:
            cursor.execute(_READ, [after, BATCH])
            rows = cursor.fetchall()
            fresh = {}
            for number, *names, wrapped in rows:
                anew = masters.with_newest(bytes(wrapped), number, SubjectRow(*names))
                if anew is None:
                    unreadable += 1
                elif anew == bytes(wrapped):
                    present += 1
                else:
                    fresh[number] = anew.hex()
            done += len(fresh)
            if fresh and not dry_run:
                cursor.execute(_WRITE, [list(fresh), list(fresh.values())])
        if not rows:
            return Rewrapped(done, present, unreadable)
        after, seen = rows[-1][0], seen + len(rows)
        watch(seen / max(total, seen))
