"""Seal what is written: a digest of each row, and a link of a chain with each checkpoint."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

import orjson

from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.copying import CREATED_AT, RowCopier, copy_rows
from bemi_django.ingest.protocol.messages import Begin
from bemi_django.ingest.rows.copy_format import int64
from bemi_django.ingest.rows.large_rows import LargeCopyRow, id_of
from bemi_django.ingest.rows.row_writer import COLUMNS, EPOCH_SECONDS
from bemi_django.wire.ids import change_id
from bemi_django.wire.sequence import HistoryStart, sequence_at

#: The columns that a digest is of: those of any row, and when it was written.
SEALED_COLUMNS = (*COLUMNS, CREATED_AT)
#: Bytes of an id, of a salt and of a digest.
ID, SALT, DIGEST = 16, 16, 32
#: A transaction of a link: its commit LSN, its commit time and the number of its changes.
TRANSACTION = Struct(">QqQ")

_COUNT = len(SEALED_COLUMNS).to_bytes(2, "big")
_OPEN = "SELECT name, source FROM _bemi.chains WHERE is_open AND split_part(name, '.', 1) = %s ORDER BY name"
_IS_SEALING = "SELECT EXISTS (SELECT FROM _bemi.chains WHERE split_part(name, '.', 1) = %s)"
_SEAL = "SELECT _bemi.seal_v1(%s, %s, %s, %s, %s, '', %s, %s)"
_NOTE_REPLACED = "SELECT _bemi.note_replaced_v1(%s::jsonb, %s, %s, %s, %s)"


class SealedRows(NamedTuple):
    """What is kept of rows: their ids, digests and salts, joined."""

    ids: bytes
    digests: bytes
    salts: bytes


def copy_sealed(cursor: Any, rows: list[bytes]) -> SealedRows:
    """Write rows to ``changes``, as :func:`copy_rows` does, with the time of now as ``created_at``."""
    now = int64(time.time_ns() // 1000 - EPOCH_SECONDS * 1_000_000)
    salts = os.urandom(SALT * len(rows))
    digests = [
        row.digest(salts[place : place + SALT] + _COUNT, now)
        if isinstance(row, LargeCopyRow)
        else hashlib.sha256(b"".join((salts[place : place + SALT], _COUNT, row, now))).digest()
        for place, row in zip(range(0, len(salts), SALT), rows, strict=True)
    ]
    copy_rows(cursor, rows, now)
    return SealedRows(b"".join(map(id_of, rows)), b"".join(digests), salts)


def is_sealing(cursor: Any, slot: str) -> bool:
    """Return whether the changes of a slot are sealed, or once were."""
    cursor.execute(_IS_SEALING, [slot])
    return bool(cursor.fetchone()[0])


def chain_of_lane(slot: str, lane: int) -> str:
    """Return the name of the chain of a lane; that of a slot without a queue is the name of the slot."""
    return f"{slot}.{lane}"


def open_chains(cursor: Any, slot: str) -> dict[str, int]:
    """Return the chains of a slot that changes are sealed in, with the number of their source."""
    cursor.execute(_OPEN, [slot])
    return dict(cursor.fetchall())


def note_replaced(
    cursor: Any,
    rows: Sequence[SealedRows],
    who: Mapping[str, Any],
    *,
    is_erased: bool = False,
    added: Sequence[int] = (),
) -> None:
    """Note that rows of the log were replaced, last in the transaction and with the rights of the owner.

    Args:
        cursor: A cursor of the database of the log, of any driver.
        rows: The rows as they are now.
        who: Who replaced them, and why.
        is_erased: Whether nobody is to find out what the old digests are of: their salts are deleted.
        added: If the rows are new ones, their commit times in the order of their ids, in microseconds since
            2000-01-01 UTC.
    """
    sealed = sorted(
        (
            each.ids[ID * number :][:ID],
            each.digests[DIGEST * number :][:DIGEST],
            each.salts[SALT * number :][:SALT],
        )
        for each in rows
        for number in range(len(each.ids) // ID)
    )
    if sealed:
        details = {"who": dict(who), "changes": len(sealed), **({"added": list(added)} if added else {})}
        packed = (b"".join(column) for column in zip(*sealed, strict=True))
        cursor.execute(_NOTE_REPLACED, [orjson.dumps(details).decode(), *packed, is_erased])


class SealingCopier(RowCopier):
    """Writes rows to the log and their digests to a chain, by its name."""

    def __init__(self, chain: str) -> None:
        super().__init__()
        self._chain = chain
        self._forget()

    def copy(self, cursor: Any, rows: Sequence[Pending]) -> None:
        """Write rows; see :meth:`RowCopier.copy`."""
        sealed = copy_sealed(cursor, [pending.row for pending in rows])
        self._activity.add(rows)
        # The destination has taken them. What it refuses is not sealed.
        self._ids.append(sealed.ids)
        self._digests.append(sealed.digests)
        self._salts.append(sealed.salts)
        self._count(rows)

    def seal(self, cursor: Any) -> None:
        """Add a link for what was copied since the last one."""
        super().seal(cursor)
        if not self._ids:
            return
        packed = [
            TRANSACTION.pack(begin.commit_lsn, begin.committed_at, count) for begin, count in self._counts
        ]
        columns = (packed, self._ids, self._digests, self._salts)
        cursor.execute(_SEAL, [self._chain, "changes", "{}", *(b"".join(column) for column in columns)])
        self._forget()

    def _count(self, rows: Sequence[Pending]) -> None:
        counts = self._counts
        for pending in rows:
            begin: Begin = pending.change.begin
            if counts and counts[-1][0] is begin:
                counts[-1][1] += 1
            else:
                counts.append([begin, 1])

    def _forget(self) -> None:
        self._ids: list[bytes] = []
        self._digests: list[bytes] = []
        self._salts: list[bytes] = []
        self._counts: list[Any] = []


def find_open(cursor: Any, chains: Sequence[str]) -> set[str]:
    """Return those of some chains that changes are sealed in."""
    cursor.execute("SELECT name FROM _bemi.chains WHERE is_open AND name = ANY (%s)", [list(chains)])
    return {name for (name,) in cursor.fetchall()}


def copier_of(config: WorkerConfig) -> RowCopier:
    """Return what writes the rows of a worker."""
    return SealingCopier(config.slot) if config.is_sealed else RowCopier()


def copier_of_gap(cursor: Any, config: WorkerConfig) -> RowCopier:
    """Return what writes the row of a gap, before :func:`follow_setting`: an open chain ends after it.

    Args:
        cursor: A cursor of the destination.
        config: The configuration of the worker.
    """
    return SealingCopier(config.slot) if open_chains(cursor, config.slot) else copier_of(config)


def follow_setting(
    cursor: Any,
    config: WorkerConfig,
    database: str,
    source: int,
    histories: Sequence[HistoryStart],
    start: int,
) -> None:
    """Note in the chain that sealing begins or ends where a worker goes on, if it does.

    With a queue, consumers seal in the chains of lanes: see :func:`follow_lanes`.

    Args:
        cursor: A cursor of the destination.
        config: The configuration of the worker.
        database: The name of the source's database.
        source: The number of the source in the ids of its changes.
        histories: The histories of the log.
        start: Where the worker goes on, in bytes.
    """
    opened = open_chains(cursor, config.slot)
    known = opened.pop(config.slot, None)
    wanted = source if config.is_sealed and config.queue is None else None
    ended = [] if config.queue is not None else [*opened]
    if known != wanted:
        ended.append(config.slot)
    # The greatest id that a change before can have: the next one commits at the start or after it.
    before = max(sequence_at(histories, -(-start // 8) * 8) - 8, 0)
    last = change_id(before, 0xFFFFFFFF, (1 << 30) - 1)
    for name in ended:
        kind = "begin" if name == config.slot and wanted is not None else "end"
        _switch(cursor, name, kind, {"database": database, "source": source, "position": start}, last)


def follow_lanes(cursor: Any, slot: str, number: int, database: str, source: int, *, is_sealed: bool) -> None:
    """Note in the chains of lanes that sealing begins or ends where each of them is, if it does.

    All lanes begin in one transaction. What is written to a lane whose chain is open, is sealed.

    Args:
        cursor: A cursor of the destination, in a transaction of its own.
        slot: The name of the slot.
        number: The number of its lanes.
        database: The name of the source's database.
        source: The number of the source in the ids of its changes.
        is_sealed: Whether changes are to be sealed.
    """
    wanted = {chain_of_lane(slot, lane): source for lane in range(number if is_sealed else 0)}
    if _of_lanes(cursor, slot) == wanted:
        return
    # Nobody moves them meanwhile.
    positions = lanes.hold(cursor, slot)
    opened = _of_lanes(cursor, slot)
    if len(positions) != number or opened == wanted:
        return
    first = min(positions.values())
    at = {chain_of_lane(slot, lane): position for lane, position in positions.items()}
    for name in sorted({*opened, *wanted}):
        kind = "begin" if name in wanted else "end"
        position = at.get(name, first)
        last = int.from_bytes(change_id(-(-position.sequence // 8) * 8, position.ordinal, 0), "big") - 1
        details = {"database": database, "source": source, "lanes": number}
        _switch(cursor, name, kind, details, last.to_bytes(ID, "big"))


def _of_lanes(cursor: Any, slot: str) -> dict[str, int]:
    return {name: source for name, source in open_chains(cursor, slot).items() if name != slot}


def _switch(cursor: Any, chain: str, kind: str, details: Mapping[str, Any], last: bytes) -> None:
    """Let a chain begin or end after an id."""
    said = orjson.dumps({**details, "last": last.hex()}).decode()
    cursor.execute(_SEAL, [chain, kind, said, b"", b"", b"", b""])
