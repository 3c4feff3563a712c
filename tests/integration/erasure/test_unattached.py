"""``bemi erase --related``: what rows had while they referred to nobody belongs to whoever had them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from bemi_django import skip_tracking
from bemi_django.erasure.erase import erase
from bemi_django.erasure.plan import plan_erasure
from bemi_django.erasure.related.unattached import unattached
from bemi_django.log.places import Place
from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.integration.erasure.conftest import Bemi
from tests.shop.models import Category, Product
from tests.support.pipeline import Drain
from tests.support.project_database import execute

REASON = ("--reason", "request 7", "--noinput")


@pytest.fixture
def parcels(drain: Drain) -> Iterator[None]:
    """A table whose rows refer to two categories and to a product, and may exchange their keys."""
    execute(
        "CREATE TABLE parcel (id int PRIMARY KEY DEFERRABLE, sender_id bigint REFERENCES shop_category, "
        "receiver_id bigint REFERENCES shop_category, product_id bigint REFERENCES shop_product, text text)"
    )
    tracking.sync()
    yield
    execute("DROP TABLE parcel")


@pytest.fixture
def ann() -> Category:
    return Category.objects.create(name="Ann")


@pytest.fixture
def bob() -> Category:
    return Category.objects.create(name="Bob")


def write(number: int, text: str, **columns: Any) -> None:
    given = {"id": number, "text": text, **columns}
    values = ", ".join(["%s"] * len(given))
    execute(f"INSERT INTO parcel ({', '.join(given)}) VALUES ({values})", [*map(_key, given.values())])  # noqa: S608


def change(number: int, text: str | None = None, **columns: Any) -> None:
    given = {**columns, **({"text": text} if text else {})}
    assigned = ", ".join(f"{name} = %s" for name in given)
    execute(f"UPDATE parcel SET {assigned} WHERE id = %s", [*map(_key, given.values()), number])  # noqa: S608


def _key(value: Any) -> Any:
    return value.pk if isinstance(value, (Category, Product)) else value


def logged() -> str:
    """What the log has of the table, as text."""
    return "\n".join(
        text for (text,) in execute("SELECT to_jsonb(c)::text FROM changes c WHERE \"table\" = 'parcel'")
    )


def test_what_is_logged_after_the_plan_is_not_erased(
    bemi: Bemi, drain: Drain, parcels: None, ann: Category, bob: Category
) -> None:
    for number in (1, 2):
        write(number, "sent by ann", sender_id=ann)
        change(number, "lost by ann", sender_id=None)
    change(2, "left by ann")
    drain()
    plan = plan_erasure(ann, "default", related=["parcel"])
    for number in (1, 2):
        change(number, "found by bob")
        change(number, "taken by bob", sender_id=bob)
        change(number, "kept by bob")
        execute("DELETE FROM parcel WHERE id = %s", [number])
        write(number, "of carl")
    drain()
    erase(plan, {"reason": "request 7"}, lambda what, part: None)
    left = logged()
    for text in ("found by bob", "taken by bob", "kept by bob"):
        assert left.count(text) == 4
    assert left.count("of carl") == 2 and "sent by ann" not in left


def test_rows_are_followed_as_far_as_the_log_tells(
    bemi: Bemi, drain: Drain, parcels: None, ann: Category, bob: Category, tmp_path: Path
) -> None:
    for number in (1, 2, 3, 5):
        write(number, "sent by ann", sender_id=ann)
        change(number, "lost by ann", sender_id=None)
        change(number, "left by ann")
        with skip_tracking(reason="a test"):
            change(number, sender_id=bob)
    change(1, "first of bob")
    with skip_tracking(reason="a test"):
        change(2, "second of bob")
        execute("DELETE FROM parcel WHERE id = 3")
        change(5, "fifth of bob", sender_id=None)
    execute("DELETE FROM parcel WHERE id = 2")
    write(3, "third of bob", sender_id=bob)
    change(5, "fifth of nobody")
    write(4, "fourth of bob", sender_id=bob)
    with skip_tracking(reason="a test"):
        change(4, sender_id=None)
        write(6, "sixth of bob")
    change(4, "fourth of ann", sender_id=ann)
    change(6, "sixth of nobody")
    change(6, "sixth of ann", sender_id=ann)
    drain()
    # It is what a baseline records.
    found = Change.objects.filter(table="parcel", primary_key="3", operation="CREATE").latest("id")
    Change.objects.filter(pk=found.pk).update(operation="BASELINE")
    asked = f"shop.Category:{ann.pk}", "--related", "parcel"
    bemi("subject", *asked, "--export", str(tmp_path / "ann.json"))
    disclosed = (tmp_path / "ann.json").read_text()
    plan = bemi("erase", *asked, "--dry-run")
    # What is changed when it comes to the object is in that change, too.
    assert "(refers by receiver_id, refers by sender_id): 14 changes of 6 rows: product_id, text" in plan
    assert "public.parcel: 6 of these rows referred to something else, too, or may have" in plan
    bemi("erase", *asked, *REASON)
    left = logged()
    for text in ("first of bob", "second of bob", "third of bob", "fifth of bob", "fifth of nobody"):
        assert text in left and text not in disclosed
    assert "sixth of bob" in left and "sixth of bob" not in disclosed and "sixth of nobody" in left
    assert left.count("fourth of bob") == 1
    assert "lost by ann" not in left and "sixth of ann" not in left


def test_rows_that_refer_to_others_by_other_columns_are_theirs(
    bemi: Bemi, drain: Drain, parcels: None, ann: Category, bob: Category, tmp_path: Path
) -> None:
    product = Product.objects.create(sku="novel", category=ann)
    write(1, "to ann", sender_id=bob, receiver_id=ann)
    change(1, receiver_id=None)
    change(1, "first of bob")
    write(2, "second of bob", sender_id=bob)
    change(2, "to ann again")
    change(2, receiver_id=ann)
    write(3, "to herself, ann", sender_id=ann, receiver_id=ann)
    change(3, sender_id=None)
    change(3, receiver_id=None)
    change(3, "lost by ann")
    # The product is of the object, but the row is about another one as well.
    write(4, "novel to ann", sender_id=bob, product_id=product)
    change(4, product_id=None)
    change(4, "fourth of bob")
    drain()
    asked = f"shop.Category:{ann.pk}", "--related", "parcel"
    bemi("subject", *asked, "--export", str(tmp_path / "ann.json"))
    disclosed = (tmp_path / "ann.json").read_text()
    assert "of bob" not in disclosed and "lost by ann" in disclosed
    plan = bemi("erase", *asked, "--dry-run")
    assert "public.parcel: 3 of these rows referred to something else, too, or may have" in plan
    bemi("erase", *asked, *REASON)
    left = logged()
    assert all(text in left for text in ("first of bob", "second of bob", "fourth of bob"))
    assert "lost by ann" not in left and "to herself" not in left


def test_a_row_goes_from_one_straight_to_another(
    bemi: Bemi, drain: Drain, parcels: None, ann: Category, bob: Category, tmp_path: Path
) -> None:
    write(1, "made of ann", sender_id=ann)
    change(1, "given to bob", sender_id=bob)
    change(1, "back to ann", sender_id=ann)
    # With a while in which it is nobody's between them.
    change(1, "lost by ann", sender_id=None)
    change(1, "found by bob", sender_id=bob)
    change(1, "lost by bob", sender_id=None)
    change(1, "found by ann", sender_id=ann)
    write(2, "second of bob", sender_id=bob)
    change(2, "second of ann", sender_id=ann)
    execute("DELETE FROM parcel")
    drain()
    of_ann = ("made of ann", "back to ann", "lost by ann", "found by ann", "second of ann")
    of_bob = ("given to bob", "found by bob", "lost by bob", "second of bob")
    for one, own, others in ((ann, of_ann, of_bob), (bob, of_bob, of_ann)):
        asked = f"shop.Category:{one.pk}", "--related", "parcel"
        place = tmp_path / f"{one.pk}.json"
        bemi("subject", *asked, "--export", str(place))
        disclosed = place.read_text()
        assert all(text in disclosed for text in own) and not any(text in disclosed for text in others)
    asked = f"shop.Category:{ann.pk}", "--related", "parcel"
    bemi("erase", *asked, *REASON)
    assert not any(text in logged() for text in of_ann)
    assert all(logged().count(f'"{text}"') == 2 for text in of_bob)
    with pytest.raises(CommandError, match="nothing to erase"):
        bemi("erase", *asked, *REASON)
    handed = Change.objects.filter(table="parcel", operation="UPDATE").earliest("id")
    said = handed.unavailable or {}
    assert said["erased_sides"] == ["before"] and "text" in said["changed"]
    bemi("erase", f"shop.Category:{bob.pk}", "--related", "parcel", *REASON)
    assert not any(text in logged() for text in of_bob)
    handed.refresh_from_db()
    said = handed.unavailable or {}
    assert "erased_sides" not in said and "text" in said["changed"]


def test_rows_that_exchange_their_keys_are_told_apart(
    bemi: Bemi, drain: Drain, parcels: None, ann: Category
) -> None:
    write(1, "sent by ann", sender_id=ann)
    change(1, "lost by ann", sender_id=None)
    write(2, "written by carl")
    execute("UPDATE parcel SET id = 3 - id")
    change(1, "kept by carl")
    drain()
    bemi("erase", f"shop.Category:{ann.pk}", "--related", "parcel", *REASON)
    left = logged()
    assert left.count("written by carl") == 4 and left.count("kept by carl") == 1
    assert "sent by ann" not in left


def test_a_row_is_put_back_as_that_of_another_one(
    bemi: Bemi, drain: Drain, parcels: None, ann: Category, bob: Category
) -> None:
    write(1, "of bob", sender_id=bob)
    change(1, sender_id=None)
    execute("DELETE FROM parcel WHERE id = 1")
    write(1, "of bob")
    change(1, "of ann", sender_id=ann)
    drain()
    bemi("erase", f"shop.Category:{ann.pk}", "--related", "parcel", *REASON)
    assert logged().count("of bob") == 6 and "of ann" not in logged()


def test_a_row_may_have_any_number_of_keys(drain: Drain, parcels: None, ann: Category) -> None:
    write(1, "sent by ann", sender_id=ann)
    change(1, sender_id=None)
    execute("DO $$ BEGIN FOR n IN 1..300 LOOP UPDATE parcel SET id = id + 1; END LOOP; END $$")
    place = Place(drain()[-1].database, "public", "parcel")
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    try:
        spans, passed, _ = unattached(place, [{"sender_id": ann.pk}], [])
    finally:
        sys.setrecursionlimit(usual)
    assert [span.key for span in spans] == [str(number) for number in range(2, 302)] and not passed
