"""Note in the chain of a log that rows of it were replaced: whoever changes rows calls this."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from bemi_django.ingest.destination.sealing import ID, SALT, SEALED_COLUMNS, SealedRows, note_replaced
from bemi_django.ingest.rows import copy_format
from bemi_django.seals.rows import sealed_fields

_SENT = {
    "id": "uuid_send(id)",
    **{name: f"jsonb_send({name})" for name in ("before", "after", "context", "unavailable")},
    **{name: f"timestamptz_send({name})" for name in ("committed_at", "queued_at", "created_at")},
    **{name: f"int8send({name})" for name in ("transaction_id", "position")},
}
_ROWS = "SELECT {} FROM {} WHERE id = ANY (%s::uuid[]) ORDER BY id"
_IS_USED = "SELECT EXISTS (SELECT FROM _bemi.chains)"
_COMMITTED_AT = SEALED_COLUMNS.index("committed_at")
#: Rows that are in memory at once.
_AT_ONCE = 500

#: The values of a row in PostgreSQL's binary format, in the order of ``SEALED_COLUMNS``; None for NULL.
BinaryRow = Sequence[bytes | None]


def note_changed_rows(
    cursor: Any,
    log: str,
    ids: Sequence[UUID],
    who: Mapping[str, Any],
    *,
    is_erased: bool = False,
    is_added: bool = False,
) -> None:
    """Note that rows of the log were changed: they are read as they are now, and sealed again.

    Call this last in the transaction that has changed them, with the rights of the log's owner. Nothing is
    done if nothing was ever sealed.

    Args:
        cursor: A cursor of the database of the log.
        log: The name of the log.
        ids: The changes.
        who: Who has changed them, and why, as ``operator_context()`` returns it.
        is_erased: Whether nobody is to find out what the rows were: the salts of the old digests are deleted.
        is_added: Whether the rows are new ones, which are missed if somebody removes them.
    """
    cursor.execute(_IS_USED)
    if cursor.fetchone() != (True,):
        return
    query = _ROWS.format(sent_columns(), log.replace("%", "%%"))
    sealed, added, ids = [], [], sorted(ids)
    for start in range(0, len(ids), _AT_ONCE):
        cursor.execute(query, [[str(one) for one in ids[start : start + _AT_ONCE]]])
        rows = [[None if value is None else bytes(value) for value in row] for row in cursor.fetchall()]
        sealed.append(seal_again(rows))
        added += [int.from_bytes(row[_COMMITTED_AT] or b"", "big", signed=True) for row in rows]
    note_replaced(cursor, sealed, who, is_erased=is_erased, added=added if is_added else ())


def sent_columns() -> str:
    """Return the columns of a query for rows in the binary format, which any driver reads as bytes."""
    return ", ".join(_SENT.get(name, f'textsend("{name}")') for name in SEALED_COLUMNS)


def seal_again(rows: Iterable[BinaryRow]) -> SealedRows:
    """Return the digests of rows, with new salts; for :func:`note_replaced`."""
    ids, digests, salts = [], [], []
    for row in rows:
        salt = os.urandom(SALT)
        fields = [copy_format.field_or_null(value) for value in row]
        digests.append(hashlib.sha256(salt + sealed_fields(fields)).digest())
        ids.append(fields[0][-ID:])
        salts.append(salt)
    return SealedRows(b"".join(ids), b"".join(digests), b"".join(salts))
