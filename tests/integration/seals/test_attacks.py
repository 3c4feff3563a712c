"""A superuser who edits the log is found, until the chain is made again; then an anchor finds it."""

# ruff: noqa: S608 - the attacker's statements are made of numbers and of names of our own
from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

import psycopg2
import pytest
from django.db import connection

from bemi_django import conf
from bemi_django.ingest.destination.sealing import SEALED_COLUMNS
from bemi_django.models import Change
from bemi_django.seals.anchors import newest
from bemi_django.seals.links import read_links
from bemi_django.seals.verify import verify_chains, verify_over
from bemi_django.wire.ids import change_id, source_in
from tests.integration.seals.conftest import whole
from tests.support import sealed_log
from tests.support.forger import forge
from tests.support.old_months import FIRST, SECOND
from tests.support.project_database import execute
from tests.support.sealed_log import SLOT, set_sealing, write_sealed

#: How often the log is attacked, and its changes.
ATTACKS, CHANGES = 1000, 30
COLUMNS = (*SEALED_COLUMNS, "diverged")
_EDITS = {
    "id": "overlay(id::text PLACING 'ab' FROM 15 FOR 2)::uuid",
    "database": "database || 'x'",
    "schema": "schema || ' '",
    "table": 'upper("table")',
    "primary_key": "NULL",
    "operation": "'DELETE'",
    "before": """'{"id": 7}'""",
    "after": """jsonb_set(after, '{name}', '"name 0"')""",
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
_FROM = "FROM changes ORDER BY id OFFSET {} LIMIT 1"
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)


@pytest.fixture
def attacked(old_log: None) -> None:
    """Changes of two months in one chain."""
    write_sealed(FIRST, CHANGES // 2, begin=True)
    write_sealed(SECOND, CHANGES // 2, first=CHANGES // 2 + 1)


def edit(chance: random.Random) -> str:
    column = chance.choice(COLUMNS)
    where = f"(SELECT id {_FROM.format(chance.randrange(CHANGES))})"
    return f'UPDATE changes SET "{column}" = {_EDITS[column]} WHERE id = {where}'


def remove(chance: random.Random) -> str:
    return f"DELETE FROM changes WHERE id = (SELECT id {_FROM.format(chance.randrange(CHANGES))})"


def insert(chance: random.Random) -> str:
    """A copy of a change, at another place of the same source."""
    shift = chance.randrange(1, 8)
    copied = _NAMES.replace('"id"', f"overlay(id::text PLACING '{shift}' FROM 18 FOR 1)::uuid")
    return f"INSERT INTO changes ({_NAMES}) SELECT {copied} {_FROM.format(chance.randrange(CHANGES))}"


def exchange(chance: random.Random) -> str:
    """Two changes of the same month change places."""
    first, second = chance.sample(range(CHANGES // 2), 2)
    moved = "after, context, primary_key, position, transaction_id"
    return (
        f"UPDATE changes c SET ({moved}) = (o.after, o.context, o.primary_key, o.position, o.transaction_id) "
        f"FROM (SELECT {moved}, lead(id) OVER (ORDER BY id) AS other FROM (SELECT * FROM changes WHERE id IN "
        f"((SELECT id {_FROM.format(first)}), (SELECT id {_FROM.format(second)}))) s "
        f"UNION ALL SELECT {moved}, lag(id) OVER (ORDER BY id) FROM (SELECT * FROM changes WHERE id IN "
        f"((SELECT id {_FROM.format(first)}), (SELECT id {_FROM.format(second)}))) s) o WHERE c.id = o.other"
    )


def falsify_chain(chance: random.Random) -> str:
    column = chance.choice(
        (
            *("details", "transactions", "ids", "digests", "salts", "hash", "sealed_at", "kind"),
            *("number", "chain", "replaced", "first", "last"),
        )
    )
    value = {
        "details": "details || ' '",
        "kind": "'begin'",
        "number": "number + 1000",
        "chain": "'other'",
        "first": "gen_random_uuid()",
        "last": "NULL",
        "sealed_at": "sealed_at + interval '1 us'",
    }.get(column, f"overlay({column} PLACING '\\x00ff'::bytea FROM 1)")
    number = chance.randrange(2, CHANGES // 2 + 2)
    return f"UPDATE _bemi.links SET {column} = {value} WHERE chain = '{SLOT}' AND number = {number}"


def cut_chain(chance: random.Random) -> str:
    number = chance.randrange(1, CHANGES // 2 + 2)
    return f"DELETE FROM _bemi.links WHERE chain = '{SLOT}' AND number = {number}"


def falsify_head(chance: random.Random) -> str:
    """The head of a chain is renamed, removed, or moved back."""
    return chance.choice(
        (
            f"UPDATE _bemi.chains SET name = 'other' WHERE name = '{SLOT}'",
            f"DELETE FROM _bemi.chains WHERE name = '{SLOT}'",
            f"UPDATE _bemi.chains SET number = number - 1 WHERE name = '{SLOT}'",
            f"UPDATE _bemi.chains SET hash = sha256(hash) WHERE name = '{SLOT}'",
        )
    )


ATTACK: list[Callable[[random.Random], str]] = [
    *[edit] * 6, remove, insert, insert, exchange, falsify_chain, falsify_chain, cut_chain, falsify_head
]  # fmt: skip


def found(attacker: Any) -> int:
    return verify_over(attacker, (), lambda what, part: None, lambda cursor: nullcontext()).wrong


def test_a_thousand_attacks_are_found(attacked: None) -> None:
    whole()
    chance = random.Random(19)
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as attacker:
        for number in range(ATTACKS):
            statement = chance.choice(ATTACK)(chance)
            with attacker.cursor() as cursor:
                cursor.execute(statement)
                assert cursor.rowcount, statement
                # In the attacker's transaction, so that each attack is alone.
                assert found(attacker), f"{number}: {statement}"
            attacker.rollback()
    whole()


@pytest.mark.parametrize("how", ["off", "another source"])
def test_a_change_before_the_first_sealed_one_is_found_when_sealing_has_ended(
    old_log: None, how: str
) -> None:
    write_sealed(FIRST, 4, begin=True)
    source = source_in(Change.objects.order_by("pk")[0].pk.bytes)
    set_sealing(how != "off", 320, source if how == "off" else source + 1)
    assert whole().changes == 4
    copied = _NAMES.replace('"id"', f"'{change_id(32, 0, source).hex()}'::uuid")
    execute(f"INSERT INTO changes ({_NAMES}) SELECT {copied} {_FROM.format(0)}")
    assert [finding.kind for finding in verify_chains().findings] == ["inserted"]


def test_a_change_of_the_past_that_is_sealed_now_is_found(old_log: None) -> None:
    write_sealed(FIRST, 4, begin=True)
    write_sealed(FIRST, 4, first=11)
    # As a worker does it, at the end of the chain.
    write_sealed(FIRST, 1, first=7)
    assert [found.kind for found in verify_chains().findings] == ["link"]


@pytest.mark.parametrize("lanes", [0, 1])
def test_a_chain_that_is_added_beside_that_of_the_worker_is_found(
    old_log: None, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    write_sealed(FIRST, 4, begin=True)
    execute(
        "INSERT INTO _bemi.chains (name) VALUES (%s);"
        "SELECT _bemi.seal_v1(%s, kind, (details::jsonb || %s::jsonb)::text, '', '', '', '', '') "
        "FROM _bemi.links WHERE kind = 'begin'",
        [f"{SLOT}.0", f"{SLOT}.0", f'{{"lanes": {lanes}}}'],
    )
    write_sealed(FIRST, 4, first=11)
    monkeypatch.setattr(sealed_log, "SLOT", f"{SLOT}.0")
    write_sealed(FIRST, 1, first=7)
    assert "link" in {found.kind for found in verify_chains().findings}


def test_whoever_makes_the_chain_again_is_found_by_an_anchor(attacked: None) -> None:
    anchors = newest("default")
    forge("""UPDATE changes SET after = jsonb_set(after, '{name}', '"forged"') WHERE position = 640""")
    # The log is consistent: only what was kept outside of the database tells.
    whole()
    assert [found.kind for found in verify_chains(anchors).findings] == ["link"]


def test_what_came_after_the_last_anchor_is_not_found(attacked: None) -> None:
    anchors = newest("default")
    write_sealed(SECOND, 2, first=CHANGES + 1)
    forge(f"UPDATE changes SET context = '{{}}' WHERE position = {64 * (CHANGES + 1)}", anchors[0].number + 1)
    assert verify_chains(anchors).wrong == 0
    with connection.cursor() as cursor:
        links: list[Any] = read_links(cursor, SLOT, 0, 1000)
    assert links[-1].hash.hex() != anchors[0].hash
