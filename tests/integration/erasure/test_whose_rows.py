"""Whose each side of a change is, however keys pass from one to another, by a model of what was written."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import connection, transaction

from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.integration.erasure.conftest import Bemi
from tests.support.pipeline import Drain
from tests.support.project_database import execute

_TABLES = """
CREATE TABLE keeper (id int PRIMARY KEY, text text);
CREATE TABLE crate (id int PRIMARY KEY, owner int REFERENCES keeper
    ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, text text);
CREATE TABLE slip (id int PRIMARY KEY, crate int REFERENCES crate
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, text text)
"""
#: The first seed has a key that is given to another row within a transaction.
_SEEDS = range(8, 8 + int(os.environ.get("BEMI_ERASURES", "1")))
_KEYS = range(1, 6)

Owners = tuple[int | None, int | None]


class Model:
    """Writes people, their parcels and the lines of these, and knows whose each side of each change is."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._texts = 0
        self._people = 0
        self._person: dict[int, int] = {}
        self._parcel: dict[int, int] = {}
        self._line: dict[int, int] = {}
        #: Who had a key last, and whether they were deleted with it.
        self.last: dict[int, tuple[int, bool]] = {}
        #: By table and key, whose the row was before and after each change.
        self.owners: defaultdict[tuple[str, int], list[Owners]] = defaultdict(list)

    def write(self) -> None:
        """Write a transaction."""
        with transaction.atomic(), connection.cursor() as cursor:
            for _ in range(self._chance.randint(1, 8)):
                self._step(cursor)

    def asked(self) -> Iterator[tuple[int, int]]:
        """Yield the people who can be asked for, by the keys that they had last."""
        for key, (person, _) in self.last.items():
            if self._person.get(key, person) == person and (key in self._person or self.last[key][1]):
                yield key, person

    def _step(self, cursor: Any) -> None:
        free = [key for key in _KEYS if key not in self._person]
        if free and (not self._person or self._chance.random() < 0.15):
            self._add_person(cursor, self._chance.choice(free))
            return
        if not self._person:
            return
        key = self._chance.choice(list(self._person))
        ways = [self._add_parcel] * 3 + [self._delete_person, self._change_person]
        ways += [self._move_person] if free else []
        if self._parcel:
            ways += [
                self._change_parcel,
                self._change_parcel,
                self._delete_parcel,
                self._add_line,
                self._add_line,
            ]
        if self._line:
            ways += [self._change_line, self._change_line, self._delete_line]
        self._chance.choice(ways)(cursor, key)

    def _run(self, cursor: Any, statement: str, *values: int) -> None:
        self._texts += 1
        cursor.execute(statement, {**dict(zip("abc", values, strict=False)), "text": f"text {self._texts}."})

    def _note(self, table: str, key: int, before: int | None, after: int | None) -> None:
        self.owners[table, key].append((before, after))

    def _owner(self, parcel: int) -> int:
        return self._person[self._parcel[parcel]]

    def _add_person(self, cursor: Any, key: int) -> None:
        person, is_deleted = self.last.get(key, (0, False))
        if not is_deleted:
            self._people += 1
            person = self._people
        self._person[key], self.last[key] = person, (person, False)
        if self._chance.random() < 0.5:
            self._add_parcel(cursor, key)
        self._run(cursor, "INSERT INTO keeper VALUES (%(a)s, %(text)s)", key)
        self._note("keeper", key, None, person)

    def _move_person(self, cursor: Any, key: int) -> None:
        new = self._chance.choice([each for each in _KEYS if each not in self._person])
        self._run(cursor, "UPDATE keeper SET id = %(a)s, text = %(text)s WHERE id = %(b)s", new, key)
        person = self._person[new] = self._person.pop(key)
        self.last[new], self.last[key] = (person, False), (0, False)
        self._note("keeper", new, person, person)
        for parcel in [each for each, owner in self._parcel.items() if owner == key]:
            self._parcel[parcel] = new
            self._note("crate", parcel, person, person)

    def _change_person(self, cursor: Any, key: int) -> None:
        self._run(cursor, "UPDATE keeper SET text = %(text)s WHERE id = %(a)s", key)
        self._note("keeper", key, self._person[key], self._person[key])

    def _delete_person(self, cursor: Any, key: int) -> None:
        if self._chance.random() < 0.5:
            return
        self._run(cursor, "DELETE FROM keeper WHERE id = %(a)s", key)
        person = self._person.pop(key)
        self.last[key] = person, True
        self._note("keeper", key, person, None)
        for parcel in [each for each, owner in self._parcel.items() if owner == key]:
            self._forget_parcel(parcel, person)

    def _add_parcel(self, cursor: Any, key: int) -> None:
        free = [each for each in _KEYS if each not in self._parcel]
        if free:
            parcel = self._chance.choice(free)
            self._parcel[parcel] = key
            if self._chance.random() < 0.5:
                self._add_line(cursor, key, parcel)
            self._run(cursor, "INSERT INTO crate VALUES (%(a)s, %(b)s, %(text)s)", parcel, key)
            self._note("crate", parcel, None, self._person[key])

    def _change_parcel(self, cursor: Any, key: int) -> None:
        parcel = self._chance.choice(list(self._parcel))
        owner = self._owner(parcel)
        self._parcel[parcel] = key
        self._run(cursor, "UPDATE crate SET owner = %(b)s, text = %(text)s WHERE id = %(a)s", parcel, key)
        self._note("crate", parcel, owner, self._person[key])

    def _delete_parcel(self, cursor: Any, key: int) -> None:
        parcel = self._chance.choice(list(self._parcel))
        owner = self._owner(parcel)
        self._run(cursor, "DELETE FROM crate WHERE id = %(a)s", parcel)
        self._forget_parcel(parcel, owner)

    def _forget_parcel(self, parcel: int, owner: int) -> None:
        del self._parcel[parcel]
        self._note("crate", parcel, owner, None)
        for line in [each for each, of in self._line.items() if of == parcel]:
            del self._line[line]
            self._note("slip", line, owner, None)

    def _add_line(self, cursor: Any, key: int, parcel: int = 0) -> None:
        free = [each for each in _KEYS if each not in self._line]
        if free:
            line, of = self._chance.choice(free), parcel or self._chance.choice(list(self._parcel))
            self._run(cursor, "INSERT INTO slip VALUES (%(a)s, %(b)s, %(text)s)", line, of)
            self._line[line] = of
            self._note("slip", line, None, self._owner(of))

    def _change_line(self, cursor: Any, key: int) -> None:
        line, of = self._chance.choice(list(self._line)), self._chance.choice(list(self._parcel))
        self._note("slip", line, self._owner(self._line[line]), self._owner(of))
        self._line[line] = of
        self._run(cursor, "UPDATE slip SET crate = %(b)s, text = %(text)s WHERE id = %(a)s", line, of)

    def _delete_line(self, cursor: Any, key: int) -> None:
        line = self._chance.choice(list(self._line))
        self._note("slip", line, self._owner(self._line.pop(line)), None)
        self._run(cursor, "DELETE FROM slip WHERE id = %(a)s", line)


@pytest.fixture
def tables(drain: Drain) -> Iterator[None]:
    execute(_TABLES)
    tracking.sync()
    yield
    execute("DROP TABLE slip, crate, keeper")


@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_somebodys_is_disclosed_and_erased_and_nothing_of_others(
    tables: None, bemi: Bemi, drain: Drain, tmp_path: Path, seed: int
) -> None:
    model = Model(seed)
    for _ in range(40):
        model.write()
    drain()
    changes: defaultdict[tuple[str, int], list[Change]] = defaultdict(list)
    for change in Change.objects.filter(table__in=("keeper", "crate", "slip")).order_by("id"):
        changes[change.table, int(change.primary_key or 0)].append(change)
    assert {place: len(found) for place, found in changes.items()} == {
        place: len(owners) for place, owners in model.owners.items()
    }
    own: defaultdict[int, set[str]] = defaultdict(set)
    texts = set()
    for place, owners in model.owners.items():
        for change, sides in zip(changes[place], owners, strict=True):
            for side, image, owner in zip(
                ("before", "after"), (change.before, change.after), sides, strict=True
            ):
                if owner is not None:
                    own[owner].add(f"{change.pk} {side} {image['text']}")
                    texts.add(f"{change.pk} {side} {image['text']}")
    key, person = next(model.asked())
    target = tmp_path / "one.json"
    bemi("subject", f"public.keeper:{key}", "--export", str(target))
    disclosed = json.loads(target.read_text())["changes"]
    assert {
        f"{one['id']} {side} {one[side]['text']}"
        for one in disclosed
        for side in ("before", "after")
        if one[side]
    } == own[person]
    bemi("erase", f"public.keeper:{key}", "--related", "--reason", "request 7", "--no-input")
    left = {
        f"{change.pk} {side} {image['text']}"
        for change in Change.objects.filter(table__in=("keeper", "crate", "slip")).exclude(operation="ERASED")
        for side, image in (("before", change.before), ("after", change.after))
        if image.get("text")
    }
    assert left == texts - own[person] and own[person]
