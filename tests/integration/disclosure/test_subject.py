"""``bemi subject``: a person gets all that the log has of them, and nothing of others."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django import bound_context
from bemi_django.disclosure import disclosed
from bemi_django.models import Change
from tests.shop.models import Category, Product, Review
from tests.support.exchanged_names import forget_names
from tests.support.pipeline import Drain
from tests.support.project_database import execute

#: Writes what the log has of an object to a place, and returns what is printed.
Subject = Callable[..., str]


@pytest.fixture
def subject(drain: Drain) -> Subject:
    def run(name: str, place: Path, *arguments: str) -> str:
        out = io.StringIO()
        call_command("bemi", "subject", name, "--export", str(place), *arguments, stdout=out)
        return out.getvalue()

    return run


def read(place: Path) -> Any:
    return json.loads((place / "subject.json").read_text(encoding="utf-8"))


def test_a_user_gets_what_is_about_them_and_what_they_did(
    subject: Subject, drain: Drain, tmp_path: Path
) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org", first_name="<b>Ann</b>")
    bob = User.objects.create(username="bob", email="bob@example.org")
    with bound_context(user_id=ann.pk, ip="192.0.2.1"):
        Category.objects.create(name="Books")
    with bound_context(user_id=bob.pk):
        Category.objects.create(name="Games")
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    execute(f"UPDATE auth_user SET last_name = 'O''Hara' WHERE id > 0")  # noqa: F541
    pk = ann.pk
    ann.delete()
    drain()
    place = tmp_path / "ann"
    printed = subject(f"auth.User:{pk}", place)
    assert printed == f"5 changes written to {place / 'subject.json'} and {place / 'subject.html'}\n"
    found = read(place)
    assert found["object"] == f"auth.User:{pk}"
    assert [(one["relation"], one["operation"], one["table"]) for one in found["changes"]] == [
        ("own", "CREATE", "public.auth_user"),
        ("made", "CREATE", "public.shop_category"),
        ("own", "UPDATE", "public.auth_user"),
        ("own", "UPDATE", "public.auth_user"),
        ("own", "DELETE", "public.auth_user"),
    ]
    assert found["changes"][2]["before"]["email"] == "ann@example.org"
    text = (place / "subject.html").read_text(encoding="utf-8")
    assert "ann@example.net" in text and "&lt;b&gt;Ann&lt;/b&gt;" in text and "<b>" not in text
    assert "5 changes" in text and "done by you" in text and "http" not in text.replace("http-equiv", "")
    assert "bob" not in text and "bob" not in (place / "subject.json").read_text()
    # What a statement said of others is not told.
    assert "O''Hara" not in (place / "subject.json").read_text()
    assert (place / "subject.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match="exists: give another place"):
        subject(f"auth.User:{pk}", place)
    (event,) = drain()
    assert (event.operation, event.table, event.primary_key) == ("EVENT", "auth_user", str(pk))
    assert event.context["event"] == "disclosed" and event.context["details"] == {"changes": 5}
    assert event.context["command"] == "bemi subject" and event.context["os_user"]
    assert event.context["database_role"]


def test_rows_that_belong_to_the_object_are_there(subject: Subject, drain: Drain, tmp_path: Path) -> None:
    books, games = Category.objects.create(name="Books"), Category.objects.create(name="Games")
    product = Product.objects.create(sku="novel", category=books, price="12.50")
    Product.objects.create(sku="chess", category=games)
    Review.objects.create(product=product, text="good")
    drain()
    subject(f"shop.Category:{books.pk}", tmp_path / "one.json")
    changes = json.loads((tmp_path / "one.json").read_text())["changes"]
    assert [(one["relation"], one["table"]) for one in changes] == [
        ("own", "public.shop_category"),
        ("related", "public.shop_product"),
        ("related", "public.shop_review"),
    ]
    # Numbers keep every digit.
    assert '"price": 12.50' in (tmp_path / "one.json").read_text()
    assert not (tmp_path / "one.html").exists()
    subject(f"public.shop_category:{books.pk}", tmp_path / "two.html")
    assert (
        "good" in (tmp_path / "two.html").read_text() and "chess" not in (tmp_path / "two.html").read_text()
    )


def test_masks_apply(subject: Subject, drain: Drain, tmp_path: Path, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["auth_user.email", "context->note"]
    with bound_context(note="inner", other="outer"):
        ann = User.objects.create(username="ann", email="ann@example.org", password="x")
    drain()
    subject(f"auth.User:{ann.pk}", tmp_path)
    (change,) = read(tmp_path)["changes"]
    assert change["after"]["email"] == "***" and change["after"]["username"] == "ann"
    assert (change["context"]["note"], change["context"]["other"]) == ("***", "outer")
    assert "password" not in change["after"] and change["unavailable"] == {"masked": ["password"]}


def test_masks_apply_to_all_names_of_a_column(
    subject: Subject, drain: Drain, tmp_path: Path, settings: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["shop_category.whisper"]
    books = Category.objects.create(name="told once")
    execute("ALTER TABLE shop_category RENAME name TO whisper")
    execute("UPDATE shop_category SET whisper = 'told twice'")
    execute("ALTER TABLE shop_category RENAME whisper TO name")
    try:
        drain()
        subject(f"shop.Category:{books.pk}", tmp_path)
        assert len(read(tmp_path)["changes"]) == 2
        assert "told" not in (tmp_path / "subject.json").read_text()
    finally:
        forget_names("shop_category")


def test_masks_apply_to_keys_and_to_contexts_that_could_not_be_read(
    subject: Subject, drain: Drain, tmp_path: Path, settings: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["shop_category.id"]
    ann = User.objects.create(username="ann")
    with bound_context(user_id=ann.pk):
        Category.objects.create(pk=471147, name="Books")
        Category.objects.update(id=471148)
        Product.objects.create(sku="novel", category_id=471148)
    drain()
    invalid = {"user_id": ann.pk, "_bemi_invalid": "INSERT INTO shop_category VALUES (471149)"}
    execute("UPDATE changes SET context = %s WHERE operation = 'CREATE'", [json.dumps(invalid)])
    subject(f"auth.User:{ann.pk}", tmp_path)
    made = [one for one in read(tmp_path)["changes"] if one["relation"] == "made"]
    assert [one["primary_key"] for one in made[:2]] == ["***", "***"]
    assert made[2]["after"]["category_id"] == "***" and made[2]["after"]["sku"] == "novel"
    for name in ("subject.json", "subject.html"):
        assert "47114" not in (tmp_path / name).read_text(), name


def test_it_says_what_was_erased(subject: Subject, drain: Drain, tmp_path: Path) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    drain()
    call_command("bemi", "erase", f"auth.User:{ann.pk}", "--reason", "x", "--noinput", stdout=io.StringIO())
    subject(f"auth.User:{ann.pk}", tmp_path)
    created, erased = read(tmp_path)["changes"]
    assert created["after"]["email"] is None and erased["operation"] == "ERASED"
    assert "Erasure of values" in (tmp_path / "subject.html").read_text()


def test_changes_are_read_a_few_at_a_time(
    subject: Subject, drain: Drain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disclosed, "_CHUNK", 2)
    category = Category.objects.create(name="Books")
    for number in range(5):
        Category.objects.update(name=f"Books {number}")
    drain()
    assert subject(f"shop.Category:{category.pk}", tmp_path).startswith("6 changes written")
    names = [one["after"]["name"] for one in read(tmp_path)["changes"]]
    assert names == ["Books", *(f"Books {number}" for number in range(5))]
    assert Change.objects.count() >= 6 and not connection.in_atomic_block


def test_a_file_that_cannot_be_written_is_named(subject: Subject, drain: Drain, tmp_path: Path) -> None:
    category = Category.objects.create(name="Books")
    drain()
    (tmp_path / "file").write_text("x")
    with pytest.raises(CommandError, match="cannot write"):
        subject(f"shop.Category:{category.pk}", tmp_path / "file" / "inner")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_who_is_not_in_the_log_gets_no_files(subject: Subject, drain: Drain, tmp_path: Path) -> None:
    ann = User.objects.create(username="ann")
    with bound_context(user_id=471147):
        Category.objects.create(name="Books")
    drain()
    place = tmp_path / "nobody"
    for name in (f"auth.User:{ann.pk + 1}", f"public.auth_user:{ann.pk + 1}", "shop.Product:471147"):
        with pytest.raises(CommandError, match="the log has no changes of it: check the key"):
            subject(name, place)
    assert not place.exists()
    # The log may have nothing of somebody but what they did.
    assert subject("auth.User:471147", place).startswith("1 changes written")
