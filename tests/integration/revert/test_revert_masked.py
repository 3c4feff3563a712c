"""A revert never writes what a mask has left of a value."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from bemi_django.exceptions import RevertConflict
from bemi_django.log import conditions
from bemi_django.log.blame import blame
from bemi_django.models import Change
from tests.support.audit import LIST, visitor
from tests.support.pipeline import Drain


def last(drain: Drain) -> Change:
    return [change for change in drain() if change.table == "auth_user"][-1]


def test_an_update_of_other_columns_is_undone(drain: Drain) -> None:
    user = User.objects.create_user("ann", email="old@example.com", password="x")
    User.objects.update(email="new@example.com")
    last(drain).revert()
    found = User.objects.get()
    assert (found.email, found.password) == ("old@example.com", user.password)


def sqlalchemy_keys(engine: Any) -> list[UUID]:
    """The ids of changes of passwords, as SQLAlchemy finds them."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from bemi_django.integrations.sqlalchemy_changes import Change as Row
    from bemi_django.integrations.sqlalchemy_changes import field_changed

    with engine.connect() as opened:
        question = sqlalchemy.select(Row.id).where(field_changed("password"))
        return [UUID(str(found)) for (found,) in opened.execute(question)]


@pytest.mark.parametrize("beside", [(), ("last_name",)])
def test_an_update_of_a_masked_column_is_told_and_is_a_conflict(
    drain: Drain, engine: Any, beside: tuple[str, ...]
) -> None:
    user = User.objects.create_user("ann", password="x")
    created = last(drain)
    assert blame(user)["password"].change == created
    user.set_password("y")
    user.last_name = "Doe"
    user.save(update_fields=["password", *beside])
    change = last(drain)
    assert blame(user)["password"].change == change
    assert Change.objects.field_changed("password").get() == change
    assert list(Change.objects.updated().exclude(conditions.changed(["password"]))) == []
    assert sqlalchemy_keys(engine) == [change.pk]
    viewer = visitor("bemi_django.view_change", "auth.view_user", name="bob")
    page = viewer.get(LIST).content.decode()
    named = " and ".join(sorted([*(name.replace("_", " ") for name in beside), "password"]))
    assert f"changed {named} of" in page
    assert (
        str(change.pk) in viewer.get(f"{LIST}timeline/auth/user/{user.pk}/?field=password").content.decode()
    )
    with pytest.raises(RevertConflict, match="password cannot be put back, because it is masked"):
        change.revert()
    assert change.revert(on_conflict="skip").is_applied
    change.revert(on_conflict="force")
    found_user = User.objects.get(pk=user.pk)
    assert (found_user.password, found_user.last_name) == (user.password, "")


def test_an_update_without_a_difference_has_no_conflict(drain: Drain) -> None:
    User.objects.create_user("ann", password="x")
    User.objects.update(username="ann")
    change = last(drain)
    assert not change.revert().conflicts and not Change.objects.field_changed("password")


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
