"""Whose each side of a change is in random tables: rows are told apart by reading the log from its start."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction

from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.integration.erasure.conftest import Bemi
from tests.support.pipeline import Drain
from tests.support.project_database import execute

#: The first one is quick.
_SEEDS = range(10, 10 + int(os.environ.get("BEMI_ERASURES", "1")))
_STEPS = int(os.environ.get("BEMI_ERASURE_STEPS", "8"))
_SIDES = ("before", "after")

_INSERT = "INSERT INTO {} ({}) VALUES ({})"
_UPDATE = "UPDATE {} SET {} WHERE {}"
_DELETE = "DELETE FROM {} WHERE {}"
_SELECT = "SELECT {} FROM {} WHERE {}"
_FOREIGN_KEY = "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE ON UPDATE CASCADE"
_ALL = "SELECT {0} FROM {1} ORDER BY {0}"

# A column that is a key, too.
_OTHER = "u"

Key = tuple[Any, ...]
Side = tuple[str, str]


class Reference(NamedTuple):
    """Columns that refer to the key of a table, or to its other key."""

    columns: list[str]
    parent: Table
    parent_columns: list[str]
    is_optional: bool


class Table:
    """A table of people, or of what refers to one before it, or to two, and maybe to itself."""

    def __init__(self, number: int, chance: Random, earlier: list[Table]) -> None:
        self.name = f"whose_{number}"
        self.types = chance.choice([["int"], ["int"], ["uuid"], ["int", "int"]])
        self.key = [f"k{place}" for place in range(len(self.types))]
        parents = [earlier[-1], *chance.sample(earlier, chance.randint(0, 1))] if earlier else []
        self.has_other_key = chance.random() < 0.4
        self.references = [
            self._reference(f"r{place}", parent, chance) for place, parent in enumerate(parents)
        ]
        if chance.random() < 0.4:
            self.references.append(self._reference("s", self, chance))

    def _reference(self, prefix: str, parent: Table, chance: Random) -> Reference:
        is_other = parent.has_other_key and chance.random() < 0.7
        names = [_OTHER] if is_other else parent.key
        return Reference([f"{prefix}_{name}" for name in names], parent, names, parent is self)

    def definition(self) -> str:
        """Return the statement that creates it."""
        columns = [f"{name} {type}" for name, type in zip(self.key, self.types, strict=True)]
        columns += [f"{_OTHER} int UNIQUE"] * self.has_other_key
        keys = [f"PRIMARY KEY ({', '.join(self.key)})"]
        for names, parent, parent_names, is_optional in self.references:
            types = zip(names, ["int"] if parent_names == [_OTHER] else parent.types, strict=True)
            columns += [f"{name} {type} {'' if is_optional else 'NOT NULL'}" for name, type in types]
            keys.append(_FOREIGN_KEY.format(", ".join(names), parent.name, ", ".join(parent_names)))
        return f"CREATE TABLE {self.name} ({', '.join([*columns, 'note text', *keys])})"

    def any_key(self, chance: Random) -> Key:
        """Return one of few keys, so that they are used again."""
        number = [chance.randint(1, 4) for _ in self.types]
        return tuple(
            str(UUID(int=each)) if type == "uuid" else each
            for each, type in zip(number, self.types, strict=True)
        )

    def any_other_key(self, chance: Random) -> dict[str, Any]:
        """Return a value of the other key, if there is one."""
        return {_OTHER: chance.randint(1, 4)} if self.has_other_key else {}

    def key_of(self, row: dict[str, Any]) -> Key:
        """Return the key of a row."""
        return tuple(row[name] for name in self.key)


class Writer:
    """Writes whatever the constraints allow."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.tables: list[Table] = []
        for number in range(self.chance.randint(1, 4)):
            self.tables.append(Table(number, self.chance, self.tables[:]))
        self._notes = 0

    def write(self) -> None:
        """Write a transaction."""
        with transaction.atomic(), connection.cursor() as cursor:
            for _ in range(self.chance.randint(1, 6)):
                self._step(cursor, self.chance.choice(self.tables))

    def _step(self, cursor: Any, table: Table) -> None:
        keys, how = self._keys(cursor, table, table.key), self.chance.random()
        where = " AND ".join(f"{name} = %s" for name in table.key)
        self._notes += 1
        note = f"text {self._notes}."
        if how < 0.4 or not keys:
            given = dict(zip(table.key, table.any_key(self.chance), strict=True))
            given |= table.any_other_key(self.chance)
            for reference in table.references:
                given |= self._referring(cursor, reference, may_be_none=True)
            names, values = ["note", *given], [note, *given.values()]
            places = ", ".join("%s" for _ in names)
            self._run(cursor, _INSERT.format(table.name, ", ".join(names), places), values)
            return
        key, given = self.chance.choice(keys), dict[str, Any]()
        if 0.6 <= how < 0.8 and table.references:
            # A row that comes from nobody, or goes to nobody, has another test.
            reference = self.chance.choice(table.references)
            cursor.execute(_SELECT.format(reference.columns[0], table.name, where), key)
            if cursor.fetchone() != (None,):
                given = self._referring(cursor, reference, may_be_none=False)
        elif 0.8 <= how < 0.9:
            given = table.any_other_key(self.chance)
            if not given or self.chance.random() < 0.5:
                given |= zip(table.key, table.any_key(self.chance), strict=True)
        elif how >= 0.9:
            self._run(cursor, _DELETE.format(table.name, where), [*key])
            return
        changed = ", ".join(f"{name} = %s" for name in ("note", *given))
        self._run(cursor, _UPDATE.format(table.name, changed, where), [note, *given.values(), *key])

    def _referring(self, cursor: Any, reference: Reference, *, may_be_none: bool) -> dict[str, Any]:
        keys = self._keys(cursor, reference.parent, reference.parent_columns)
        is_none = not keys or (may_be_none and reference.is_optional and self.chance.random() < 0.5)
        return {} if is_none else dict(zip(reference.columns, self.chance.choice(keys), strict=True))

    def _keys(self, cursor: Any, table: Table, columns: list[str]) -> list[Key]:
        cursor.execute(_ALL.format(", ".join(columns), table.name))
        return list(cursor.fetchall())

    def _run(self, cursor: Any, statement: str, values: list[Any]) -> None:
        cursor.execute("SAVEPOINT one")
        try:
            cursor.execute(statement, values)
        except DatabaseError:
            cursor.execute("ROLLBACK TO one")


class Reader:
    """Reads a log from its start, and tells whose each side of each change is."""

    def __init__(self, tables: list[Table]) -> None:
        self._tables = {table.name: table for table in tables}
        self._rows: dict[str, dict[Key, dict[str, Any]]] = {table.name: {} for table in tables}
        self._people: dict[Key, int] = {}
        self._deleted: dict[Key, int] = {}
        self._number = 0
        # Whose rows were that are gone since the transaction began: what is deleted along comes later.
        self._gone: dict[tuple[str, tuple[tuple[str, Any], ...]], set[int]] = {}
        self._transaction: int | None = None
        self.owners: dict[Side, set[int]] = {}

    @property
    def last(self) -> dict[Key, int]:
        """Whose each key was at the end."""
        return self._deleted | self._people

    def read(self, change: Change) -> None:
        """Read the next change."""
        if change.transaction_id != self._transaction:
            self._transaction, self._gone = change.transaction_id, {}
        table = self._tables[change.table]
        before, after = (table.key_of(row) if row else None for row in (change.before, change.after))
        if before is not None:
            self.owners[str(change.pk), "before"] = own = self._own(table, change.before, frozenset())
            for names in (table.key, [_OTHER]):
                self._gone[table.name, tuple((name, change.before.get(name)) for name in names)] = own
            del self._rows[table.name][before]
        if table.name.endswith("_0"):
            self._follow(before, after)
        if after is not None:
            self._rows[table.name][after] = change.after
            self.owners[str(change.pk), "after"] = self._own(table, change.after, frozenset())

    def _follow(self, before: Key | None, after: Key | None) -> None:
        """Follow a person from key to key; with the key of one who was deleted, they come back."""
        if before is None and after is not None:
            self._number += 1
            self._people[after] = self._deleted.pop(after, self._number)
        elif before is not None and after is None:
            self._deleted[before] = self._people.pop(before)
        elif before is not None and after is not None and before != after:
            self._deleted.pop(after, None)
            self._people[after] = self._people.pop(before)

    def _own(self, table: Table, row: dict[str, Any], seen: frozenset[tuple[str, Key]]) -> set[int]:
        place = table.name, table.key_of(row)
        if place in seen:
            return set()
        found = {self._people[place[1]]} if table.name.endswith("_0") else set()
        for columns, parent, names, _ in table.references:
            key = [row[name] for name in columns]
            rows = self._rows[parent.name].values()
            having = next((each for each in rows if [each[name] for name in names] == key), None)
            if having is not None:
                found |= self._own(parent, having, seen | {place})
            elif None not in key:
                found |= self._gone[parent.name, tuple(zip(names, key, strict=True))]
        return found


@contextmanager
def tables_of(writer: Writer) -> Iterator[list[str]]:
    names = [table.name for table in writer.tables]
    try:
        for table in writer.tables:
            execute(table.definition())
        tracking.sync()
        yield names
    finally:
        execute(f"DROP TABLE IF EXISTS {', '.join(names)} CASCADE")


@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_somebodys_is_disclosed_and_erased_and_nothing_of_others(
    bemi: Bemi, drain: Drain, tmp_path: Path, seed: int
) -> None:
    writer = Writer(seed)
    reader = Reader(writer.tables)
    with tables_of(writer) as names:
        for _ in range(_STEPS):
            writer.write()
        drain()
        log = Change.objects.filter(table__in=names, operation__in=("CREATE", "UPDATE", "DELETE"))
        texts: dict[Side, str] = {}
        for change in log.order_by("id"):
            reader.read(change)
            rows = zip(_SIDES, (change.before, change.after), strict=True)
            texts.update({(str(change.pk), side): row["note"] for side, row in rows if row})
        assert texts.keys() == reader.owners.keys()
        key, person = writer.chance.choice(sorted(reader.last.items(), key=str))
        own = {side for side, owners in reader.owners.items() if person in owners}
        asked = f"public.{names[0]}:{json.dumps(key) if len(key) > 1 else key[0]}"
        target = tmp_path / "one.json"
        bemi("subject", asked, "--export", str(target))
        shown = {
            (one["id"], side)
            for one in json.loads(target.read_text())["changes"]
            for side in _SIDES
            if one[side]
        }
        assert (shown - own, own - shown) == (set(), set())
        bemi("erase", asked, "--related", "--reason", "request 7", "--no-input")
        left = {
            (str(change.pk), side): row["note"]
            for change in log
            for side, row in zip(_SIDES, (change.before, change.after), strict=True)
            if row and row["note"] is not None
        }
    assert left == {side: text for side, text in texts.items() if side not in own} and own


def notes(changes: Iterable[Iterable[dict[str, Any]]]) -> list[str]:
    return [row["note"] for change in changes for row in change if row and row["note"] is not None]


def disclosed(bemi: Bemi, name: str, target: Path) -> list[str]:
    bemi("subject", name, "--export", str(target))
    changes = json.loads(target.read_text())["changes"]
    return notes((change["before"], change["after"]) for change in changes)


def test_keys_are_given_to_others_in_a_table_that_refers_to_itself(
    bemi: Bemi, drain: Drain, tmp_path: Path
) -> None:
    execute(
        "CREATE TABLE whose_0 (id int PRIMARY KEY, note text, "
        "boss int REFERENCES whose_0 ON DELETE CASCADE ON UPDATE CASCADE);"
        "CREATE TABLE whose_1 (id int PRIMARY KEY, note text, "
        "one int REFERENCES whose_0 ON UPDATE CASCADE ON DELETE CASCADE,"
        "two int REFERENCES whose_0 ON UPDATE CASCADE ON DELETE CASCADE)"
    )
    try:
        tracking.sync()
        execute("INSERT INTO whose_0 VALUES (1, 'of ann', NULL), (2, 'of ann', 1)")
        execute("UPDATE whose_0 SET id = 3 WHERE id = 1")
        execute("INSERT INTO whose_0 VALUES (1, 'of bob', NULL), (4, 'of bob', 1)")
        execute("INSERT INTO whose_1 VALUES (1, 'of ann', 3, 3), (2, 'of bob', 1, 1)")
        # Both references follow one after the other, and what is between has one to the former key.
        execute("UPDATE whose_0 SET id = 5 WHERE id = 3; INSERT INTO whose_0 VALUES (3, 'of cid')")
        drain()
        assert disclosed(bemi, "public.whose_0:3", tmp_path / "cid.json") == ["of cid"]
        assert disclosed(bemi, "public.whose_0:5", tmp_path / "ann.json") == ["of ann"] * 15
        bemi("erase", "public.whose_0:5", "--related", "--reason", "request 7", "--no-input")
        log = Change.objects.filter(table__in=("whose_0", "whose_1"))
        assert sorted(notes((change.before, change.after) for change in log)) == ["of bob"] * 3 + ["of cid"]
    finally:
        execute("DROP TABLE whose_1, whose_0")


@pytest.mark.parametrize("key", ["id", "code, id"], ids=["beside the key", "first of the key"])
def test_other_keys_of_related_rows_are_given_to_others(
    bemi: Bemi, drain: Drain, tmp_path: Path, key: str
) -> None:
    execute(
        "CREATE TABLE whose_0 (id int PRIMARY KEY, note text);"
        f"CREATE TABLE whose_1 (id int, code int UNIQUE, note text, PRIMARY KEY ({key}), "
        "one int REFERENCES whose_0 ON UPDATE CASCADE ON DELETE CASCADE);"
        "CREATE TABLE whose_2 (id int PRIMARY KEY, note text, "
        "code int REFERENCES whose_1 (code) ON UPDATE CASCADE ON DELETE CASCADE)"
    )
    try:
        tracking.sync()
        execute("INSERT INTO whose_0 VALUES (1, 'of ann'), (2, 'of bob')")
        execute("INSERT INTO whose_1 VALUES (1, 11, 'of ann', 1), (2, 12, 'of bob', 2)")
        execute("INSERT INTO whose_2 VALUES (1, 'of ann', 11), (2, 'of bob', 12)")
        execute("UPDATE whose_1 SET code = 13 WHERE id = 1")
        execute("UPDATE whose_1 SET code = 11 WHERE id = 2")
        drain()
        assert disclosed(bemi, "public.whose_0:1", tmp_path / "ann.json") == ["of ann"] * 7
        bemi("erase", "public.whose_0:1", "--related", "--reason", "request 7", "--no-input")
        log = Change.objects.filter(table__in=("whose_0", "whose_1", "whose_2"))
        assert notes((change.before, change.after) for change in log) == ["of bob"] * 7
    finally:
        execute("DROP TABLE whose_2, whose_1, whose_0")
