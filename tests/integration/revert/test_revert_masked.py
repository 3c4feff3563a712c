"""A revert never writes what a mask has left of a value."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from bemi_django.exceptions import RevertConflict
from bemi_django.models import Change
from tests.support.pipeline import Drain


def last(drain: Drain) -> Change:
    return [change for change in drain() if change.table == "auth_user"][-1]


def test_an_update_of_other_columns_is_undone(drain: Drain) -> None:
    user = User.objects.create_user("ann", email="old@example.com", password="x")
    User.objects.update(email="new@example.com")
    last(drain).revert()
    found = User.objects.get()
    assert (found.email, found.password) == ("old@example.com", user.password)


def test_an_update_of_a_masked_column_is_a_conflict(drain: Drain) -> None:
    user = User.objects.create_user("ann", password="x")
    drain()
    user.set_password("y")
    user.save(update_fields=["password"])
    change = last(drain)
    with pytest.raises(RevertConflict, match="password cannot be put back, because it is masked"):
        change.revert()
    assert change.revert(on_conflict="skip").is_applied
    change.revert(on_conflict="force")
    assert User.objects.get().password == user.password


def test_a_deleted_row_that_needs_a_masked_value_asks_for_it(drain: Drain) -> None:
    user = User.objects.create_user("ann", password="x")
    User.objects.all().delete()
    change = last(drain)
    for on_conflict in ("stop", "force"):
        with pytest.raises(RevertConflict, match="password must have a value") as raised:
            change.revert(on_conflict=on_conflict)
        assert {conflict.columns for conflict in raised.value.plan.conflicts} == {("password",)}
    assert not User.objects.exists()
    change.revert(values={"password": "!"})
    found = User.objects.get()
    assert (found.pk, found.username, found.password) == (user.pk, "ann", "!")
