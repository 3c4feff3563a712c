"""Encrypted values are read by those who may, and put back by reverts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from bemi_django import bound_context, destinations
from bemi_django.admin.access import own_events
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.pages.history.field_values import FieldHistory, field_history
from bemi_django.admin.pages.history.object_state import ObjectState
from bemi_django.admin.pages.history.subject import subject_of
from bemi_django.encryption import key_table
from bemi_django.encryption.decryption import decrypt
from bemi_django.encryption.subject_key import PREFIX
from bemi_django.exceptions import RevertConflict
from bemi_django.log.blame import blame
from bemi_django.masking.settings import rules_of
from bemi_django.models import Change
from tests.integration.encryption.conftest import KEY, REASON, bemi, logged
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Pipeline

MASK = "••••••"


@pytest.fixture
def moved(pipeline: Pipeline) -> Change:
    """A user got another address."""
    ann = User.objects.create(username="eve", email="ann@example.org", first_name="Ann")
    User.objects.filter(pk=ann.pk).update(email="ann@example.net")
    *_, moved = logged(pipeline, table="auth_user")
    return moved


def test_an_update_of_an_encrypted_column_is_undone(moved: Change) -> None:
    assert moved.revert().is_applied
    assert User.objects.get().email == "ann@example.org"


def test_an_update_of_another_column_is_undone_although_the_key_is_gone(
    pipeline: Pipeline, moved: Change
) -> None:
    User.objects.update(username="bea")
    bemi("erase", f"auth.User:{moved.primary_key}", "--only-keys", *REASON)
    *_, named = logged(pipeline, table="auth_user", operation="UPDATE")
    assert named.revert().is_applied
    assert User.objects.get().username == "eve"


def test_blame_prints_no_value_that_the_log_must_not_have(pipeline: Pipeline) -> None:
    pipeline.stop()
    rules = {"auth_user.email": "hash", "auth_user.last_name": "partial", "auth_user.first_name": "encrypt"}
    pipeline.config = pipeline.config._replace(masking=rules_of(rules, KEY, None, KEY))
    user = User.objects.create(username="eve", password="zq1", email="zq2", last_name="zq3", first_name="Ann")
    logged(pipeline)
    printed = bemi("blame", f"auth.User:{user.pk}")
    assert "zq" not in printed and "Ann" in printed
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}
    assert [lines[name][::3] for name in ("password", "email", "last_name")] == [["***", "CREATE"]] * 3
    found = {name for name, line in blame(user).items() if line.is_masked}
    assert found == {"password", "email", "last_name"}


def test_without_the_key_there_is_a_conflict(moved: Change) -> None:
    bemi("erase", f"auth.User:{moved.primary_key}", "--only-keys", *REASON)
    with pytest.raises(RevertConflict, match="email cannot be put back"):
        moved.revert()
    assert User.objects.get().email == "ann@example.net"


def test_a_deleted_row_gets_its_encrypted_values_back(pipeline: Pipeline, moved: Change) -> None:
    User.objects.all().delete()
    *_, deleted = logged(pipeline, table="auth_user", operation="DELETE")
    deleted.revert(values={"password": "!"})
    found = User.objects.get()
    assert (found.email, found.first_name) == ("ann@example.net", "Ann")


def pages(change: Change) -> list[str]:
    timeline = f"timeline/auth/user/{change.primary_key}/"
    exports = [f"export/?format={name}" for name in ("csv", "jsonl")]
    return [
        "",
        f"{change.pk}/change/",
        f"revert/?change={change.pk}",
        timeline,
        f"{timeline}?field=email",
        *exports,
    ]


def text_of(client: Client, page: str) -> str:
    answer: Any = client.get(f"{LIST}{page}", follow=True)
    assert answer.status_code == 200, page
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return bytes(content).decode()


RIGHTS = [f"bemi_django.{action}_change" for action in ("view", "export", "revert")]
RIGHTS += [f"auth.{action}_user" for action in ("view", "change")]


def test_who_may_not_see_what_is_masked_sees_no_encrypted_value(moved: Change) -> None:
    curious = visitor(*RIGHTS)
    for page in pages(moved):
        text = text_of(curious, page)
        for secret in ("ann@example", PREFIX):
            assert secret not in text, page
    assert MASK in text_of(curious, f"{moved.pk}/change/")


def test_a_revert_shows_no_value_that_was_encrypted_by_a_former_rule(moved: Change, settings: Any) -> None:
    settings.BEMI_MASK = {}
    page = f"revert/?change={moved.pk}"
    curious, trusted = visitor(*RIGHTS), visitor(*RIGHTS, "bemi_django.unmask_change", name="eve2")
    assert "ann@example" not in text_of(curious, page)
    assert "ann@example.org" in text_of(trusted, page)
    # Nor what a conflict is about.
    User.objects.filter(username="eve").update(email="ann@example.com")
    assert "ann@example" not in text_of(curious, page)
    assert "ann@example.com" in text_of(trusted, page)


def test_who_may_see_what_is_masked_sees_encrypted_values(moved: Change) -> None:
    trusted = visitor(*RIGHTS, "bemi_django.unmask_change")
    for page in pages(moved):
        text = text_of(trusted, page)
        assert "ann@example" in text or page == "", page
        assert PREFIX not in text, page


def test_values_that_a_former_rule_has_encrypted_are_recorded_when_they_are_shown(
    moved: Change, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_MASK, settings.BEMI_MASKED_FIELDS = {}, []
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(own_events, "note", lambda event, *given, **details: noted.append(details))
    trusted = visitor(*RIGHTS, "bemi_django.unmask_change")
    for page in pages(moved):
        noted.clear()
        if "ann@example" not in text_of(trusted, page):
            assert page == ""
            continue
        (details,) = noted
        if "is_unmasked" in details:
            assert details["is_unmasked"], page
        else:
            assert "email" in details["columns"]["public.auth_user"], page
            assert details["keys"] == {"public.auth_user": [moved.primary_key]}, page


def test_an_export_asks_for_all_keys_at_once(pipeline: Pipeline, moved: Change) -> None:
    for name in ("bea", "cid"):
        User.objects.create(username=name, email=f"{name}@example.org")
    logged(pipeline, table="auth_user")
    trusted = visitor(*RIGHTS, "bemi_django.unmask_change")
    with CaptureQueriesContext(connection) as queries:
        text = text_of(trusted, "export/?format=jsonl")
    assert all(f"{name}@example.org" in text for name in ("ann", "bea", "cid"))
    asked = [query for query in queries.captured_queries if "wrapped FROM _bemi.subject_keys" in query["sql"]]
    assert len(asked) == 1


def test_nobody_sees_a_value_whose_key_is_gone(moved: Change) -> None:
    bemi("erase", f"auth.User:{moved.primary_key}", "--only-keys", *REASON)
    User.objects.filter(username="eve").update(email="")
    trusted = visitor(*RIGHTS, "bemi_django.unmask_change")
    for page in pages(moved):
        text = text_of(trusted, page)
        assert "ann@example" not in text and PREFIX not in text, page


def test_a_role_without_the_right_to_the_keys_reads_nothing(
    moved: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_table, "_MAY_READ", "SELECT false")
    assert moved.decrypted().unreadable == {"email", "first_name"}
    trusted = visitor(*RIGHTS, "bemi_django.unmask_change")
    text = text_of(trusted, f"{moved.pk}/change/")
    assert MASK in text and PREFIX not in text and "ann@example" not in text
    with pytest.raises(RevertConflict, match="email cannot be put back"):
        moved.revert()


def test_a_person_gets_their_encrypted_values_and_no_others(pipeline: Pipeline, tmp_path: Path) -> None:
    ann = User.objects.create(username="ann", email="ann@example.org")
    with bound_context(user_id=ann.pk):
        User.objects.create(username="bob", email="bob@example.org")
    logged(pipeline)
    bemi("subject", f"auth.User:{ann.pk}", "--export", str(tmp_path))
    changes = json.loads((tmp_path / "subject.json").read_text())["changes"]
    assert [(one["relation"], one["after"]["email"]) for one in changes] == [
        ("own", "ann@example.org"),
        ("made", "***"),
    ]


def state_of(change: Change, *permissions: str) -> tuple[ObjectState, FieldHistory]:
    """Return what somebody sees of the user whose change it is: the fields, and the values of the address."""
    request = RequestFactory().get("/")
    client = visitor(*RIGHTS, *permissions)
    request.user = User.objects.get(pk=client.session["_auth_user_id"])
    subject = subject_of(Viewer(request, admin.site), "auth", "user", str(change.primary_key))
    return ObjectState(subject), field_history(subject, "email")


@pytest.mark.parametrize("permissions", [[], ["bemi_django.unmask_change"]])
def test_the_history_of_an_object_is_that_of_its_values(moved: Change, permissions: list[str]) -> None:
    state, history = state_of(moved, *permissions)
    values = state.values(moved.committed_at)
    assert values is not None and PREFIX not in str(values["email"])
    assert ("@example" in values["email"]) is bool(permissions)
    setter = state.setters()["email"]
    assert not setter.is_pending and setter.change == moved
    assert len(history.values()) == 2


def test_who_set_a_value_is_known_after_its_key_is_gone(moved: Change) -> None:
    user = User.objects.get(pk=str(moved.primary_key))
    found = blame(user)["email"]
    assert (found.change, found.is_erased, found.previous) == (
        moved,
        False,
        moved.decrypted().before["email"],
    )
    bemi("erase", f"auth.User:{user.pk}", "--only-keys", *REASON)
    found = blame(user)["email"]
    assert (found.change, found.is_erased, found.is_pending) == (moved, True, False)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_keys_are_where_the_first_destination_is(moved: Change, settings: Any) -> None:
    """The worker writes them there, whichever log is looked at or erased from."""
    settings.BEMI_DESTINATIONS = {"other": {"tables": ["public.tag"]}}
    with destinations.choosing("other"):
        (rows,) = decrypt([moved], json.loads)
        assert rows.after["email"] == "ann@example.net" and not rows.erased
