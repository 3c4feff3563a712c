"""Models for a test that are made and dropped with it, with a secret in each column, and their changes."""

from __future__ import annotations

import datetime
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import django
from django.db import models

from bemi_django.log.keys import key_of
from bemi_django.log.live.row_session import row_session, rows_of
from bemi_django.log.places import place_of
from bemi_django.schema.sql import quote
from tests.support.audit import record
from tests.support.passing_models import meta_of, passing_models


def declare() -> list[type[models.Model]]:
    """Declare the models: a schema of their own, keys of every kind, labels that print and derive values."""

    class Person(models.Model):
        ssn = models.CharField(max_length=40, primary_key=True)
        name = models.CharField(max_length=40)
        born = models.DateField()
        salary = models.DecimalField(max_digits=12, decimal_places=2)
        boss = models.ForeignKey("self", models.CASCADE, null=True)
        Meta = meta_of('hr"."person')

        def __str__(self) -> str:
            return f"{self.name} {self.ssn[-4:]} {self.salary:.2f} {self.born:%d.%m.%Y}"

    class Badge(models.Model):
        code = models.CharField(max_length=40)
        person = models.ForeignKey(Person, models.CASCADE)
        Meta = meta_of("badge")

        def __str__(self) -> str:
            boss = self.person.boss
            return f"{self.code} of {self.person.name}, under {boss.ssn[-4:] if boss else '-'}"

    class Team(models.Model):
        title = models.CharField(max_length=40)
        members = models.ManyToManyField(Person)
        Meta = meta_of("team")

        def __str__(self) -> str:
            return f"{self.title}: {', '.join(str(person) for person in self.members.all())}"

    class Visit(models.Model):
        at = models.DateTimeField(primary_key=True)
        room = models.CharField(max_length=40)
        Meta = meta_of("visit")

        def __str__(self) -> str:
            return f"{self.room} at {self.at:%H:%M:%S.%f}"

    found: list[type[models.Model]] = [Person, Badge, Team, Visit]
    if django.VERSION >= (5, 2):

        class Seat(models.Model):
            pk = models.CompositePrimaryKey("hall", "number")
            hall = models.CharField(max_length=40)
            number = models.IntegerField()
            Meta = meta_of("seat")

            def __str__(self) -> str:
                return f"{self.hall}/{self.number}"

        found.append(Seat)
    return found


def made() -> AbstractContextManager[list[type[models.Model]]]:
    """Make the tables of the models, and forget the models afterwards."""
    return passing_models(declare, "hr")


#: What a secret of each column looks like anywhere, also when it was computed from.
SECRETS: dict[str, list[str]] = {
    "hr.person.ssn": ["SSN-ONE-QX71", "SSN-TWO-QX72", "SSN-OLD-QX73", "QX71", "QX72", "QX73"],
    "hr.person.name": ["Zacharias", "Yolanda"],
    "hr.person.born": ["1931-07-23", "23.07.1931", "1942-08-24", "24.08.1942"],
    "hr.person.salary": ["7654321.09", "8765432.01"],
    "hr.person.boss_id": [],
    "public.badge.id": ["918273645"],
    "public.badge.code": ["BADGE-KW55"],
    "public.badge.person_id": [],
    "public.team.title": ["Team-Rocket"],
    "public.visit.at": ["17:53:29.123457", "18:53:29.123457"],
    "public.visit.room": ["Room-VV9"],
    "public.seat.hall": ["Hall-GG8"],
    "public.seat.number": ["564738291"],
}


def fill(found: list[type[models.Model]]) -> list[Any]:
    """Make a row or two of each model, and the changes of their lives; return the objects."""
    person, badge, team, visit, *composite = (model._default_manager for model in found)
    born = datetime.date(1931, 7, 23)
    boss = person.create(ssn="SSN-ONE-QX71", name="Zacharias", born=born, salary=Decimal("7654321.09"))
    other = person.create(
        ssn="SSN-TWO-QX72",
        name="Yolanda",
        born=datetime.date(1942, 8, 24),
        salary=Decimal("8765432.01"),
        boss=boss,
    )
    worn = badge.create(id=918273645, code="BADGE-KW55", person=other)
    group: Any = team.create(title="Team-Rocket")
    group.members.add(boss, other)
    moment = datetime.datetime(2026, 3, 1, 17, 53, 29, 123457, tzinfo=datetime.timezone.utc)
    objects = [boss, other, worn, group, visit.create(at=moment, room="Room-VV9")]
    objects += [manager.create(hall="Hall-GG8", number=564738291) for manager in composite]
    joins = list(type(group).members.through._default_manager.all())
    for number, instance in enumerate([*objects, *joins]):
        _live(1000 + number * 10, instance)
    return objects


def _live(number: int, instance: models.Model) -> None:
    """Record that a row was inserted, got its key from another one, and was deleted and inserted again."""
    place = place_of(type(instance), "default")
    with row_session("default") as cursor:
        name = f"{quote(place.schema)}.{quote(place.table)}"
        cursor.execute(f"SELECT to_jsonb(r.*)::text FROM {name} r")  # noqa: S608 - quoted
        key = key_of(instance)
        row = next(
            row for (row,) in rows_of(cursor) if key_of(type(instance)(**_values(instance, row))) == key
        )
    values = ", ".join(repr(str(value)) for value in row.values())
    statement = f"INSERT INTO {place.table} VALUES ({values})"  # noqa: S608 - it is not run
    common = {"schema": place.schema, "table": place.table, "primary_key": key}
    context = {"SQL": statement, "db_user": "x"}
    record(number, **common, operation="CREATE", before={}, after=row, context=context)
    old = {**row, "ssn": "SSN-OLD-QX73"} if "ssn" in row else row
    previous = "SSN-OLD-QX73" if "ssn" in row else key
    record(number + 1, **common, before=old, after=row, previous_primary_key=previous, context={"user_id": 1})
    record(
        number + 2, **common, operation="DELETE", before=row, after={}, context={"_bemi_invalid": statement}
    )
    # A trigger's row in a table of nobody, by the same statement; and a table that is gone.
    record(number + 3, table="journal", before={}, after={"n": 1}, operation="CREATE", context=context)


def _values(instance: models.Model, row: dict[str, Any]) -> dict[str, Any]:
    fields = {field.column: field for field in instance._meta.concrete_fields}
    return {fields[name].attname: fields[name].to_python(value) for name, value in row.items()}
