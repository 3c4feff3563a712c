"""Models of unusual shapes, for tests of what is derived from models."""

from __future__ import annotations

import uuid
from typing import Any

import django
from django.contrib.postgres import fields as postgres
from django.contrib.postgres.search import SearchVectorField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Colour(models.TextChoices):
    RED = "r", "Red"
    GREEN = "g", "Green"


class Size(models.IntegerChoices):
    SMALL = 1, "Small"
    LARGE = 2, "Large"


class PointField(models.Field):  # type: ignore[type-arg]
    """A custom field whose column type Django does not use."""

    def db_type(self, connection: Any) -> str:
        return "point"


class CodeField(models.CharField):  # type: ignore[type-arg]
    """A custom field that stores what a field of Django stores."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "max_length": 12})


class CitextField(models.TextField):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "citext"


class Everything(models.Model):
    """One column of each type."""

    big = models.BigIntegerField(null=True)
    small = models.SmallIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    flag = models.BooleanField(null=True)
    real = models.FloatField(null=True)
    amount = models.DecimalField(max_digits=12, decimal_places=3, null=True)
    name = models.CharField(max_length=80, null=True)
    note = models.TextField(null=True)
    slug = models.SlugField(null=True)
    mail = models.EmailField(null=True)
    file = models.FileField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    raw = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)
    key = models.UUIDField(null=True)
    data = models.JSONField(null=True)
    coded = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    colour = models.CharField(max_length=1, choices=Colour.choices, null=True)
    size = models.IntegerField(choices=Size.choices, null=True)
    numbers = postgres.ArrayField(models.IntegerField(), null=True)
    grid = postgres.ArrayField(postgres.ArrayField(models.CharField(max_length=9), size=2), null=True)
    keys = postgres.ArrayField(models.UUIDField(), null=True)
    pairs = postgres.HStoreField(null=True)
    ints = postgres.IntegerRangeField(null=True)
    bigs = postgres.BigIntegerRangeField(null=True)
    decimals = postgres.DecimalRangeField(null=True)
    days = postgres.DateRangeField(null=True)
    moments = postgres.DateTimeRangeField(null=True)
    vector = SearchVectorField(null=True)
    cased = CitextField(null=True)
    place = PointField(null=True)
    code = CodeField(null=True)


def two() -> list[int]:
    return [1, 2]


class Defaults(models.Model):
    """Values that Django fills in."""

    flag = models.BooleanField(default=False)
    colour = models.CharField(max_length=1, choices=Colour.choices, default=Colour.RED)
    numbers = postgres.ArrayField(models.IntegerField(), default=two)
    key = models.UUIDField(default=uuid.uuid4)
    data = models.JSONField(default=dict)
    since = models.DateTimeField(default=timezone.now)
    empty = models.CharField(max_length=9)
    unknown = models.IntegerField(null=True)
    made_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    changed_on = models.DateField(auto_now=True)


class Odd(models.Model):
    """Unusual names of columns."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_column="the key")
    percent = models.IntegerField(db_column="Part (of: it)")
    metadata = models.CharField(max_length=9, db_column="Meta Data")
    parent = models.ForeignKey("self", models.CASCADE, null=True, db_column="Up", related_name="children")

    class Meta:
        db_table = '"odd Table"'


class Elsewhere(models.Model):
    """A table in another schema, by the usual trick with quotes."""

    code = models.CharField(max_length=9, primary_key=True)
    # Django does not find the table when it flushes the database.
    odd = models.OneToOneField(Odd, models.SET_NULL, null=True, related_name="elsewhere", db_constraint=False)

    class Meta:
        db_table = '"other schema"."Else where"'


class Named(models.Model):
    name = models.CharField(max_length=40)

    class Meta:
        abstract = True


class Person(Named):
    friends = models.ManyToManyField("self")
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")
    boss = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")


class Place(Named):
    owner = models.ForeignKey(Person, models.PROTECT, null=True, related_name="places")


class Restaurant(Place):
    stars = models.IntegerField(default=0)


class Pizzeria(Restaurant):
    oven = models.CharField(max_length=9, default="wood")
    guests = models.ManyToManyField(Person, through="Visit", related_name="visited")
    cooks = models.ManyToManyField(Person, through="Shift", related_name="+")


class Grand(Restaurant):
    class Meta:
        proxy = True


class Visit(models.Model):
    """A through table with a column of its own."""

    person = models.ForeignKey(Person, models.CASCADE)
    pizzeria = models.ForeignKey(Pizzeria, models.CASCADE)
    bill = models.DecimalField(max_digits=8, decimal_places=2, default=0)


class Shift(models.Model):
    """A through table without one."""

    cook = models.ForeignKey(Person, models.CASCADE, related_name="shifts")
    at = models.ForeignKey(Pizzeria, models.CASCADE, related_name="+")


class Review(models.Model):
    """A relation to a proxy model."""

    of = models.ForeignKey(Grand, models.CASCADE, related_name="reviews")
    text = models.TextField(default="")


if django.VERSION >= (5, 0):

    class Computed(models.Model):
        """Values that the database fills in."""

        side = models.IntegerField()
        area = models.GeneratedField(
            expression=models.F("side") * models.F("side"),
            output_field=models.BigIntegerField(),
            db_persist=True,
        )
        state = models.CharField(max_length=9, db_default="new")
        both = models.IntegerField(default=1, db_default=2)


if django.VERSION >= (5, 2):

    class Line(models.Model):
        """A key of two columns."""

        pk = models.CompositePrimaryKey("order_id", "number")
        order = models.ForeignKey(Odd, models.CASCADE, related_name="lines")
        number = models.IntegerField()
        text = models.CharField(max_length=9, default="")
