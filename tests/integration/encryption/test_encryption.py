"""Values that are encrypted with a key per row can be read until the key is deleted."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError

from bemi_django import record
from bemi_django.encryption import key_ring
from bemi_django.encryption.key_table import find_or_make
from bemi_django.encryption.project_keys import project_keys
from bemi_django.encryption.subject_key import PREFIX, SubjectRow
from bemi_django.exceptions import BemiError
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from tests.integration.encryption.conftest import KEY, REASON, RULES, bemi, logged
from tests.shop.models import Category, Product, Review
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

OTHER = "another key of the tests"


def number_of_keys() -> int:
    ((number,),) = execute("SELECT count(*) FROM _bemi.subject_keys")
    return int(number)


def test_a_value_is_encrypted_with_the_key_of_its_row(pipeline: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    User.objects.create(username="bob", email="ann@example.org")
    User.objects.filter(pk=ann.pk).update(last_name="Miller")
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    first, bob, named, moved = logged(pipeline, table="auth_user")
    assert first.after["email"].startswith(PREFIX)
    assert first.after["email"] != bob.after["email"]
    # Equal values of a row are equal, so that only what was changed has changed.
    assert set(named.diff()) == {"last_name"}
    assert set(moved.diff()) == {"email"}
    assert moved.decrypted().before["email"] == "ann@example.org"
    assert moved.decrypted().after["email"] == "ann@example.net"
    assert moved.decrypted().after["username"] == "ann"
    assert moved.decrypted().after["first_name"] == ""
    assert moved.unavailable == {"masked": ["password", "first_name", "email"]}
    assert number_of_keys() == 2


def test_a_value_is_encrypted_with_the_key_of_the_row_that_a_column_names(pipeline: Pipeline) -> None:
    category = Category.objects.create(name="Books")
    one, other = (Product.objects.create(sku=sku, category=category) for sku in ("a", "b"))
    review = Review.objects.create(product=one, text="fine")
    Review.objects.filter(pk=review.pk).update(product=other)
    created, moved = logged(pipeline, table="shop_review")
    assert created.decrypted().after["text"] == moved.decrypted().after["text"] == "fine"
    assert moved.before["text"] == created.after["text"] != moved.after["text"]
    subjects = execute('SELECT schema, "table", key FROM _bemi.subject_keys ORDER BY created_at')
    assert subjects == [("public", "shop_product", str(product.pk)) for product in (one, other)]
    bemi("erase", f"shop.Product:{one.pk}", "--only-keys", *REASON)
    assert moved.decrypted().before["text"] is None and moved.decrypted().after["text"] == "fine"


def test_what_looks_like_an_encrypted_value_is_none(pipeline: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    (created,) = logged(pipeline, table="auth_user")
    stolen = created.after["email"]
    User.objects.filter(pk=ann.pk).update(last_name=stolen, email=stolen)
    *_, forged = logged(pipeline, table="auth_user")
    assert forged.decrypted().after["last_name"] == forged.decrypted().after["email"] == stolen
    # Nor can one be moved to another row of the log.
    forged.table = "customer"
    assert forged.decrypted().unreadable == {"email", "first_name"}


def test_the_deletion_of_a_key_erases_its_values(pipeline: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    bob = User.objects.create(username="bob", email="bob@example.org")
    before = [change.after for change in logged(pipeline, table="auth_user")]
    plan = bemi("erase", f"auth.User:{ann.pk}", "--only-keys", "--dry-run")
    assert plan == "1 encryption key: what is encrypted with it can no longer be read\n"
    assert number_of_keys() == 2
    said = bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert said.endswith("encryption keys deleted: 1\n")
    of_ann, of_bob, record = logged(pipeline, table="auth_user")
    assert [of_ann.after, of_bob.after] == before
    assert of_ann.decrypted().after["email"] is None
    assert of_ann.decrypted().erased == {"email", "first_name"}
    assert of_bob.decrypted().after["email"] == "bob@example.org" and not of_bob.decrypted().erased
    assert (record.operation, record.primary_key) == ("ERASED", str(ann.pk))
    assert record.context["keys"] == 1 and record.context["changes"] == 0
    assert record.context["reason"] == "request 7"
    with pytest.raises(CommandError, match="nothing to erase"):
        bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert User.objects.filter(pk=bob.pk).exists()


def test_an_erasure_deletes_the_key_and_what_is_not_encrypted(pipeline: Pipeline) -> None:
    category = Category.objects.create(name="Books")
    product = Product.objects.create(sku="the-secret-sku", category=category)
    former, product.pk = product.pk, product.pk + 1000
    execute("UPDATE shop_product SET id = %s WHERE id = %s", [product.pk, former])
    # Another one has the former key, with which its values are encrypted.
    Product.objects.create(pk=former, sku="of another", category=category)
    Review.objects.create(product_id=former, text="of another")
    Review.objects.create(product=product, text="fine")
    of_another, review = logged(pipeline, table="shop_review")
    plan = bemi("erase", f"shop.Product:{product.pk}", "--dry-run")
    assert "also in rows that stay (shop_review.text)" in plan
    assert "not the encryption key of a row" in plan
    bemi("erase", f"shop.Product:{product.pk}", *REASON)
    created, moved, another, record, _ = Change.objects.filter(table="shop_product")
    assert created.after["sku"] is moved.after["sku"] is None and another.after["sku"] == "of another"
    assert of_another.decrypted().after["text"] == "of another"
    assert record.context["keys"] == 1 and record.context["changes"] == 1
    # The row stays, and nobody can read it.
    review.refresh_from_db()
    assert review.after["text"].startswith(PREFIX) and review.decrypted().erased == {"text"}


def test_related_rows_have_keys_of_their_own(pipeline: Pipeline, settings: Any) -> None:
    settings.BEMI_MASK = {"shop_product.sku": "encrypt"}
    pipeline.stop()
    pipeline.config = pipeline.config._replace(masking=configured_masks())
    category = Category.objects.create(name="Books")
    for sku in ("a", "b", "of both"):
        product = Product.objects.create(sku=sku, category=category)
        # An event has no values, so it is of nobody else.
        record("ordered", product)
    product.category = Category.objects.create(name="Games")
    product.save()
    pipeline.advance()
    assert number_of_keys() == 3
    for arguments in ([], ["--only-keys"]):
        plan = bemi("erase", f"shop.Category:{category.pk}", "--related", *arguments, "--dry-run")
        assert plan.startswith("2 encryption keys")
        assert "not the encryption key of a row, which encrypts values of others, too" in plan
    bemi("erase", f"shop.Category:{category.pk}", "--related", *REASON)
    # What it had with another one can be read.
    assert number_of_keys() == 1
    moved = Change.objects.filter(table="shop_product", operation="UPDATE").latest("id")
    assert moved.decrypted().after["sku"] == "of both" and moved.decrypted().before["sku"] is None


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_legal_hold_keeps_keys(pipeline: Pipeline, settings: Any) -> None:
    category = Category.objects.create(name="Books")
    product = Product.objects.create(sku="a", category=category)
    Review.objects.create(product=product, text="fine")
    pipeline.advance()
    settings.BEMI_LEGAL_HOLD = ["shop.Review"]
    with pytest.raises(CommandError, match="encrypted with a key of the object"):
        bemi("erase", f"shop.Product:{product.pk}", "--only-keys", *REASON)
    assert number_of_keys() == 1


def test_a_worker_does_not_bring_an_erased_key_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(key_ring, "monotonic", lambda: now)
    ann = User.objects.create(username="ann", email="ann@example.org")
    logged(pipeline)
    # The worker has the key in its memory.
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    *_, between = logged(pipeline, table="auth_user", operation="UPDATE")
    assert between.decrypted().after["email"] is None and "email" in between.decrypted().erased
    assert number_of_keys() == 0
    # After a second it asks, and makes another one, which does not open what was erased.
    now = key_ring.LIFETIME
    User.objects.filter(pk=ann.pk).update(email="ann@example.com")
    *_, after = logged(pipeline, table="auth_user", operation="UPDATE")
    assert after.decrypted().after["email"] == "ann@example.com"
    assert number_of_keys() == 1
    assert between.decrypted().after["email"] is None


def test_two_workers_find_the_same_key(pipeline: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    (created,) = logged(pipeline, table="auth_user")
    pipeline.stop()
    User.objects.filter(pk=ann.pk).update(last_name="Miller")
    # Another session, without the memory of the first one.
    (named,) = logged(pipeline, table="auth_user", operation="UPDATE")
    assert named.after["email"] == created.after["email"]
    assert number_of_keys() == 1


def test_a_log_that_stays_keeps_its_keys(pipeline: Pipeline) -> None:
    User.objects.create(username="ann", email="ann@example.org")
    logged(pipeline)
    # What removes the package asks this before it drops a part.
    assert execute("SELECT _bemi.must_stay_v1('subject_keys_v1')") == [(True,)]


def test_keys_of_the_project_are_replaced(pipeline: Pipeline, settings: Any) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    (created,) = logged(pipeline, table="auth_user")
    settings.BEMI_ENCRYPTION_KEY = [OTHER, KEY]
    assert created.decrypted().after["email"] == "ann@example.org"
    settings.BEMI_ENCRYPTION_KEY = OTHER
    assert created.decrypted().after["email"] is None
    assert created.decrypted().unreadable == {"email", "first_name"} and not created.decrypted().erased
    # A worker without the former key stops, and the rows are not lost.
    pipeline.stop()
    pipeline.config = pipeline.config._replace(masking=configured_masks())
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    with pytest.raises(BemiError, match="add the former BEMI_ENCRYPTION_KEY"):
        pipeline.run()
    settings.BEMI_ENCRYPTION_KEY = [OTHER, KEY]
    pipeline.config = pipeline.config._replace(masking=configured_masks())
    pipeline.run()
    *_, moved = Change.objects.filter(table="auth_user")
    assert moved.decrypted().after["email"] == "ann@example.net"


def test_rules_need_a_key_and_a_package(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BEMI_MASK = RULES
    with pytest.raises(ImproperlyConfigured, match="needs BEMI_ENCRYPTION_KEY or BEMI_KEY_STORE"):
        configured_masks()
    settings.BEMI_ENCRYPTION_KEY = KEY
    monkeypatch.setattr("bemi_django.mask_rules.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"bemi-django-wal\[encryption\]"):
        configured_masks()


def test_a_key_that_comes_and_goes_is_not_waited_for_forever() -> None:
    class Cursor:
        """Finds no key, and cannot make one."""

        rowcount = 0

        def execute(self, query: str, parameters: Any) -> None:
            pass

        def fetchone(self) -> None:
            return None

    with pytest.raises(BemiError, match="again and again"):
        find_or_make(Cursor(), SubjectRow("db", "public", "t", "1"), project_keys([KEY.encode()], None))
