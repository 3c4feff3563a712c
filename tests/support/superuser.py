"""A superuser of the log's database who does something to the log at random, and is found."""

# ruff: noqa: S608 - the attacker's statements are made of numbers and of names of our own
from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg2

from bemi_django.ingest.destination.sealing import DIGEST, ID, SALT, SEALED_COLUMNS, TRANSACTION
from bemi_django.seals.anchors import Anchor
from bemi_django.seals.findings import ChainReport
from bemi_django.seals.links import OPERATIONS, Link, read_links
from bemi_django.seals.records import seal_again, sent_columns
from bemi_django.seals.verify import verify_over

COLUMNS = (*SEALED_COLUMNS, "diverged")
#: What each column is changed to.
EDITS = {
    "id": "overlay(id::text PLACING 'ab' FROM 15 FOR 2)::uuid",
    "database": "database || 'x'",
    "schema": "schema || ' '",
    "table": 'upper("table")',
    "primary_key": "NULL",
    "operation": "'DELETE'",
    "before": """'{"id": 7}'""",
    "after": """jsonb_set(after, '{forged}', '1')""",
    "context": """jsonb_set(context, '{zz}', '1.50')""",
    "committed_at": "committed_at + interval '1 us'",
    "queued_at": "queued_at - interval '1 us'",
    "created_at": "created_at + interval '1 us'",
    "transaction_id": "transaction_id + 1",
    "position": "position + 8",
    "previous_primary_key": "primary_key",
    "partition": "''",
    "unavailable": "'{}'",
    "diverged": "NOT diverged",
}
#: Those that say nothing of where a change belongs.
FREE = ("operation", "before", "after", "context", "primary_key", "unavailable")
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
_MOVED = "after, context, primary_key, position, transaction_id"
# The salt of a row that is not there any more proves nothing.
_OF_LINKS = {
    "details": "details || ' '",
    "kind": "'begin'",
    "number": "number + 1000",
    "chain": "'other'",
    "first": "gen_random_uuid()",
    "last": "NULL",
    "sealed_at": "sealed_at + interval '1 us'",
    **{
        name: f"overlay({name} PLACING '\\x00ff'::bytea FROM 1)"
        for name in ("transactions", "ids", "digests", "hash", "replaced")
    },
}


class Superuser:
    """Attacks a log over a connection of its own, and undoes each attack.

    Args:
        parameters: Of the connection.
        seed: What the attacks are drawn with.
    """

    def __init__(self, parameters: Mapping[str, Any], seed: int = 19) -> None:
        self._connection = psycopg2.connect(**parameters)
        self._chance = random.Random(seed)
        edits: list[Callable[[], str]] = [self._edit] * 6
        self._ways = [
            *edits, self._remove, self._insert, self._insert, self._exchange, self._falsify_link,
            self._falsify_link, self._cut_chain, self._falsify_head,
        ]  # fmt: skip

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def attack(self) -> None:
        """Do something at random, and assert that it is found."""
        while True:
            statement = self._chance.choice(self._ways)()
            with self._undone() as cursor:
                cursor.execute(statement)
                # Some change nothing of a row, such as a key that is NULL.
                if cursor.rowcount:
                    assert self._report().wrong, statement
                    return

    def forge(self, anchors: Sequence[Anchor]) -> bool:
        """Edit or remove a change and make its chain again; return whether the anchors told.

        Only what came before the anchor of its chain is told, and by an anchor only.
        """
        with self._undone() as cursor:
            chain, link, number, change = self._chance.choice(self._forgeable(cursor))
            if len(link.ids) > ID and self._chance.random() < 0.3:
                cursor.execute("DELETE FROM changes WHERE id = %s::uuid", [change.hex()])
                forged = _without(link, number)
            else:
                column = self._chance.choice(FREE)
                cursor.execute(
                    f"""UPDATE changes SET "{column}" = {EDITS[column]} WHERE id = %s::uuid""",
                    [change.hex()],
                )
                forged = _sealed_again(cursor, link, number, change)
            assert cursor.rowcount == 1
            _make_again(cursor, chain, forged)
            assert [*map(str, self._report().findings)] == [], "without an anchor nobody knows"
            at = {anchor.chain: anchor.number for anchor in anchors}
            is_told = bool(self._report(anchors).wrong)
            assert is_told == (link.number <= at.get(chain, 0)), (chain, link.number, at)
            return is_told

    def _report(self, anchors: Sequence[Anchor] = ()) -> ChainReport:
        # In the attacker's transaction, so that each attack is alone.
        return verify_over(self._connection, anchors, lambda what, part: None, lambda cursor: nullcontext())

    @contextmanager
    def _undone(self) -> Iterator[Any]:
        try:
            with self._connection.cursor() as cursor:
                yield cursor
        finally:
            self._connection.rollback()

    def _any_change(self) -> str:
        place = self._chance.randrange(10_000)
        return f"(SELECT id FROM changes ORDER BY id OFFSET {place} % (SELECT count(*) FROM changes) LIMIT 1)"

    def _edit(self) -> str:
        column = self._chance.choice(COLUMNS)
        value = EDITS[column]
        return (
            f'UPDATE changes SET "{column}" = {value} '
            f'WHERE id = {self._any_change()} AND "{column}" IS DISTINCT FROM {value}'
        )

    def _remove(self) -> str:
        return f"DELETE FROM changes WHERE id = {self._any_change()}"

    def _insert(self) -> str:
        """A copy of a change, right behind it."""
        copied = _NAMES.replace('"id"', "overlay(id::text PLACING 'f' FROM 22 FOR 1)::uuid")
        return f"INSERT INTO changes ({_NAMES}) SELECT {copied} FROM changes WHERE id = {self._any_change()}"

    def _exchange(self) -> str:
        """Two changes change places."""
        both = f"(SELECT * FROM changes WHERE id IN ({self._any_change()}, {self._any_change()})) c"
        return (
            f"UPDATE changes c SET ({_MOVED}) = (o.after, o.context, o.primary_key, o.position, "
            f"o.transaction_id) FROM (SELECT {_MOVED}, lead(id) OVER (ORDER BY id) AS other FROM {both} "
            f"UNION ALL SELECT {_MOVED}, lag(id) OVER (ORDER BY id) FROM {both}) o WHERE c.id = o.other"
        )

    def _any_link(self) -> str:
        place = self._chance.randrange(10_000)
        links = "SELECT chain, number FROM _bemi.links"
        return f"({links} ORDER BY 1, 2 OFFSET {place} % (SELECT count(*) FROM _bemi.links) LIMIT 1)"

    def _falsify_link(self) -> str:
        column, value = self._chance.choice([*_OF_LINKS.items()])
        return (
            f"UPDATE _bemi.links SET {column} = {value} "
            f"WHERE (chain, number) = {self._any_link()} AND {column} IS DISTINCT FROM {value}"
        )

    def _cut_chain(self) -> str:
        return f"DELETE FROM _bemi.links WHERE (chain, number) = {self._any_link()}"

    def _falsify_head(self) -> str:
        """The head of a chain is renamed, removed, or moved back."""
        place = self._chance.randrange(10_000)
        heads = "SELECT name FROM _bemi.chains ORDER BY 1"
        head = f"({heads} OFFSET {place} % (SELECT count(*) FROM _bemi.chains) LIMIT 1)"
        change = self._chance.choice(
            ("name = 'other'", "number = number - 1", "hash = sha256(hash)", "sealed_at = now()", "")
        )
        what = f"UPDATE _bemi.chains SET {change}" if change else "DELETE FROM _bemi.chains"
        return f"{what} WHERE name = {head} AND number > 0"

    def _forgeable(self, cursor: Any) -> list[tuple[str, Link, int, bytes]]:
        """Return changes that are there, as the worker has written them, with their links."""
        cursor.execute("SELECT replace(id::text, '-', '') FROM changes")
        there = {bytes.fromhex(each) for (each,) in cursor.fetchall()}
        there -= {change.id for link in read_links(cursor, OPERATIONS, 0) for change in link.changes()}
        there -= {
            link.ids[at : at + ID]
            for link in read_links(cursor, OPERATIONS, 0)
            for at in range(0, len(link.ids), ID)
        }
        cursor.execute("SELECT name FROM _bemi.chains WHERE name <> ''")
        return [
            (chain, link, number, change.id)
            for (chain,) in cursor.fetchall()
            for link in read_links(cursor, chain, 0)
            for number, change in enumerate(link.changes())
            if change.id in there
        ]


def _sealed_again(cursor: Any, link: Link, number: int, change: bytes) -> Link:
    cursor.execute(f"SELECT {sent_columns()} FROM changes WHERE id = %s::uuid", [change.hex()])
    rows = [[None if one is None else bytes(one) for one in row] for row in cursor.fetchall()]
    sealed = seal_again(rows)
    return link._replace(
        digests=_put(link.digests, DIGEST, number, sealed.digests),
        salts=_put(link.salts, SALT, number, sealed.salts),
    )


def _without(link: Link, number: int) -> Link:
    counts, place = [], 0
    for position, moment, count in TRANSACTION.iter_unpack(link.transactions):
        counts.append((position, moment, count - (place <= number < place + count)))
        place += count
    return link._replace(
        transactions=b"".join(TRANSACTION.pack(*one) for one in counts if one[2]),
        ids=_put(link.ids, ID, number, b""),
        digests=_put(link.digests, DIGEST, number, b""),
        salts=_put(link.salts, SALT, number, b""),
    )


def _put(packed: bytes, size: int, number: int, value: bytes) -> bytes:
    return packed[: size * number] + value + packed[size * (number + 1) :]


def _make_again(cursor: Any, chain: str, forged: Link) -> None:
    """Put a link into a chain, and make all that come after it fit."""
    previous = b""
    for link in read_links(cursor, chain, 0, 10_000):
        made = forged if link.number == forged.number else link
        made = made._replace(hash=made.hash_after(chain, previous))
        previous = made.hash
        if link.number >= forged.number:
            cursor.execute(
                "UPDATE _bemi.links SET transactions = %s, ids = %s, digests = %s, salts = %s, hash = %s, "
                "first = nullif(encode(substr(%s, 1, 16), 'hex'), '')::uuid, "
                "last = nullif(encode(substr(%s, greatest(length(%s) - 15, 1), 16), 'hex'), '')::uuid "
                "WHERE chain = %s AND number = %s",
                [made.transactions, made.ids, made.digests, made.salts, made.hash]
                + [psycopg2.Binary(made.ids)] * 3
                + [chain, made.number],
            )
    cursor.execute("UPDATE _bemi.chains SET hash = %s WHERE name = %s", [previous, chain])
