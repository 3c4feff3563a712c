"""``bemi verify`` compares encrypted values, as far as their keys are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from bemi_django import conf
from bemi_django.encryption import known_keys
from bemi_django.ingest.config import Divided
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from bemi_django.schema import sql
from bemi_django.verification import suspects
from bemi_django.verification.verify import Options, verify
from bemi_django.wire.division import Division, Share
from tests.integration.encryption.conftest import REASON, bemi
from tests.shop.models import Category, Product, Review
from tests.support import roles
from tests.support.pipeline import Pipeline, worker_config
from tests.support.project_database import execute

_PUT_KEY = """
INSERT INTO _bemi.subject_keys SELECT (jsonb_populate_record(NULL::_bemi.subject_keys, %s::jsonb)).*
"""
#: What a source lacks to have a log with keys.
_OF_KEYS = ("histories_v1", "changes_v1", "subject_keys_v1")


def verified(pipeline: Pipeline, table: str = "auth_user", **changes: Any) -> str:
    pipeline.stop()
    masks = configured_masks()
    pipeline.config = pipeline.config._replace(masking=masks)
    config = worker_config(pipeline.slot, role=roles.OWNER)._replace(masking=masks, **changes)
    with pipeline.worker():
        (result,) = verify(config, Options(only=(f"public.{table}",)))
    return str(result).partition(": ")[2]


def different(*rows: str) -> str:
    """Return what is said of rows, in the order of their keys as texts."""
    return f"{len(rows)} different ({', '.join(sorted(rows))})"


@contextmanager
def unseen(table: str) -> Iterator[None]:
    """Leave what the block changes in a table out of the log."""
    execute(f"ALTER PUBLICATION bemi DROP TABLE {table}")
    yield
    execute(f"ALTER PUBLICATION bemi ADD TABLE {table}")


@pytest.fixture
def users(pipeline: Pipeline) -> list[User]:
    names = ("ann", "bob", "cleo")
    made = [User.objects.create(username=name, email=f"{name}@example.org") for name in names]
    pipeline.advance()
    return made


def test_encrypted_values_are_compared(pipeline: Pipeline, users: list[User]) -> None:
    ann, bob, cleo = (user.pk for user in users)
    assert verified(pipeline) == "3 rows, as in the log"
    with unseen("auth_user"):
        User.objects.filter(pk=ann).update(email="other@example.org")
        User.objects.filter(pk=cleo).update(email="", first_name="Cleo")
    assert verified(pipeline) == f"3 rows, {different(f'{ann}: email', f'{cleo}: email, first_name')}"


def test_a_text_that_was_moved_or_altered_is_a_difference(pipeline: Pipeline, users: list[User]) -> None:
    ann, bob, cleo = (user.pk for user in users)
    set_value = "UPDATE changes SET after = after || jsonb_build_object('email', {}) WHERE primary_key = '{}'"
    execute(set_value.format("after -> 'first_name'", ann))
    execute(set_value.format("left(after ->> 'email', -4) || 'AAA='", bob))
    execute(set_value.format("NULL::text", cleo))
    assert verified(pipeline) == f"3 rows, {different(*(f'{key}: email' for key in (ann, bob, cleo)))}"


def test_values_whose_key_was_deleted_are_said_and_are_no_failure(
    pipeline: Pipeline, users: list[User]
) -> None:
    ann, bob, _ = (user.pk for user in users)
    bemi("erase", f"auth.User:{ann}", "--only-keys", *REASON)
    assert verified(pipeline) == "3 rows, 1 with values whose key was deleted, as in the log"
    # What is not encrypted in the row, and the rows of others, are compared.
    with unseen("auth_user"):
        User.objects.filter(pk=ann).update(last_name="Miller")
        User.objects.filter(pk=bob).update(email="")
    found = different(f"{ann}: last_name", f"{bob}: email")
    assert verified(pipeline) == f"3 rows, 1 with values whose key was deleted, {found}"


def test_without_the_key_of_the_project_it_is_said(
    pipeline: Pipeline, users: list[User], settings: Any
) -> None:
    settings.BEMI_ENCRYPTION_KEY = "another key of the tests"
    assert verified(pipeline) == "3 rows, 3 with encrypted values that no key decrypts, as in the log"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_keys_of_another_destination_are_those_of_the_first(pipeline: Pipeline, users: list[User]) -> None:
    others = {"other": lambda: conf.connection_parameters("other")}
    divided = Divided("default", Division("other", (Share("default"),)), others)
    with connection.cursor() as log, connections["other"].cursor() as first:
        first.execute(sql.up(*_OF_KEYS))
        try:
            log.execute("DELETE FROM _bemi.subject_keys k RETURNING to_jsonb(k)::text")
            for row in log.fetchall():
                first.execute(_PUT_KEY, row)
            assert verified(pipeline, divided=divided) == "3 rows, as in the log"
            with unseen("auth_user"):
                User.objects.filter(username="ann").update(email="other@example.org")
            assert verified(pipeline, divided=divided) == f"3 rows, {different(f'{users[0].pk}: email')}"
        finally:
            first.execute(sql.down(*_OF_KEYS))


def test_a_row_of_which_the_last_key_is_gone_is_missed_if_the_log_has_lost_it(
    pipeline: Pipeline, users: list[User]
) -> None:
    ann = users[0].pk
    bemi("erase", f"auth.User:{ann}", "--only-keys", *REASON)
    pipeline.stop()
    # It is logged with a new key now, which says nothing of the texts of the old one.
    User.objects.filter(pk=ann).delete()
    pipeline.advance()
    assert verified(pipeline) == "2 rows, as in the log"
    with unseen("auth_user"):
        User.objects.create(pk=ann, username="ann")
    assert verified(pipeline) == f"3 rows, 1 not in the log ({ann})"


def test_values_of_another_row_are_compared_by_its_key(pipeline: Pipeline) -> None:
    category = Category.objects.create(name="Books")
    one, other = (Product.objects.create(sku=sku, category=category) for sku in ("a", "b"))
    first, second = (Review.objects.create(product=product, text="fine") for product in (one, other))
    pipeline.advance()
    assert verified(pipeline, "shop_review") == "2 rows, as in the log"
    with unseen("shop_review"):
        Review.objects.filter(pk=second.pk).update(text="bad")
    bemi("erase", f"shop.Product:{one.pk}", "--only-keys", *REASON)
    assert verified(pipeline, "shop_review") == (
        f"2 rows, 1 with values whose key was deleted, 1 different ({second.pk}: text)"
    )


def test_values_are_compared_as_the_type_of_the_column_has_them(pipeline: Pipeline, settings: Any) -> None:
    settings.BEMI_MASK = {f"vault.{name}": "encrypt" for name in ("price", "doc", "at", "words")}
    execute("CREATE TABLE vault (id int PRIMARY KEY, price numeric, doc json, at timestamptz, words text[])")
    try:
        bemi("sync")
        pipeline.stop()
        pipeline.config = pipeline.config._replace(masking=configured_masks())
        execute(
            'INSERT INTO vault VALUES (1, 1.50, \'{"b": 1, "a": [true, 12345678901234567890.10]}\', '
            "now(), '{x,NULL}'), (2, NULL, NULL, NULL, NULL)"
        )
        pipeline.advance()
        assert Change.objects.filter(table="vault").count() == 2
        assert verified(pipeline, "vault") == "2 rows, as in the log"
        with unseen("vault"):
            execute(
                'UPDATE vault SET doc = \'{"b": true, "a": [true, 12345678901234567890.10]}\' WHERE id = 1'
            )
            execute("UPDATE vault SET price = 0 WHERE id = 2")
        assert verified(pipeline, "vault") == "2 rows, 2 different (1: doc, 2: price)"
    finally:
        execute("DROP TABLE vault")


def test_keys_are_asked_for_again_after_too_many_were_remembered(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_keys, "_REMEMBERED", 2)
    monkeypatch.setattr(suspects, "BATCH", 3)
    category = Category.objects.create(name="Books")
    products = [Product.objects.create(sku=f"p{number}", category=category) for number in range(6)]
    # Those of a batch that come back are among keys that are new.
    for number in (0, 1, 2, 2, 3, 4, 0, 4, 5):
        Review.objects.create(product=products[number], text="fine")
    pipeline.advance()
    with unseen("shop_review"):
        Review.objects.update(text="bad")
    assert verified(pipeline, "shop_review").startswith("9 rows, 9 different")


def test_it_is_said_which_columns_of_a_table_without_a_key_are_not_compared(
    pipeline: Pipeline, settings: Any
) -> None:
    settings.BEMI_MASK = {
        "loose.mail": {"encrypt": "auth_user", "by": "owner"},
        "loose.phone": "partial",
    }
    execute("CREATE TABLE loose (owner int, mail text, phone text, size int)")
    try:
        bemi("sync")
        pipeline.stop()
        pipeline.config = pipeline.config._replace(masking=configured_masks())
        execute("INSERT INTO loose VALUES (7, 'ann@example.org', '0123456789', 1)")
        pipeline.advance()
        left_out = (
            "without comparing columns that are masked, which takes a primary key (phone), "
            "without comparing columns that are encrypted, which takes a primary key (mail)"
        )
        assert verified(pipeline, "loose") == f"1 rows, {left_out}, as in the log"
        with unseen("loose"):
            execute("UPDATE loose SET mail = 'other'")
        assert verified(pipeline, "loose") == f"1 rows, {left_out}, as in the log"
        with unseen("loose"):
            execute("UPDATE loose SET size = 2")
        assert verified(pipeline, "loose") == f"1 rows, {left_out}, 1 not in the log, 1 only in the log"
    finally:
        execute("DROP TABLE loose")
