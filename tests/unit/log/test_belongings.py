"""Which rows refer to an object, as the models say."""

from __future__ import annotations

from django.db import models
from django.test.utils import isolate_apps

from bemi_django.log.belongings import unconstrained
from tests.support.passing_models import meta_of


@isolate_apps("tests.shop")
def test_what_no_constraint_holds_is_known() -> None:
    class Parent(models.Model):  # noqa: DJ008
        code = models.CharField(max_length=9, unique=True)
        Meta = meta_of("parent")

    class Child(models.Model):  # noqa: DJ008
        code = models.CharField(max_length=9)
        held = models.ForeignKey(Parent, models.CASCADE, related_name="+")
        loose = models.ForeignKey(Parent, models.CASCADE, related_name="+", db_constraint=False)
        pair = models.ForeignObject(Parent, models.CASCADE, ["code"], ["code"], related_name="+")
        Meta = meta_of("child")

    assert [field.name for field in unconstrained(Parent)] == ["loose", "pair"]
