"""``bemi rewrap-keys`` encrypts keys with a new key of the project; until it is done, the old one stays."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError

from bemi_django.encryption import rewrapping
from bemi_django.encryption.master_keys import MasterKeys
from bemi_django.encryption.rewrapping import Rewrapped, rewrap
from bemi_django.exceptions import Refused
from bemi_django.management.erasure import rewrap_command
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from tests.integration.encryption.conftest import KEY, REASON, bemi, logged
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

NEW = "a new key of the tests"
KEYS = MasterKeys([NEW.encode(), KEY.encode()])


@pytest.fixture
def users(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """Five users, more than one transaction takes."""
    monkeypatch.setattr(rewrapping, "BATCH", 2)
    for name in "abcde":
        User.objects.create(username=name, email=f"{name}@example.org")
    return logged(pipeline, table="auth_user")


def wrapped() -> list[bytes]:
    return [bytes(row[0]) for row in execute("SELECT wrapped FROM _bemi.subject_keys ORDER BY id")]


def emails(changes: list[Change]) -> list[Any]:
    return [change.decrypted().after["email"] for change in changes]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_keys_of_all_destinations_are_those_of_the_first(users: list[Change], settings: Any) -> None:
    settings.BEMI_ENCRYPTION_KEY = [NEW, KEY]
    settings.BEMI_DESTINATIONS = {"other": {"tables": ["public.tag"]}}
    said = bemi("rewrap-keys", "--destination", "other", "--reason", "yearly")
    assert said.startswith("keys encrypted anew: 5; with the first key before: 0\nthe other keys")


def test_keys_are_encrypted_anew_and_the_old_one_can_go(
    pipeline: Pipeline, users: list[Change], settings: Any
) -> None:
    before, texts = wrapped(), [change.after for change in users]
    settings.BEMI_ENCRYPTION_KEY = [NEW, KEY]
    assert bemi("rewrap-keys", "--dry-run") == "keys to be encrypted anew: 5; with the first key before: 0\n"
    assert wrapped() == before
    said = bemi("rewrap-keys", "--reason", "yearly")
    assert said.startswith("keys encrypted anew: 5; with the first key before: 0\nthe other keys")
    settings.BEMI_ENCRYPTION_KEY = NEW
    assert emails(users) == [f"{name}@example.org" for name in "abcde"]
    # What is in the log has not changed, and the worker goes on with the same keys.
    pipeline.stop()
    pipeline.config = pipeline.config._replace(masking=configured_masks())
    User.objects.filter(username="a").update(last_name="Miller")
    *_, named = logged(pipeline, table="auth_user", operation="UPDATE")
    assert named.after["email"] == texts[0]["email"]
    (event,) = Change.objects.filter(operation="EVENT", context__event="rewrapped_keys")
    assert event.context["reason"] == "yearly" and event.context["command"] == "bemi rewrap-keys"
    assert event.context["os_user"] and event.context["database_role"]
    assert bemi("rewrap-keys").startswith("keys encrypted anew: 0; with the first key before: 5\n")


def test_an_interrupted_run_is_continued(
    users: list[Change], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_ENCRYPTION_KEY = [NEW, KEY]
    seen: list[float] = []

    def interrupt(part: float) -> None:
        seen.append(part)
        if part > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrap("default", KEYS, interrupt)
    assert seen == [0.4, 0.8]
    assert emails(users) == [f"{name}@example.org" for name in "abcde"]
    assert rewrap("default", KEYS, seen.append) == Rewrapped(1, 4, 0)
    assert seen[-1] == 1.0
    settings.BEMI_ENCRYPTION_KEY = NEW
    assert emails(users) == [f"{name}@example.org" for name in "abcde"]

    def end(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rewrap_command, "rewrap", end)
    with pytest.raises(CommandError, match="until then the old key is needed"):
        bemi("rewrap-keys")


def test_a_worker_with_the_former_key_is_noticed(
    pipeline: Pipeline, users: list[Change], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker of the fixture was not restarted.
    settings.BEMI_ENCRYPTION_KEY = [NEW, KEY]
    seen: list[float] = []

    def meanwhile(alias: str, masters: MasterKeys, watch: Any, *, dry_run: bool) -> Rewrapped:
        def work(part: float) -> None:
            seen.append(part)
            if len(seen) == 3:
                for number in range(8):
                    User.objects.create(username=f"late{number}", email=f"late{number}@example.org")
                pipeline.advance()

        return rewrap(alias, masters, work, dry_run=dry_run)

    monkeypatch.setattr(rewrap_command, "rewrap", meanwhile)
    with pytest.raises(CommandError, match="keys were made with a former key during the run: some process"):
        bemi("rewrap-keys")
    monkeypatch.undo()
    assert "are needed by no key" in bemi("rewrap-keys")
    settings.BEMI_ENCRYPTION_KEY = NEW
    made = Change.objects.filter(table="auth_user", operation="CREATE")
    assert None not in emails(list(made)) and made.count() == 13


def test_an_erased_key_does_not_come_back(users: list[Change], settings: Any) -> None:
    settings.BEMI_ENCRYPTION_KEY = [NEW, KEY]
    bemi("erase", f"auth.User:{users[0].primary_key}", "--only-keys", *REASON)
    bemi("rewrap-keys")
    assert len(wrapped()) == 4
    assert emails(users) == [None, *(f"{name}@example.org" for name in "bcde")]


def test_a_key_that_none_decrypts_is_left_and_said(users: list[Change], settings: Any) -> None:
    before = wrapped()
    settings.BEMI_ENCRYPTION_KEY = [NEW, "another key of the tests"]
    with pytest.raises(CommandError, match="5 keys are left that no key of BEMI_ENCRYPTION_KEY decrypts"):
        bemi("rewrap-keys")
    assert wrapped() == before
    settings.BEMI_ENCRYPTION_KEY = None
    with pytest.raises(CommandError, match="the new key first"):
        bemi("rewrap-keys")


def test_a_role_that_may_only_read_keys_is_told_so(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "_MAY", "SELECT %s <> 'UPDATE'")
    with pytest.raises(Refused, match="only the owner"):
        rewrap("default", KEYS, lambda part: None)
    assert rewrap("default", KEYS, lambda part: None, dry_run=True) == Rewrapped()
