"""Rows whose keys are of any type, and look like anything, are erased, and given to whom they are about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection

from bemi_django import bound_context
from bemi_django.events.recording import emit
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.integration.erasure.conftest import Bemi
from tests.shop.models import Category
from tests.support.extensions import extensions
from tests.support.key_kinds import KINDS, kinds_of_keys, printed, write_rows
from tests.support.pipeline import Drain
from tests.support.project_database import execute

REASON = ("--reason", "request 7", "--noinput")


@pytest.fixture
def kinds(drain: Drain) -> Iterator[None]:
    with kinds_of_keys():
        tracking.sync()
        yield


def logged(*tables: str) -> str:
    kept = execute('SELECT to_jsonb(c)::text FROM changes c WHERE "table" = ANY (%s)', [list(tables)])
    return "\n".join(text for (text,) in kept)


def forms(text: str) -> set[str]:
    """How a key may stand in JSON."""
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    return {once, json.dumps(once, ensure_ascii=False)[1:-1]}


def test_a_row_with_a_key_of_any_type_is_disclosed_and_erased(
    kinds: None, drain: Drain, bemi: Bemi, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    for name, kind in KINDS.items():
        with bound_context(path=f"/kinds/{kind.key}/items/", user_id=7):
            write_rows(name)
    drain()
    for name, kind in KINDS.items():
        place = tmp_path / f"{name}.json"
        bemi("subject", f"kind_{name}:{printed(name)}", "--export", str(place))
        text = place.read_text()
        assert "remark of ann" in text and "note of ann" in text and "of bob" not in text, name
        bemi("erase", f"kind_{name}:{printed(name)}", "--related", *REASON)
        left = logged(f"kind_{name}", f"of_{name}")
        assert "of ann" not in left and "remark of bob" in left and "note of bob" in left, name
        assert "/kinds/" in left and "/items/" in left, name
        if not kind.is_meaningless and len(kind.key) > 4:
            assert not any(form in left for key in (kind.key, kind.former) for form in forms(key)), (
                name,
                left,
            )
        history = Change.objects.filter(table=f"kind_{name}")
        assert history.filter(operation="ERASED").count() == len({kind.key, kind.former}), name
        (deleted,) = history.filter(operation="DELETE")
        assert history.filter(operation="ERASED", primary_key=deleted.primary_key).exists(), name


@pytest.fixture
def passports(drain: Drain) -> Iterator[None]:
    """People by the numbers of their passports, which are texts, and their journeys."""
    execute(
        "CREATE TABLE traveller (passport text PRIMARY KEY, remark text);"
        "CREATE TABLE journey (id int PRIMARY KEY, remark text, "
        "traveller text REFERENCES traveller ON DELETE CASCADE)"
    )
    try:
        tracking.sync()
        yield
    finally:
        execute("DROP TABLE journey, traveller")


def travel(*passports: str) -> None:
    for number, passport in enumerate(passports):
        execute("INSERT INTO traveller VALUES (%s, 'remark of ann')", [passport])
        execute("INSERT INTO journey VALUES (%s, 'note of ann', %s)", [number, passport])


def test_rows_that_refer_to_a_text_that_looks_like_a_number_are_found_without_its_changes(
    passports: None, drain: Drain, bemi: Bemi, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    numbers = "0147114711", "4711471147"
    travel(*numbers)
    execute("DELETE FROM traveller")
    drain()
    # As retention does.
    execute("DELETE FROM changes WHERE \"table\" = 'traveller'")
    execute("INSERT INTO traveller VALUES ('0', 'of another one')")
    drain()
    for number in numbers:
        bemi("subject", f"public.traveller:{number}", "--export", str(tmp_path / f"{number}.json"))
        assert "note of ann" in (tmp_path / f"{number}.json").read_text()
        bemi("erase", f"public.traveller:{number}", "--related", *REASON)
        assert number not in logged("traveller", "journey")
    assert "of ann" not in logged("journey")


def test_related_rows_whose_keys_are_to_be_hashed_have_to_be_deleted_first(
    drain: Drain, bemi: Bemi, settings: Any
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    execute(
        "CREATE TABLE ticket (number varchar(20) PRIMARY KEY, remark text, "
        "category bigint REFERENCES shop_category ON DELETE CASCADE)"
    )
    try:
        tracking.sync()
        books = Category.objects.create(name="Books")
        execute("INSERT INTO ticket VALUES ('0147114711', 'note of ann', %s)", [books.pk])
        drain()
        with pytest.raises(CommandError, match="a row of public.ticket is still there"):
            bemi("erase", f"shop.Category:{books.pk}", "--related", *REASON)
        execute("DELETE FROM ticket")
        # No row has a key of an earlier type.
        execute("ALTER TABLE ticket ALTER number TYPE uuid USING number::uuid")
        drain()
        bemi("erase", f"shop.Category:{books.pk}", "--related", *REASON)
        assert "0147114711" not in logged("ticket") and "of ann" not in logged("ticket")
        assert Change.objects.filter(table="shop_category", primary_key=str(books.pk)).count() == 2
    finally:
        execute("DROP TABLE ticket")


@pytest.fixture
def citext(drain: Drain) -> Iterator[None]:
    with extensions("citext"):
        yield


def test_rows_refer_by_other_columns_than_the_key_and_in_other_spellings(
    citext: None, drain: Drain, bemi: Bemi, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    # A server may be built without ICU; char(n) is compared without spaces by all of them.
    has_icu = execute("SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')") == [(True,)]
    kind, spelled = ("text COLLATE any_case", "aNN") if has_icu else ("text", "Ann")
    if has_icu:
        execute(
            "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    execute(
        f"CREATE TABLE guest (id int PRIMARY KEY, nick {kind} UNIQUE, code char(5) UNIQUE, a int, b text, "
        "mail citext UNIQUE, UNIQUE (a, b));"
        "CREATE TABLE box (mail citext PRIMARY KEY, remark text);"
        f"CREATE TABLE stay (id int PRIMARY KEY, nick {kind} REFERENCES guest (nick) ON DELETE CASCADE, "
        "code char(8) REFERENCES guest (code) ON DELETE CASCADE, a int, b text, remark text, "
        "mail citext REFERENCES guest (mail) ON DELETE CASCADE, "
        "FOREIGN KEY (a, b) REFERENCES guest (a, b) ON DELETE CASCADE)"
    )
    try:
        tracking.sync()
        execute(
            "INSERT INTO guest VALUES (1, 'Ann', 'an', 7, 'x', 'ann@x'), (2, 'Bob', 'bo', 7, 'y', 'bob@x')"
        )
        execute("INSERT INTO stay (id, nick, remark) VALUES (1, %s, 'first of ann')", [spelled])
        execute("INSERT INTO stay (id, nick, remark) VALUES (2, 'Bob', 'first of bob')")
        execute(
            "INSERT INTO stay (id, code, a, b, remark) VALUES (3, 'an', NULL, NULL, 'second of ann'), "
            "(4, 'bo', NULL, NULL, 'second of bob'), (5, NULL, 7, 'x', 'third of ann'), "
            "(6, NULL, 7, 'y', 'third of bob'), (7, NULL, 7, NULL, 'of nobody')"
        )
        execute(
            "INSERT INTO stay (id, mail, remark) "
            "VALUES (8, 'ANN@x', 'fourth of ann'), (9, 'BOB@x', 'fourth of bob')"
        )
        drain()
        bemi("subject", "guest:1", "--export", str(tmp_path / "ann.json"))
        disclosed = (tmp_path / "ann.json").read_text()
        bemi("erase", "guest:1", "--related", *REASON)
        left = logged("stay")
        for number in ("first", "second", "third", "fourth"):
            assert f"{number} of ann" in disclosed and f"{number} of ann" not in left
            assert f"{number} of bob" not in disclosed and f"{number} of bob" in left
        assert "of nobody" not in disclosed and "of nobody" in left
        execute("INSERT INTO box VALUES ('Ann@Example.org', 'of ann')")
        execute("DELETE FROM box WHERE mail = 'ann@example.org'")
        drain()
        # What says that it was disclosed, and that in another spelling, hides none of it.
        emit("viewed", (Place(connection.settings_dict["NAME"], "public", "box"), "ANN@example.org"))
        for name in ("box", "again"):
            place = tmp_path / f"{name}.json"
            bemi("subject", "box:ANN@example.org", "--export", str(place))
            assert "of ann" in place.read_text()
            assert drain()[-1].primary_key == "Ann@Example.org"
        # Events keep no spelling of an erased key.
        bemi("erase", "box:ann@example.ORG", *REASON)
        assert "of ann" not in logged("box") and "xample" not in logged("box")
    finally:
        execute("DROP TABLE stay, guest, box")
        execute("DROP COLLATION IF EXISTS any_case")


def test_events_alone_do_not_tell_that_rows_have_no_key(bemi: Bemi, drain: Drain) -> None:
    place = Place(connection.settings_dict["NAME"], "public", "keyless")
    listed = {"event": "listed", "schema": "public", "table": "keyless", "key": None}
    execute("SELECT pg_logical_emit_message(true, '_bemi_event', %s)", [json.dumps(listed)])
    drain()
    with pytest.raises(CommandError, match="nothing to erase"):
        bemi("erase", "keyless:7000007", *REASON)
    emit("viewed", (place, "7000007"), details={"who": "of ann"})
    execute("CREATE TABLE keyless (id int, remark text)")
    try:
        tracking.sync()
        execute("INSERT INTO keyless VALUES (7000007, 'of ann')")
        drain()
        # Otherwise the event would be erased, and the row would not.
        with pytest.raises(CommandError, match="no primary key, so the log does not tell which changes"):
            bemi("erase", "keyless:7000007", *REASON)
    finally:
        execute("DROP TABLE keyless")


def test_a_row_is_followed_from_partition_to_partition(
    drain: Drain, bemi: Bemi, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    execute(
        "CREATE TABLE person (mail text, region text, remark text, PRIMARY KEY (mail, region)) "
        "PARTITION BY LIST (region); CREATE TABLE person_eu PARTITION OF person FOR VALUES IN ('eu'); "
        "CREATE TABLE person_us PARTITION OF person FOR VALUES IN ('us');"
        "CREATE TABLE trip (id int PRIMARY KEY, mail text, region text, remark text, "
        "FOREIGN KEY (mail, region) REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE)"
    )
    try:
        tracking.sync()
        rows = "('ann@example.org', 'eu', 'of ann'), ('bob@example.org', 'eu', 'of bob')"
        execute(f"INSERT INTO person VALUES {rows}")  # noqa: S608 - values of our own
        execute("INSERT INTO trip SELECT row_number() OVER (), * FROM person")
        execute("UPDATE person SET mail = mail || '.uk', region = 'us'")
        execute("UPDATE person SET region = 'eu' WHERE remark = 'of ann'")
        # Of another person, who was at the other place of Ann's then.
        execute("UPDATE person SET mail = 'bob', region = 'eu', remark = 'of cleo' WHERE remark = 'of bob'")
        execute("DELETE FROM person")
        drain()
        key = json.dumps(["ann@example.org.uk", "eu"])
        bemi("subject", f"person:{key}", "--export", str(tmp_path / "ann.json"))
        assert (tmp_path / "ann.json").read_text().count('"CREATE"') == 4
        bemi("erase", f"person:{key}", "--related", *REASON)
        left = logged("person", "trip")
        assert "of ann" not in left and "ann@example.org" not in left.replace("ann@example.org.uk", "")
        assert "of bob" in left and "of cleo" in left and "bob@example.org" in left
    finally:
        execute("DROP TABLE trip, person")
