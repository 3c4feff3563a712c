"""Keys of subjects in a store of the project."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import connections

from bemi_django.encryption import key_store
from bemi_django.encryption.key_store import GuardedStore
from bemi_django.encryption.subject_key import PREFIX
from bemi_django.exceptions import BemiError
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from tests.integration.encryption.conftest import REASON, RULES, bemi, logged
from tests.support.pipeline import QUICK, Pipeline
from tests.support.polling import until
from tests.support.project_database import execute


class Store:
    """Keeps keys in memory."""

    keys: ClassVar[dict[str, bytes]] = {}
    is_away: ClassVar[bool] = False

    def create(self, number: str) -> bytes:
        self._answer()
        return self.keys.setdefault(number, secrets.token_bytes(32))

    def get(self, numbers: Collection[str]) -> Mapping[str, bytes]:
        self._answer()
        return {number: self.keys[number] for number in numbers if number in self.keys}

    def forget(self, numbers: Collection[str]) -> None:
        self._answer()
        for number in numbers:
            self.keys.pop(number, None)

    def _answer(self) -> None:
        if Store.is_away:
            raise ConnectionError("https://vault.example.org?token=hunter2")


@pytest.fixture
def stored(pipeline: Pipeline, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A worker whose keys are in a store."""
    settings.BEMI_ENCRYPTION_KEY, settings.BEMI_KEY_STORE = None, f"{__name__}.Store"
    # Nothing is remembered.
    monkeypatch.setattr(key_store, "LIFETIME", 0.0)
    pipeline.stop()
    pipeline.config = pipeline.config._replace(masking=configured_masks())
    pipeline.timeouts = QUICK
    yield pipeline
    Store.keys.clear()
    Store.is_away = False


def kept() -> list[tuple[str, bool]]:
    return execute("SELECT id::text, wrapped IS NULL FROM _bemi.subject_keys ORDER BY created_at")


def test_keys_are_in_the_store_alone(stored: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    (created,) = logged(stored, table="auth_user")
    assert created.after["email"].startswith(PREFIX)
    assert created.decrypted().after["email"] == "ann@example.org"
    assert kept() == [(number, True) for number in Store.keys]
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert Store.keys == {} and kept() == []
    assert created.decrypted().erased == {"email", "first_name"}


def test_the_worker_waits_for_a_store_that_fails(stored: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bemi_django")
    Store.is_away = True
    with stored.worker():
        User.objects.create(username="ann", email="ann@example.org")
        until(lambda: "create() of BEMI_KEY_STORE has raised ConnectionError; trying again" in caplog.text)
        # Nothing is written, and nothing without encryption.
        assert not Change.objects.exists() and not execute("SELECT FROM _bemi.dead_letters")
        Store.is_away = False
        until(lambda: Change.objects.filter(table="auth_user").exists())
    (created,) = Change.objects.filter(table="auth_user")
    assert created.decrypted().after["email"] == "ann@example.org"
    assert "hunter2" not in caplog.text and "ann@" not in caplog.text


def test_readers_do_without_a_store_that_fails(stored: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    User.objects.create(username="ann", email="ann@example.org")
    (created,) = logged(stored, table="auth_user")
    Store.is_away = True
    found = created.decrypted()
    assert found.after["email"] is None and found.unreadable == {"email", "first_name"} and not found.erased
    assert "encrypted values cannot be read" in caplog.text


def test_an_erasure_that_the_store_does_not_make_is_none(stored: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    (created,) = logged(stored, table="auth_user")
    Store.is_away = True
    with pytest.raises(CommandError, match=r"forget\(\) of BEMI_KEY_STORE has raised ConnectionError"):
        bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert len(kept()) == 1 and not Change.objects.filter(operation="ERASED")
    Store.is_away = False
    assert created.decrypted().after["email"] == "ann@example.org"
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert Store.keys == {} and Change.objects.filter(operation="ERASED").count() == 1


def test_without_the_setting_an_erasure_says_where_the_keys_are(stored: Pipeline, settings: Any) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    logged(stored)
    settings.BEMI_KEY_STORE, settings.BEMI_MASK = None, {}
    with pytest.raises(CommandError, match="is in a store: set BEMI_KEY_STORE"):
        bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert len(kept()) == len(Store.keys) == 1


def test_a_row_whose_key_the_store_has_forgotten_gets_another(stored: Pipeline) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    logged(stored)
    Store.keys.clear()
    stored.stop()
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    created, moved = logged(stored, table="auth_user")
    assert created.decrypted().after["email"] is None and "email" in created.decrypted().erased
    # The row before is encrypted as well when the change is recorded.
    assert moved.decrypted().after["email"] == "ann@example.net"
    assert [is_stored for _, is_stored in kept()] == [True, True]
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    assert Store.keys == {} and kept() == []
    assert moved.decrypted().erased == {"email", "first_name"}


def test_keys_of_the_database_are_used_beside_those_of_the_store(stored: Pipeline, settings: Any) -> None:
    settings.BEMI_KEY_STORE, settings.BEMI_ENCRYPTION_KEY = None, "a key of 16 bytes"
    settings.BEMI_MASK = RULES
    stored.config = stored.config._replace(masking=configured_masks())
    ann = User.objects.create(username="ann", email="ann@example.org")
    logged(stored)
    settings.BEMI_KEY_STORE = Store
    stored.stop()
    stored.config = stored.config._replace(masking=configured_masks())
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    User.objects.create(username="bob", email="bob@example.org")
    found = logged(stored, table="auth_user")
    emails = [change.decrypted().after["email"] for change in found]
    assert emails == ["ann@example.org", "ann@example.net", "bob@example.org"]
    assert [is_stored for _, is_stored in kept()] == [False, True]


def test_a_worker_without_the_store_stops(stored: Pipeline, settings: Any) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    logged(stored)
    settings.BEMI_KEY_STORE, settings.BEMI_ENCRYPTION_KEY = None, "a key of 16 bytes"
    stored.stop()
    stored.config = stored.config._replace(masking=configured_masks())
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    with pytest.raises(BemiError, match="is in a store: set BEMI_KEY_STORE"):
        stored.run()


class StoreInADatabase:
    """Asks a database by Django."""

    def create(self, number: str) -> bytes:
        raise NotImplementedError

    def get(self, numbers: Collection[str]) -> Mapping[str, bytes]:
        with connections["other"].cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', 'bemi_key_store', false)")
        return dict.fromkeys(numbers, b"a key of a store, of 32 bytes...")

    def forget(self, numbers: Collection[str]) -> None:
        raise NotImplementedError


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_store_in_a_database_leaves_no_connection() -> None:
    guarded = GuardedStore(StoreInADatabase)
    for number in range(10):
        assert guarded.get([str(number)])
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bemi_key_store'"
    until(lambda: execute(left) == [(0,)])
