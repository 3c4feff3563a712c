"""A chain holds when keys are deleted with which values were encrypted, and it has the record of that."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.seals.verify import verify_chains
from bemi_django.time_travel import as_of
from tests.integration.encryption.conftest import KEY, REASON, RULES, bemi
from tests.integration.seals.conftest import whole
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute


@pytest.fixture
def ann(sealing: Pipeline, settings: Any) -> User:
    """A user in a sealed log, whose address is encrypted there."""
    settings.BEMI_MASK, settings.BEMI_ENCRYPTION_KEY = RULES, KEY
    tracking.sync()
    sealing.config = sealing.config._replace(masking=configured_masks())
    user = User.objects.create(username="ann", email="ann@example.org", last_name="Miller")
    sealing.run()
    assert whole().changes == 1
    return user


def test_the_record_of_deleted_keys_is_sealed(ann: User, sealing: Pipeline) -> None:
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    created, record = Change.objects.filter(table="auth_user")
    assert (record.operation, record.context["keys"]) == ("ERASED", 1)
    # No row was replaced: only the record has come.
    report = whole()
    assert report.changes == 2
    assert not any("replaced" in line for line in report.operations)
    assert any("1 changes added by" in line and "(request 7)" in line for line in report.operations)
    assert created.decrypted().erased == {"email", "first_name"}
    User.objects.filter(pk=ann.pk).update(last_name="Smith")
    sealing.run()
    assert whole().changes == 3
    execute("UPDATE changes SET context = context || '{\"keys\": 7}' WHERE operation = 'ERASED'")
    assert [found.kind for found in verify_chains().findings] == ["edited"]


def test_a_record_that_was_removed_is_missed(ann: User) -> None:
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    execute("DELETE FROM changes WHERE operation = 'ERASED'")
    assert [found.kind for found in verify_chains().findings] == ["removed"]


def test_a_whole_erasure_replaces_rows_and_says_who(ann: User) -> None:
    (created,) = Change.objects.filter(table="auth_user")
    bemi("erase", f"auth.User:{ann.pk}", *REASON)
    report = whole()
    assert report.changes == 2
    assert any("1 changes replaced" in line for line in report.operations)
    created.refresh_from_db()
    assert created.after["last_name"] is None and "ann@" not in str(created.after)


def test_the_past_names_the_columns_whose_key_is_gone(ann: User, sealing: Pipeline) -> None:
    bemi("erase", f"auth.User:{ann.pk}", "--only-keys", *REASON)
    User.objects.filter(pk=ann.pk).update(last_name="Smith")
    sealing.run()
    created = Change.objects.filter(operation="CREATE").get()
    with sealing.worker(), as_of(created.committed_at):
        past = User.objects.get(pk=ann.pk)
        assert past.last_name == "Miller" and past.email is None
        assert {"email", "first_name"} <= set(past.unknown_fields)
