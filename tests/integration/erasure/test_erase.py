"""``bemi erase``: the values of somebody go, and what happened, when, and who did it stays."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import connection, transaction

from bemi_django import bound_context
from bemi_django.erasure import records, rewriting
from bemi_django.erasure.objects import target_of_key
from bemi_django.erasure.plan import plan_erasure
from bemi_django.erasure.targets.target import Target
from bemi_django.exceptions import BemiError, RevertConflict
from bemi_django.handlers.log_history import SourceLog
from bemi_django.log.blame import blame
from bemi_django.management.erasure import erase_command
from bemi_django.models import Change, DeadLetter, Undelivered
from bemi_django.schema import installed, tracking
from bemi_django.status.worker_status import RUNNING, WorkerStatus
from bemi_django.time_travel import as_of, erased_rows
from bemi_django.verification.records.result import Differences, Verified
from bemi_django.verification.verify import Options, verify
from bemi_django.wire.ids import sequence_in, source_in
from bemi_django.wire.sequence import lsn_of
from tests.integration.erasure.conftest import Bemi, url_of_database
from tests.shop.models import Category, Note, Order, Product, Review
from tests.support import roles
from tests.support.activity import counted, to_count
from tests.support.exchanged_names import forget_names
from tests.support.paths import ROOT
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.project_database import execute
from tests.support.travel import settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


REASON = ("--reason", "request 7", "--noinput")


def everything() -> str:
    """All that the log and what belongs to it have, as text."""
    kept = ("dead_letters", "undelivered", "erasures", "erased", "activity", "verified")
    tables = ("changes", *(f"_bemi.{name}" for name in kept))
    return "\n".join(
        text
        for table in tables
        for (text,) in execute(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608 - names of our own
    )


@pytest.fixture
def ann(drain: Drain) -> User:
    """A user whose address has changed, and who is deleted."""
    context = {"user_id": 1, "request_id": "r1", "path": "/users/ann@example.org/"}
    with bound_context(**context, endpoint="/users/ann@example.org/"):
        ann = User.objects.create(username="ann-miller", email="ann@example.org", first_name="Ann")
        User.objects.create(username="bob-miller", email="bob@example.org")
        User.objects.filter(pk=ann.pk).update(email="ann@example.net")
        execute(f"UPDATE auth_user SET last_name = 'O''Hara' WHERE id = {ann.pk}")  # noqa: S608
    pk = ann.pk
    ann.delete()
    ann.pk = pk
    drain()
    return ann


def test_rows_that_referred_by_a_column_of_another_name_are_erased(drain: Drain, bemi: Bemi) -> None:
    execute("ALTER TABLE shop_product RENAME category_id TO shelf_id")
    execute("ALTER TABLE shop_category RENAME id TO number")
    books = execute("INSERT INTO shop_category (name) VALUES ('Books') RETURNING number")[0][0]
    other = execute("INSERT INTO shop_category (name) VALUES ('Games') RETURNING number")[0][0]
    for shelf in (books, other):
        execute(
            "INSERT INTO shop_product (sku, shelf_id, price, stock) VALUES ('novel of ' || %s, %s, 1, 1)",
            [shelf, shelf],
        )
    execute("DELETE FROM shop_product")
    execute("ALTER TABLE shop_product RENAME shelf_id TO category_id")
    execute("ALTER TABLE shop_category RENAME number TO id")
    try:
        drain()
        bemi("erase", f"shop.Category:{books}", "--related", *REASON)
        assert f"novel of {books}" not in everything() and f"novel of {other}" in everything()
        erased = Change.objects.filter(table="shop_category", primary_key=str(books)).asc()[:1].get()
        assert erased.after == {"number": books, "name": None}
    finally:
        for table in ("shop_product", "shop_category"):
            forget_names(table)


def test_the_values_of_an_object_are_erased(ann: User, bemi: Bemi) -> None:
    before = {change.pk: change for change in Change.objects.all()}
    plan = bemi("erase", f"auth.User:{ann.pk}", "--dry-run")
    assert plan.startswith("public.auth_user: 4 changes of 1 rows: date_joined, email, first_name,")
    assert {change.pk: change.before for change in Change.objects.all()} == {
        pk: change.before for pk, change in before.items()
    }
    assert "4 changes of 1 rows erased\n" in bemi("erase", f"auth.User:{ann.pk}", *REASON)
    for value in ("ann@", "ann-miller", "O'Hara", "O''Hara", '"Ann"'):
        assert value not in everything()
    assert "bob-miller" in everything() and "bob@example.org" in everything()
    after = {change.pk: change for change in Change.objects.exclude(operation="ERASED")}
    same = ("operation", "committed_at", "position", "transaction_id", "primary_key", "created_at", "table")
    for pk, change in after.items():
        assert [getattr(change, name) for name in same] == [getattr(before[pk], name) for name in same]
        assert change.before.keys() == before[pk].before.keys()
        assert change.context.get("user_id") == before[pk].context.get("user_id")
    erased = [change for change in after.values() if change.primary_key == str(ann.pk)]
    assert {change.after.get("id", ann.pk) for change in erased} == {ann.pk}
    assert erased[0].after["email"] is None and erased[0].context["path"] == "/users/***/"
    # The counts have neither the values nor other numbers.
    assert counted() == to_count()
    assert ("endpoint", "/users/***/") in {(kind, name) for kind, _, _, _, name, _ in counted()}
    # What a statement changed is still known.
    assert erased[1].unavailable and erased[1].unavailable["changed"] == ["email"]


def test_a_record_says_what_was_erased_and_who_did_it_in_a_shell(ann: User, bemi: Bemi, drain: Drain) -> None:
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    record = Change.objects.get(operation="ERASED")
    assert (record.schema, record.table, record.primary_key) == ("public", "auth_user", str(ann.pk))
    assert (record.before, record.after, record.transaction_id) == ({}, {}, 0)
    assert record.context["reason"] == "request 7" and record.context["changes"] == 4
    assert record.context["command"] == "bemi erase" and record.context["os_user"]
    assert record.context["database_role"]
    assert "email" in record.context["columns"] and "id" not in record.context["columns"]
    assert list(Change.objects.for_object(ann))[-1] == record
    assert execute("SELECT asked, plan, ended_at IS NULL FROM _bemi.erasures") == [(None, None, False)]
    # The worker goes on after it.
    Category.objects.create(name="Books")
    assert drain()[-1].pk > record.pk
    with pytest.raises(CommandError, match="nothing to erase"):
        bemi("erase", f"auth.User:{ann.pk}", *REASON)


def unknown(instance: Any) -> set[str]:
    return set(instance.unknown_fields)


@settled
@pytest.mark.parametrize("most", [0, 1, 10_000], ids=["too many", "enough", "default"])
def test_the_past_names_what_was_erased(
    ann: User, bemi: Bemi, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(erased_rows, "MOST", most)
    created, updated = Change.objects.for_object(ann).asc()[:2]
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    with as_of(created):
        assert unknown(User.objects.get()) >= {"email", "username"}
    for moment in (updated, updated.committed_at):
        with as_of(moment):
            users = {user.pk: user for user in User.objects.all()}
            assert len(users) == 2 and User.objects.filter(pk=ann.pk).exists()
        assert users[ann.pk].email is None
        assert {"email", "username", "first_name"} <= unknown(users[ann.pk])
        del users[ann.pk]
        (bob,) = users.values()
        assert bob.email == "bob@example.org" and unknown(bob) == {"password"}
    with as_of(Change.objects.get(operation="ERASED")):
        assert [user.username for user in User.objects.all()] == ["bob-miller"]
    instance = Change.objects.get(pk=created.pk).as_instance()
    assert instance.pk == ann.pk and "email" in unknown(instance)


@settled
def test_the_past_shows_rows_that_are_still_there(bemi: Bemi, drain: Drain) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    carl = User.objects.create(username="carl", email="carl@example.org")
    drain()
    moment = Change.objects.latest("id")
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    drain()
    for user in (ann, carl):
        bemi("erase", f"auth.User:{user.pk}", *REASON)
    with as_of(moment):
        users: dict[int, Any] = {user.pk: user for user in User.objects.all()}
    # The row of one is the present one, and that of the other is what the log has left of it.
    assert users[carl.pk].email == "carl@example.org" and "email" not in unknown(users[carl.pk])
    assert users[ann.pk].email is None and "email" in unknown(users[ann.pk])


@settled
def test_a_moment_after_an_erasure_is_the_one_that_it_was(ann: User, bemi: Bemi, drain: Drain) -> None:
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    last = Change.objects.exclude(operation="ERASED").latest("id")
    with as_of(last.committed_at):
        assert not User.objects.filter(pk=ann.pk).exists()


def test_a_revert_asks_for_what_was_erased(ann: User, bemi: Bemi) -> None:
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    deletion = Change.objects.for_object(ann).deleted().get()
    with pytest.raises(RevertConflict, match="username.* must have a value, but is erased in the log"):
        deletion.revert()
    given = {
        "last_login": None, "username": "somebody", "password": "!", "email": "", "first_name": "",
        "last_name": "", "is_staff": False, "is_active": True, "is_superuser": False,
        "date_joined": "2020-01-01T00:00:00Z",
    }  # fmt: skip
    deletion.revert(values=given)
    assert User.objects.get(pk=ann.pk).username == "somebody"
    with pytest.raises(RevertConflict, match="values were erased here"):
        Change.objects.get(operation="ERASED").revert()


def test_an_update_of_an_erased_value_is_a_conflict(bemi: Bemi, drain: Drain) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    User.objects.update(email="ann@example.net")
    drain()
    change = Change.objects.updated().get(table="auth_user")
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    change.refresh_from_db()
    with pytest.raises(RevertConflict, match="email cannot be put back, because it is erased in the log"):
        change.revert()
    assert User.objects.get().email == "ann@example.net"


def test_blame_knows_who_set_an_erased_value(bemi: Bemi, drain: Drain) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    with bound_context(user_id=9):
        User.objects.update(email="ann@example.net")
    drain()
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    found = blame(ann)
    assert found["email"].user_id == 9 and found["email"].is_erased
    assert found["email"].value == "ann@example.net"
    assert found["username"].change is not None and found["username"].change.operation == "CREATE"
    assert "erased" in bemi("blame", f"auth.User:{ann.pk}")


def test_verify_takes_erased_values_for_no_differences(ann: User, bemi: Bemi, drain: Drain) -> None:
    carl = User.objects.create(username="carl", email="carl@example.org")
    drain()
    for user in (ann, carl):
        bemi("erase", f"auth.User:{user.pk}", *REASON)
    with Pipeline.of_project("bemi_test").worker():
        config = worker_config("bemi_test", role=roles.OWNER)
        (result,) = verify(config, Options(only=("public.auth_user",)))
    assert (result.rows, result.differences) == (2, 0), str(result)
    # What else is different is still found.
    execute("ALTER TABLE auth_user DISABLE TRIGGER USER")
    Change.objects.created().filter(primary_key=str(carl.pk)).update(primary_key="0")
    with Pipeline.of_project("bemi_test").worker():
        (result,) = verify(config, Options(only=("public.auth_user",)))
    execute("ALTER TABLE auth_user ENABLE TRIGGER USER")
    assert result.differences


@pytest.fixture
def letters(drain: Drain) -> Iterator[None]:
    """A table whose rows refer to categories and are not deleted with them."""
    execute(
        "CREATE TABLE letter (id int PRIMARY KEY, category_id bigint REFERENCES shop_category, text text, "
        "answers int REFERENCES letter ON DELETE CASCADE)"
    )
    tracking.sync()
    yield
    execute("DROP TABLE letter")


def test_rows_that_belong_to_the_object_are_erased_with_it(bemi: Bemi, drain: Drain, letters: None) -> None:
    books, games = (Category.objects.create(name=f"{name} of Ann") for name in ("Books", "Games"))
    product = Product.objects.create(sku="novel-of-ann", category=books, stock=4711)
    other = Product.objects.create(sku="chess-of-bob", category=games)
    Review.objects.create(product=product, text="Ann says it is good")
    order = Order.objects.create(number="order-of-carl")
    order.products.add(product, other)
    Note.objects.create(about=order, text="note-of-carl")
    execute("INSERT INTO letter VALUES (1, %s, 'Dear Ann')", [books.pk])
    drain()
    name = f"shop.Category:{books.pk}"
    plan = bemi("erase", name, "--related", "--dry-run")
    assert "public.shop_category: 1 changes of 1 rows: name" in plan
    assert "public.shop_product (refers by category_id): 1 changes of 1 rows: price, sku, stock" in plan
    assert "public.shop_order_products (refers by product_id): 1 changes of 1 rows: order_id" in plan
    # Deleted by the database, which the model does not say.
    assert "public.shop_review (refers by product_id): 1 changes of 1 rows: text" in plan
    assert "public.letter refers to it by category_id and stays" in plan
    assert "4 changes of 4 rows erased" in bemi("erase", name, "--related", *REASON)
    left = everything()
    for value in ("Books of Ann", "novel-of-ann", "4711", "Ann says"):
        assert value not in left
    for value in ("Games of Ann", "chess-of-bob", "order-of-carl", "note-of-carl", "Dear Ann"):
        assert value in left
    found = Change.objects.get(table="shop_product", primary_key=str(product.pk), operation="CREATE")
    assert found.after == {
        "id": product.pk, "category_id": books.pk, "sku": None, "price": None, "stock": None,
    }  # fmt: skip
    assert Change.objects.filter(operation="ERASED").count() == 4
    assert "1 changes of 1 rows erased" in bemi("erase", name, "--related", "letter", *REASON)
    assert "Dear Ann" not in everything()
    with pytest.raises(BemiError, match="no rows of nonsense refer to it"):
        plan_erasure(games, "default", related=["nonsense"])


def write_letter(number: int, category: Category | None, text: str) -> None:
    execute("INSERT INTO letter VALUES (%s, %s, %s)", [number, category and category.pk, text])


def pass_letter(number: int, category: Category | None, text: str) -> None:
    execute(
        "UPDATE letter SET category_id = %s, text = %s WHERE id = %s",
        [category and category.pk, text, number],
    )


def test_rows_are_followed_while_they_referred_to_nobody(
    bemi: Bemi, drain: Drain, letters: None, tmp_path: Path
) -> None:
    ann, bob = (Category.objects.create(name=name) for name in ("Ann", "Bob"))
    write_letter(1, None, "draft of ann")
    pass_letter(1, None, "second draft of ann")
    pass_letter(1, ann, "sent by ann")
    pass_letter(1, None, "lost by ann")
    pass_letter(1, None, "found by ann")
    pass_letter(1, None, "left behind")
    pass_letter(1, bob, "now of bob")
    pass_letter(1, bob, "later of bob")
    # What it had before it came to nobody is that of another one.
    write_letter(2, bob, "written by bob")
    pass_letter(2, None, "lost by bob")
    pass_letter(2, None, "found by bob")
    pass_letter(2, ann, "given to ann")
    # The next row with the key is another one.
    write_letter(3, ann, "third of ann")
    pass_letter(3, None, "third lost by ann")
    execute("UPDATE letter SET id = 30, text = 'third moved by ann' WHERE id = 3")
    execute("DELETE FROM letter WHERE id = 30")
    write_letter(30, None, "of carl")
    pass_letter(30, None, "later of carl")
    # It is put back as it was.
    write_letter(4, ann, "fourth of ann")
    pass_letter(4, None, "fourth lost by ann")
    execute("DELETE FROM letter WHERE id = 4")
    write_letter(4, None, "fourth lost by ann")
    pass_letter(4, ann, "fourth of ann again")
    drain()
    asked = f"shop.Category:{ann.pk}", "--related", "letter"
    bemi("subject", *asked, "--export", str(tmp_path / "ann.json"))
    disclosed = (tmp_path / "ann.json").read_text()
    assert disclosed.count("draft of ann") == 4 and "found by ann" in disclosed
    assert not any(text in disclosed for text in ("now of bob", "later of bob", "written by bob", "carl"))
    plan = bemi("erase", *asked, "--dry-run")
    assert "public.letter (refers by category_id, refers by answers): 17 changes of 5 rows: text" in plan
    others = "public.letter: 2 of these rows referred to something else, too, or may have"
    assert f"{others}; what they had then stays" in plan
    bemi("erase", *asked, *REASON)
    left = "\n".join(
        text for (text,) in execute("SELECT to_jsonb(c)::text FROM changes c WHERE \"table\" = 'letter'")
    )
    assert "ann" not in left and "left behind" not in left
    for text in ("now of bob", "later of bob", "written by bob", "lost by bob", "later of carl"):
        assert text in left
    with pytest.raises(CommandError, match="nothing to erase"):
        bemi("erase", *asked, *REASON)


def test_what_refers_to_a_row_belongs_to_whom_that_belonged_to(
    bemi: Bemi, drain: Drain, tmp_path: Path
) -> None:
    ann, bob = (Category.objects.create(name=name) for name in ("Ann", "Bob"))
    product = Product.objects.create(sku="novel", category=bob)
    for number, (owner, name) in enumerate([(bob, "bob"), (ann, "ann"), (bob, "bob"), (ann, "ann")]):
        product.category = owner
        product.save()
        review = Review.objects.create(product=product, text=f"review {number} of {name}")
        review.text = f"better review {number} of {name}"
        review.save()
    # What refers to a row may come before it, where that is checked at the end of a transaction.
    constraint = "ALTER TABLE shop_review ALTER CONSTRAINT shop_review_product {}"
    execute(constraint.format("DEFERRABLE INITIALLY DEFERRED"))
    with transaction.atomic():
        Review.objects.create(product_id=product.pk + 1, text="early review of ann")
        early = Product.objects.create(pk=product.pk + 1, sku="early", category=ann)
    early.category = bob
    early.save()
    early.delete()
    # Another row may get its key.
    with transaction.atomic():
        Review.objects.create(product_id=product.pk + 1, text="early review of ann")
        early = Product.objects.create(pk=product.pk + 1, sku="early", category=ann)
    early.delete()
    with transaction.atomic():
        Review.objects.create(product_id=product.pk + 1, text="early review of bob")
        Product.objects.create(pk=product.pk + 1, sku="early", category=bob)
    execute(constraint.format("NOT DEFERRABLE"))
    product.category = bob
    product.save()
    product.delete()
    drain()
    asked = f"shop.Category:{ann.pk}", "--related"
    bemi("subject", *asked[:1], "--export", str(tmp_path / "ann.json"))
    disclosed = (tmp_path / "ann.json").read_text()
    assert disclosed.count("of ann") == 9 and "of bob" not in disclosed
    plan = bemi("erase", *asked, "--dry-run")
    assert "public.shop_review (refers by product_id): 7 changes of 4 rows: text" in plan
    before = everything()
    bemi("erase", *asked, *REASON)
    left = everything()
    # They were deleted when they belonged to the other one.
    assert left.count("of ann") == 3 and left.count("of bob") == before.count("of bob") > 0


def test_what_belonged_to_somebody_is_told_apart_also_far_from_them(bemi: Bemi, drain: Drain) -> None:
    """The review between does not change when its product comes to somebody else."""
    ann, bob = (Category.objects.create(name=name) for name in ("Ann", "Bob"))
    product = Product.objects.create(sku="novel", category=bob)
    review = Review.objects.create(product=product, text="a review")
    execute(
        "CREATE TABLE remark (id int PRIMARY KEY, "
        "review_id bigint REFERENCES shop_review ON DELETE CASCADE ON UPDATE CASCADE, text text)"
    )
    try:
        tracking.sync()
        execute("INSERT INTO remark VALUES (1, %s, %s)", [review.pk, "remark of bob"])
        for owner, name in ((ann, "ann"), (bob, "bob"), (ann, "ann")):
            product.category = owner
            product.save()
            for text in (f"remark of {name}", f"better remark of {name}"):
                execute("UPDATE remark SET text = %s", [text])
            if owner is ann:
                execute("UPDATE shop_review SET id = id + 1000")
        drain()
        bemi("erase", f"shop.Category:{ann.pk}", "--related", *REASON)
    finally:
        execute("DROP TABLE remark")
    left = everything()
    # What the row was when it came to somebody is theirs.
    assert left.count("remark of bob") == 4 and left.count("remark of ann") == 1


def test_keys_that_mean_something_are_hashed(bemi: Bemi, drain: Drain, settings: Any) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    execute("CREATE TABLE person (mail text PRIMARY KEY, name text)")
    execute(
        "CREATE TABLE visit (id int PRIMARY KEY, mail text REFERENCES person ON DELETE CASCADE, place text)"
    )
    try:
        tracking.sync()
        execute("INSERT INTO person VALUES ('ann@example.org', 'Ann Miller'), ('bob@example.org', 'Bob')")
        execute("INSERT INTO visit VALUES (1, 'ann@example.org', 'Paris'), (2, 'bob@example.org', 'Rome')")
        execute("DELETE FROM visit WHERE id = 1")
        execute("UPDATE person SET mail = 'ann@example.net' WHERE mail = 'ann@example.org'")
        drain()
        asked = ("erase", "person:ann@example.net", "--related")
        result = Verified("public.person", different=Differences(1, ["ann@example.org (name)"]))
        execute(
            "WITH run AS (INSERT INTO _bemi.verifications (slot, asked, round) VALUES ('s', '{}', 0) "
            "RETURNING id) INSERT INTO _bemi.verified SELECT id, v.* FROM run, "
            "(VALUES ('public.person', %s::jsonb, NULL::jsonb), ('public.visit', '{}', %s)) v",
            [json.dumps(asdict(result)), json.dumps({"after": "ann@example.net"})],
        )
        with pytest.raises(CommandError, match="a row of public.person is still there, and its key has"):
            bemi(*asked, *REASON)
        execute("DELETE FROM person WHERE mail = 'ann@example.net'")
        drain()
        assert "5 changes of 3 rows erased" in bemi(*asked, *REASON)
        left = everything()
        assert "ann@example" not in left and "Ann Miller" not in left and "Paris" not in left
        assert "bob@example.org" in left and "Rome" in left
        created, moved, deleted = (
            Change.objects.filter(table="person")
            .exclude(operation="ERASED")
            .exclude(primary_key="bob@example.org")
        )
        assert (
            str(created.primary_key).startswith("hmac:") and created.primary_key == moved.previous_primary_key
        )
        assert moved.primary_key == deleted.primary_key == deleted.before["mail"]
        visit = Change.objects.created().get(table="visit", primary_key="1")
        assert visit.after == {"id": 1, "mail": created.primary_key, "place": None}
        assert '"examples": ["*** (name)"]' in left
        assert execute("SELECT name FROM _bemi.verified") == [("public.person",)]
        # The history of the row is still one.
        place = created.place
        target = target_of_key(place, str(deleted.primary_key), "default")
        assert Change.objects.filter(target.condition).count() == 3
    finally:
        execute("DROP TABLE visit, person; DELETE FROM _bemi.verifications")


def test_who_has_had_or_has_a_key_of_somebody_keeps_what_is_theirs(
    bemi: Bemi, drain: Drain, settings: Any, tmp_path: Path
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    execute("CREATE TABLE person (mail text PRIMARY KEY, code int UNIQUE, name text)")
    execute(
        "CREATE TABLE visit (id int PRIMARY KEY, code int REFERENCES person (code) ON DELETE CASCADE,"
        "mail text REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE, place text)"
    )
    try:
        tracking.sync()
        # Each of three has the same address and code, one after another; the last one still has them.
        for number, name in enumerate(("zoe", "ann", "bob")):
            # What refers to a row may come before it in its transaction.
            execute(
                "SET CONSTRAINTS ALL DEFERRED; INSERT INTO visit VALUES (%s, NULL, 'one@example.org', %s);"
                "INSERT INTO person VALUES ('one@example.org', 7, %s)",
                [number, f"by {name}", f"name of {name}"],
            )
            execute("INSERT INTO visit VALUES (%s, 7, NULL, %s)", [number + 10, f"by code {name}"])
            if name != "bob":
                execute("UPDATE person SET mail = %s WHERE code = 7", [f"{name}@example.net"])
                execute("DELETE FROM visit WHERE code = 7")
                execute("UPDATE person SET code = NULL WHERE code = 7")
        execute("UPDATE visit SET place = 'late by ann' WHERE id = 1")
        execute("DELETE FROM person WHERE mail = 'ann@example.net'")
        drain()
        bemi("subject", "public.person:ann@example.net", "--export", str(tmp_path / "ann.json"))
        disclosed = (tmp_path / "ann.json").read_text()
        before = everything()
        bemi("erase", "public.person:ann@example.net", "--related", *REASON)
        left = everything()
        for texts in ("name of {}", "by {}", "by code {}"):
            own = texts.format("ann")
            assert own in disclosed and own in before and own not in left
            for other in (texts.format("zoe"), texts.format("bob")):
                assert other not in disclosed and left.count(other) == before.count(other) > 0
        assert "late by ann" not in left and "ann@example.net" not in left
    finally:
        execute("DROP TABLE visit, person")


def test_copies_are_erased_as_well(ann: User, bemi: Bemi) -> None:
    own = Change.objects.for_object(ann).created().get()
    other = Change.objects.created().get(after__username="bob-miller")
    letters = {
        "own": DeadLetter(change_id=own.pk, position=own.position, message=b"x", origin={}),
        "with a value": DeadLetter(change_id=None, position=1, message=b"..ann-miller..", origin={}),
        "other": DeadLetter(
            change_id=other.pk, position=own.position, message=b"y", origin={"context": '{"a": "ann-miller"}'}
        ),
        "unrelated": DeadLetter(change_id=None, position=2, message=b"nothing", origin={}),
    }
    for name, letter in letters.items():
        letter.slot, letter.reason, letter.created_at = "bemi_test", name, own.created_at
        letter.save()
    for change in (own, other):
        Undelivered.objects.create(
            handler="h", change_id=change.pk, attempts=1, reason="ann?", created_at=own.created_at
        )
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    assert {letter.reason: letter.origin for letter in DeadLetter.objects.all()} == {
        "other": {"context": '{"a": "***"}'},
        "unrelated": {},
    }
    assert {one.change_id: one.reason for one in Undelivered.objects.all()} == {
        own.pk: "erased",
        other.pk: "ann?",
    }


def test_letters_of_rows_that_are_not_known_are_erased_as_well(ann: User, bemi: Bemi) -> None:
    own = Change.objects.for_object(ann).created().get()
    bob = Change.objects.created().get(after__username="bob-miller")
    outlines = {"table": "auth_user", "elsewhere": "shop_category", "value": "shop_category"}
    outlines |= {"known": "auth_user", "empty": "shop_category"}
    for number, (name, table) in enumerate(outlines.items()):
        is_near = name in ("table", "elsewhere", "known")
        change = Change.objects.get(pk=bob.pk)
        change.pk = UUID(int=bob.pk.int + ((number + 1) << 64))
        change.table, change.position = table, own.position if is_near else number
        change.primary_key = "-5" if name in ("known", "empty") else None
        if name != "known":
            change.before = change.after = {}
        change.save(force_insert=True)
        DeadLetter.objects.create(
            change_id=change.pk,
            position=change.position,
            message=b"other" if is_near else b"..ann-miller..",
            origin={},
            slot="bemi_test",
            reason=name,
            created_at=own.created_at,
        )
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    assert {letter.reason for letter in DeadLetter.objects.all()} == {"elsewhere", "known"}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_letters_that_may_be_of_held_tables_stay(ann: User, bemi: Bemi, settings: Any) -> None:
    settings.BEMI_LEGAL_HOLD = ["shop.Category"]
    own = Change.objects.for_object(ann).created().get()
    origins: dict[str, Any] = {
        name: {"relation": [1, "public", name, []]} for name in ("shop_category", "shop_product")
    }
    origins |= {"unknown": {}, "in the log": {}}
    for number, (name, origin) in enumerate(origins.items()):
        change = Change.objects.get(pk=own.pk)
        change.pk = UUID(int=own.pk.int + ((number + 1) << 64))
        change.table, change.primary_key, change.after = "shop_category", None, {}
        if name == "in the log":
            change.save(force_insert=True)
        for position, message in ((own.position, b"other"), (1, b"..ann-miller..")):
            DeadLetter.objects.create(
                change_id=None if name == "unknown" else change.pk,
                position=position,
                message=message,
                origin={**origin, "context": '{"path": "/ann-miller/"}'},
                slot="bemi_test",
                reason=name,
                created_at=own.created_at,
            )
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    left = [letter.reason for letter in DeadLetter.objects.order_by("id")]
    assert left == ["shop_category"] * 2 + ["unknown"] * 2 + ["in the log"] * 2
    assert {letter.origin["context"] for letter in DeadLetter.objects.all()} == {'{"path": "/ann-miller/"}'}


def test_what_a_user_did_stays_without_where_they_were(bemi: Bemi, drain: Drain) -> None:
    ann = User.objects.create(username="ann-miller")
    with bound_context(user_id=ann.pk, ip="192.0.2.7", note="by ann-miller", method="POST"):
        Category.objects.create(name="Books")
    drain()
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    change = Change.objects.get(table="shop_category")
    assert change.context | {"SQL": ""} == {
        "user_id": ann.pk, "ip": "***", "note": "by ***", "method": "POST", "SQL": "",
    }  # fmt: skip
    assert change.after["name"] == "Books"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("hold", [True, ["auth.User"], ["public.auth_user"]])
def test_a_legal_hold_stops_it(ann: User, bemi: Bemi, settings: Any, hold: Any) -> None:
    settings.BEMI_LEGAL_HOLD = hold
    with pytest.raises(CommandError, match=r"BEMI_LEGAL_HOLD holds public\.auth_user: nothing was erased"):
        bemi("erase", f"auth.User:{ann.pk}", *REASON)
    assert "ann@example.org" in everything()
    settings.BEMI_LEGAL_HOLD = ["shop.Category"]
    assert "contexts and dead letters of public.shop_category stay as they are" in bemi(
        "erase", f"auth.User:{ann.pk}", *REASON
    )


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_hold_that_the_owner_has_allowed_counts_also_without_the_setting(ann: User, bemi: Bemi) -> None:
    rule = [{"schema": None, "table": "auth_user", "period": None, "held": True}]
    execute("INSERT INTO _bemi.retention (rules) VALUES (%s)", [json.dumps(rule)])
    try:
        with pytest.raises(CommandError, match="BEMI_LEGAL_HOLD holds"):
            bemi("erase", f"auth.User:{ann.pk}", *REASON)
    finally:
        execute("DELETE FROM _bemi.retention")


def test_it_asks_for_a_reason_and_a_confirmation(
    ann: User, bemi: Bemi, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"auth.User:{ann.pk}"
    with pytest.raises(CommandError, match="say why, for the record"):
        bemi("erase", name)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="confirmation needs a terminal"):
        bemi("erase", name, "--reason", "x")
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    assert "nothing was erased\n" in bemi("erase", name, "--reason", "x")
    assert "ann@example.org" in everything()
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    assert "4 changes of 1 rows erased" in bemi("erase", name, "--reason", "x")


def test_it_says_what_is_still_in_a_queue(ann: User, bemi: Bemi, monkeypatch: pytest.MonkeyPatch) -> None:
    name, words = f"auth.User:{ann.pk}", "of WAL are in the queue and not in the log yet"
    assert words not in bemi("erase", name, "--dry-run")
    status = WorkerStatus("bemi_test", RUNNING, queued_bytes=5000)
    monkeypatch.setattr(erase_command, "read_worker", lambda alias: status)
    assert words in bemi("erase", name, "--dry-run")
    assert words in bemi("erase", name, *REASON)


def test_only_the_owner_of_the_log_may_erase(ann: User, bemi: Bemi) -> None:
    ((owner,),) = execute("SELECT quote_ident(current_user)")
    database = str(connection.settings_dict["NAME"])
    with roles.administrator(database) as cursor:
        cursor.execute("CREATE ROLE bemi_intern")
        cursor.execute("GRANT USAGE ON SCHEMA _bemi, public TO bemi_intern")
        cursor.execute("GRANT SELECT ON changes TO bemi_intern")
        cursor.execute(f"GRANT bemi_intern TO {owner}")
    try:
        execute("SET ROLE bemi_intern")
        with pytest.raises(CommandError, match="only the owner of the log may erase"):
            bemi("erase", f"auth.User:{ann.pk}", *REASON)
    finally:
        execute("RESET ROLE")
        with roles.administrator(database) as cursor:
            cursor.execute("DROP OWNED BY bemi_intern")
            cursor.execute("DROP ROLE bemi_intern")
    assert "ann@example.org" in everything()


def test_a_table_is_named_without_a_model(ann: User, bemi: Bemi) -> None:
    assert "4 changes of 1 rows erased" in bemi("erase", f"public.auth_user:{ann.pk}", *REASON)
    assert "ann@example.org" not in everything()


def test_a_row_is_followed_to_former_names_of_its_table(bemi: Bemi, drain: Drain, tmp_path: Path) -> None:
    target = tmp_path / "subject.json"
    execute(
        "CREATE TABLE occupant (id int PRIMARY KEY, word text); INSERT INTO occupant VALUES (1, 'former-ann')"
    )
    try:
        execute("ALTER TABLE occupant ADD age int; INSERT INTO occupant VALUES (2, 'former-bob')")
        execute("UPDATE occupant SET id = 3, word = 'ann' WHERE id = 1")
        execute("ALTER TABLE occupant RENAME TO boarder; UPDATE boarder SET age = 7 WHERE id = 3")
        execute(
            "CREATE TABLE occupant (id int PRIMARY KEY, word text); INSERT INTO occupant VALUES (3, 'carl')"
        )
        drain()
        # What has the name now could be meant.
        said = bemi("subject", "public.boarder:3", "--export", str(target))
        assert (
            "boarder, or a partition of it, had the name public.occupant, and" in said
            and "another table had it as well" in said
        )
        assert "former-ann" not in target.read_text()
        execute("DROP TABLE occupant")
        target.unlink()
        bemi("subject", "public.boarder:3", "--export", str(target))
        assert "former-ann" in target.read_text()
        assert "carl" not in target.read_text() and "former-bob" not in target.read_text()
        said = bemi("erase", "public.boarder:3", *REASON)
        assert "public.occupant (a former name of public.boarder): 2 changes of 2 rows: age, word" in said
        assert "former-ann" not in everything() and "'ann'" not in everything()
        assert "carl" in everything() and "former-bob" in everything()
    finally:
        execute("DROP TABLE IF EXISTS occupant, boarder")


def test_what_others_had_under_former_names_of_a_table_stays(bemi: Bemi, drain: Drain) -> None:
    try:
        execute("CREATE TABLE caller (id int PRIMARY KEY, word text)")
        execute("INSERT INTO caller VALUES (1, 'former-ann'), (3, 'carl'), (4, 'dan')")
        # Keys that her row, and another one, have later.
        execute("DELETE FROM caller WHERE id = 3; UPDATE caller SET id = 5 WHERE id = 4")
        execute("CREATE TABLE lodger (id int PRIMARY KEY, word text); INSERT INTO lodger VALUES (1, 'x')")
        with transaction.atomic():
            execute("UPDATE lodger SET word = 'fred'; DROP TABLE lodger; ALTER TABLE caller RENAME TO lodger")
        with transaction.atomic():
            execute("UPDATE lodger SET id = 3, word = 'later-ann' WHERE id = 1")
            execute("ALTER TABLE lodger RENAME TO tenant")
        execute("UPDATE tenant SET word = 'ann' WHERE id = 3; INSERT INTO tenant VALUES (4, 'eve')")
        drain()
        for key, gone in ((3, "-ann"), (4, "eve")):
            bemi("erase", f"public.tenant:{key}", *REASON)
            left = everything()
            assert gone not in left and all(word in left for word in ("carl", "dan", "fred"))
    finally:
        execute("DROP TABLE IF EXISTS caller, lodger, tenant")


def test_a_killed_erasure_is_continued(ann: User, bemi: Bemi) -> None:
    for number in range(1, 4):
        kill(f"auth.User:{ann.pk}", number)
        assert not Change.objects.filter(operation="ERASED").exists()
    assert "goes on with a run that was interrupted" in bemi("erase", f"auth.User:{ann.pk}", "--dry-run")
    assert "4 changes of 1 rows erased" in bemi("erase", f"auth.User:{ann.pk}", *REASON)
    assert "ann@example.org" not in everything() and "ann-miller" not in everything()
    assert Change.objects.get(operation="ERASED").context["changes"] == 4
    assert execute("SELECT count(*) FROM _bemi.erasures WHERE ended_at IS NOT NULL") == [(1,)]


@pytest.mark.parametrize("key", ["ann@example.org", "ann@example.net"])
def test_an_interrupted_erasure_is_found_by_each_key_that_the_row_had(
    bemi: Bemi, drain: Drain, settings: Any, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    execute("CREATE TABLE person (mail text PRIMARY KEY, name text)")
    try:
        tracking.sync()
        execute("INSERT INTO person VALUES ('ann@example.org', 'Ann Miller')")
        execute("UPDATE person SET mail = 'ann@example.net'")
        execute("DELETE FROM person")
        drain()
        interrupt(bemi, monkeypatch, "person:ann@example.org", rewritten=2)
        assert execute("SELECT count(*) FROM changes WHERE primary_key LIKE 'hmac:%%'") == [(2,)]
        # Of other rows, or with other related ones.
        with pytest.raises(CommandError, match="nothing to erase"):
            bemi("erase", "person:bob@example.org", *REASON)
        place = Change.objects.filter(table="person").earliest("id").place
        assert plan_erasure((place, key), "default", related=()).interrupted is None
        assert "goes on with a run that was interrupted" in bemi("erase", f"person:{key}", "--dry-run")
        assert "3 changes of 2 rows erased" in bemi("erase", f"person:{key}", *REASON)
        assert "ann@example" not in everything() and "Ann Miller" not in everything()
        assert execute("SELECT count(*) FROM _bemi.erasures WHERE ended_at IS NULL") == [(0,)]
    finally:
        execute("DROP TABLE person")


def test_another_row_with_a_key_of_an_interrupted_erasure_is_another_one(
    bemi: Bemi, drain: Drain, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_MASK_KEY = "0123456789abcdef"
    execute("CREATE TABLE person (mail text PRIMARY KEY, name text)")
    try:
        tracking.sync()
        execute("INSERT INTO person VALUES ('ann@example.org', 'Ann Miller')")
        execute("UPDATE person SET mail = 'ann@example.net'")
        execute("INSERT INTO person VALUES ('ann@example.org', 'Another Ann')")
        execute("DELETE FROM person")
        drain()
        interrupt(bemi, monkeypatch, "person:ann@example.net", rewritten=2)
        assert "goes on" not in bemi("erase", "person:ann@example.org", "--dry-run")
        assert "Another Ann" in everything()
    finally:
        execute("DROP TABLE person")


def interrupt(bemi: Bemi, monkeypatch: pytest.MonkeyPatch, name: str, rewritten: int) -> None:
    """Erase one change in a transaction, and stop when so many are rewritten."""
    real = rewriting.rewrite
    done: list[Any] = []

    def rewrite(*arguments: Any) -> None:
        if len(done) == rewritten:
            raise KeyboardInterrupt
        real(*arguments)
        if arguments[2] != arguments[3] and arguments[2][0].primary_key != arguments[3][0].primary_key:
            done.append(arguments)

    with monkeypatch.context() as patched:
        patched.setattr("bemi_django.erasure.erase.BATCH", 1)
        patched.setattr(rewriting, "rewrite", rewrite)
        with pytest.raises(CommandError, match="interrupted"):
            bemi("erase", name, *REASON)


def test_a_record_is_of_its_source_also_if_the_log_has_no_change_of_it(ann: User, bemi: Bemi) -> None:
    source = source_in(Change.objects.latest("id").pk.bytes)
    ((end,),) = execute("SELECT max(_bemi.sequence_v1(slot, lsn)) FROM _bemi.checkpoint")
    log = installed.log("default")
    place = Change.objects.latest("id").place
    history = SourceLog("default").history()
    assert history is not None
    execute("TRUNCATE changes")
    with transaction.atomic(), connection.cursor() as cursor:
        erasure = records.begin(cursor, {}, {}, [Target(place, ("id",))], set())
        records.count(cursor, erasure.number, erasure.targets[0], {"1": (2, {"email"})})
        list(records.end(cursor, log, erasure.number, history))
    record = Change.objects.get()
    assert source_in(record.pk.bytes) == source != 0
    assert sequence_in(record.pk.bytes) == end and record.position == lsn_of(end)


def kill(name: str, rewritten: int) -> None:
    """Erase in a process that kills itself when it has rewritten so many batches of one change."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_erasure", name, str(rewritten)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": url_of_database()},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


def test_a_number_stays_a_key_where_generic_relations_have_it_as_text(bemi: Bemi, drain: Drain) -> None:
    order = Order.objects.create(pk=471147, number="number-of-carl")
    Note.objects.create(about=order, text="note-of-carl")
    # Numbers of rows that refer to it look like its key, too.
    Note.objects.create(pk=order.pk, about=order, text="note-of-carl")
    drain()
    bemi("erase", f"shop.Order:{order.pk}", "--related", *REASON)
    assert not any("of-carl" in str((change.before, change.after)) for change in Change.objects.all())
    found = Change.objects.filter(table="shop_order")
    assert {change.operation: change.primary_key for change in found} == {
        "CREATE": "471147",
        "ERASED": "471147",
    }
    assert Change.objects.filter(table="shop_note", primary_key="471147", operation="CREATE").count() == 1
