"""A superuser who edits the log is found, until the chain is made again; then an anchor finds it."""

# ruff: noqa: S608 - the attacker's statements are made of numbers and of names of our own
from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection

from bemi_django import conf
from bemi_django.models import Change
from bemi_django.seals import anchors
from bemi_django.seals.anchors import newest
from bemi_django.seals.links import read_links
from bemi_django.seals.verify import verify_chains
from bemi_django.wire.ids import change_id, source_in
from tests.integration.retention.conftest import RECORDS
from tests.integration.seals.conftest import AnchorHook, whole
from tests.support import sealed_log
from tests.support.attacked_log import HIDE, AttackedLog
from tests.support.forger import forge
from tests.support.object_store import make_bucket, object_store, place_in
from tests.support.old_months import FIRST, SECOND, old_months
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.sealed_log import SLOT, set_sealing, write_sealed
from tests.support.superuser import COLUMNS

#: How often the log is attacked in all, and how many changes a chain has.
ATTACKS, CHANGES = int(os.environ.get("BEMI_ATTACKS", "30")), 30
#: What the package does meanwhile.
STAGES = 7
_FROM = "FROM changes ORDER BY id OFFSET {} LIMIT 1"
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)


@pytest.fixture
def attacked(old_log: None) -> None:
    """Changes of two months in one chain."""
    write_sealed(FIRST, CHANGES // 2, begin=True)
    write_sealed(SECOND, CHANGES // 2, first=CHANGES // 2 + 1)


@pytest.fixture
def busy(sealing: Pipeline, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A log with a table of which letters can be read later, and with old months."""
    settings.BEMI_SLOT = sealing.slot
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    execute("CREATE TYPE secret AS ENUM ('x', 'y')")
    execute(HIDE.format("to_json($1::text)"))
    execute("CREATE CAST (secret AS json) WITH FUNCTION hide(secret)")
    execute("CREATE TABLE safe (id int PRIMARY KEY, word secret)")
    with old_months():
        yield sealing
    User.objects.all().delete()
    execute("DROP TABLE safe; DROP TYPE secret CASCADE")
    execute("DELETE FROM _bemi.dead_letters")
    for table in (*RECORDS, "erased", "erasures"):
        execute(f"DELETE FROM _bemi.{table}")


@pytest.fixture
def store() -> Iterator[str]:
    with object_store() as address:
        yield address


def test_attacks_between_all_that_the_package_does_are_found(
    busy: Pipeline, settings: Any, tmp_path: Path, webhook: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "anchors.jsonl", tmp_path / "anchors"
    bucket = make_bucket(store, "anchors", monkeypatch, ObjectLockEnabledForBucket=True)
    places = [str(file), folder.as_uri(), webhook, place_in(store, "anchors/shop")]
    log = AttackedLog(busy, places, tmp_path / "archive")
    told, untold = log.attack(19, -(-ATTACKS // STAGES), max(ATTACKS // 100, 2), settings)
    # Of what was before the last anchor, and of what came after it.
    assert told and untold
    written = {
        "file": file.read_text(),
        "folder": "".join(each.read_text() for each in sorted(folder.iterdir())),
        "webhook": "".join(AnchorHook.posted),
        "object store": "".join(
            each.get()["Body"].read().decode()
            for each in sorted(bucket.objects.all(), key=lambda one: one.key)
        ),
    }
    assert len(set(written.values())) == 1
    assert verify_chains(anchors.read(str(file))).wrong == 0


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


@pytest.mark.parametrize("name", [f"{SLOT}.0", "bemi_another"])
@pytest.mark.parametrize("lanes", [0, 1])
def test_a_chain_that_is_added_beside_that_of_the_worker_is_found(
    old_log: None, monkeypatch: pytest.MonkeyPatch, name: str, lanes: int
) -> None:
    write_sealed(FIRST, 4, begin=True)
    execute(
        "INSERT INTO _bemi.chains (name) VALUES (%s);"
        "SELECT _bemi.seal_v1(%s, kind, (details::jsonb || %s::jsonb)::text, '', '', '', '', '') "
        "FROM _bemi.links WHERE kind = 'begin'",
        [name, name, f'{{"lanes": {lanes}}}'],
    )
    write_sealed(FIRST, 4, first=11)
    monkeypatch.setattr(sealed_log, "SLOT", name)
    write_sealed(FIRST, 1, first=7)
    assert {found.kind for found in verify_chains().findings} & {"link", "inserted"}


def test_a_worker_may_not_say_what_was_done_to_changes(old_log: None) -> None:
    write_sealed(FIRST, 1, begin=True)
    for chain, kind in product(("", SLOT), ("replaced", "removed", "imported", "month", "diverged")):
        with pytest.raises(DatabaseError, match="may not say that changes were removed or replaced"):
            execute("SELECT _bemi.seal_v1(%s, %s, '{}', '', '', '', '', '')", [chain, kind])


def test_whoever_makes_the_chain_again_is_found_by_an_anchor(attacked: None) -> None:
    kept = newest("default")
    forge("""UPDATE changes SET after = jsonb_set(after, '{name}', '"forged"') WHERE position = 640""")
    # The log is consistent: only what was kept outside of the database tells.
    whole()
    assert [found.kind for found in verify_chains(kept).findings] == ["link"]


def test_what_came_after_the_last_anchor_is_not_found(attacked: None) -> None:
    kept = newest("default")
    write_sealed(SECOND, 2, first=CHANGES + 1)
    forge(f"UPDATE changes SET context = '{{}}' WHERE position = {64 * (CHANGES + 1)}", kept[0].number + 1)
    assert verify_chains(kept).wrong == 0
    with connection.cursor() as cursor:
        links: list[Any] = read_links(cursor, SLOT, 0, 1000)
    assert links[-1].hash.hex() != kept[0].hash
