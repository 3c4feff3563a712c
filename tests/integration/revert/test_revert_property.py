"""Random transactions on related tables: what a revert of one leaves, and the revert of the revert."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bemi_django.exceptions import RevertConflict
from bemi_django.log.lossless_json import dumps
from bemi_django.models import Change
from bemi_django.revert import OnConflict, Plan, revert
from bemi_django.revert.net import nets_of
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

TABLES = """
CREATE TABLE lab.parent (
    id int PRIMARY KEY,
    name text UNIQUE,
    price numeric,
    double numeric GENERATED ALWAYS AS (price * 2) STORED,
    boss_id int REFERENCES lab.parent DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE lab.child (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent_id int NOT NULL REFERENCES lab.parent ON DELETE CASCADE,
    friend_id int REFERENCES lab.child ON DELETE SET NULL,
    note jsonb
);
CREATE TABLE lab.link (
    parent_id int REFERENCES lab.parent ON UPDATE CASCADE,
    child_id int REFERENCES lab.child ON DELETE CASCADE DEFERRABLE,
    PRIMARY KEY (parent_id, child_id)
);
"""
ROWS = """
TRUNCATE lab.parent, lab.child, lab.link;
INSERT INTO lab.parent (id, name, price, boss_id) VALUES (1, 'one', 1.0, NULL), (2, 'two', 2.00, 1);
INSERT INTO lab.child (id, parent_id, friend_id) OVERRIDING SYSTEM VALUE VALUES (1, 1, NULL), (2, 1, 1);
INSERT INTO lab.link VALUES (1, 1), (2, 1);
"""
KEYS = {"parent": ("id",), "child": ("id",), "link": ("parent_id", "child_id")}

PARENT = "INSERT INTO lab.parent (id, name, price, boss_id) VALUES (%s, {text}, {number}, %s)"
CHILD = (
    "INSERT INTO lab.child (id, parent_id, friend_id, note) OVERRIDING SYSTEM VALUE "
    "VALUES (%s, %s, %s, to_jsonb({number}))"
)
keys = st.integers(1, 3)
maybe = st.none() | keys
#: Statements with the place of a fresh value, so that a value never comes again by chance.
statements = st.one_of(
    st.tuples(st.just(PARENT), st.tuples(keys, maybe)),
    st.tuples(st.just(CHILD), st.tuples(keys, keys, maybe)),
    st.tuples(st.just("INSERT INTO lab.link VALUES (%s, %s)"), st.tuples(keys, keys)),
    st.tuples(st.just("UPDATE lab.parent SET name = {text} WHERE id = %s"), st.tuples(keys)),
    st.tuples(st.just("UPDATE lab.parent SET price = {number} WHERE id <> %s"), st.tuples(keys)),
    st.tuples(st.just("UPDATE lab.parent SET boss_id = %s WHERE id = %s"), st.tuples(maybe, keys)),
    st.tuples(st.just("UPDATE lab.parent SET id = %s WHERE id = %s"), st.tuples(keys, keys)),
    st.tuples(
        st.just("UPDATE lab.child SET note = to_jsonb({number}), friend_id = %s WHERE id = %s"),
        st.tuples(maybe, keys),
    ),
    st.tuples(st.just("UPDATE lab.child SET parent_id = %s WHERE id = %s"), st.tuples(keys, keys)),
    st.tuples(st.just("DELETE FROM lab.parent WHERE id = %s"), st.tuples(keys)),
    st.tuples(st.just("DELETE FROM lab.child WHERE id = %s"), st.tuples(keys)),
    st.tuples(st.just("DELETE FROM lab.link WHERE parent_id = %s"), st.tuples(keys)),
)
histories = st.lists(st.lists(statements, min_size=1, max_size=5), min_size=1, max_size=5)
#: Which of the transactions that changed something are reverted.
choices = st.sets(st.integers(0, 4), min_size=1, max_size=2)
State = dict[tuple[str, ...], str]


@pytest.fixture
def tables(pipeline: Pipeline) -> Iterator[Pipeline]:
    execute(TABLES)
    pipeline.drain()
    yield pipeline


def perform(history: list[Any]) -> None:
    """Run transactions; a statement that fails is left out, and so is a transaction that cannot commit."""
    fresh = itertools.count(1)
    for statements in history:
        try:
            with transaction.atomic():
                for template, parameters in statements:
                    number = next(fresh)
                    values = {"text": f"'{number}'", "number": f"{number}.{number}0"}
                    try:
                        with transaction.atomic():
                            execute(template.format(**values), parameters)
                    except DatabaseError:
                        continue
        except DatabaseError:
            continue


def state() -> State:
    found: State = {}
    for table in KEYS:
        query = f"SELECT concat_ws(',', {', '.join(KEYS[table])}), to_jsonb(t)::text FROM lab.{table} t"  # noqa: S608
        for key, row in execute(query):
            found[table, key] = row
    return found


def key_of(change: Change, row: dict[str, Any]) -> tuple[str, ...]:
    return change.table, ",".join(str(row[column]) for column in KEYS[change.table])


def folded(changes: list[Change], without: set[int]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Rows after all transactions but some, each change applied as what it changed."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    moved: dict[tuple[str, ...], tuple[str, ...]] = {}
    for change in changes:
        if change.transaction_id in without:
            if change.operation == "UPDATE" and key_of(change, change.before) != key_of(change, change.after):
                first = key_of(change, change.before)
                moved[key_of(change, change.after)] = moved.pop(first, first)
            continue
        if change.operation == "CREATE":
            rows[key_of(change, change.after)] = dict(change.after)
            continue
        key = key_of(change, change.before)
        row = rows.pop(moved.get(key, key), None)
        if row is not None and change.operation == "UPDATE":
            row.update({column: after for column, (_, after) in change.diff().items()})
            rows[key_of(change, row)] = row
    return rows


def overlaps(changes: list[Change], chosen: set[int]) -> bool:
    """Whether another transaction changed what a chosen one before it had changed."""
    touched: set[Any] = set()
    for change in changes:
        columns = change.diff()
        places = {
            (*key_of(change, row), column)
            for row in (change.before, change.after)
            if row
            for column in columns
        }
        if change.transaction_id in chosen:
            touched |= places
        elif places & touched:
            return True
    return False


def revert_and_back(drain: Callable[[], Any], chosen: set[int], on_conflict: Any) -> State:
    """Revert transactions, then the revert; return what was in between."""
    before = state()
    last = Change.objects.latest("id").pk
    plan = Change.objects.filter(transaction_id__in=chosen).revert(on_conflict=on_conflict)
    assert plan.is_applied
    between = state()
    drain()
    reverting = Change.objects.filter(pk__gt=last)
    assert {change.transaction_id for change in reverting} == (
        {reverting[0].transaction_id} if between != before else set()
    )
    assert reverting.revert().is_applied
    assert state() == before
    drain()
    return between


@pytest.mark.django_db(transaction=True)
def test_a_transaction_is_undone_as_if_it_had_not_been(tables: Pipeline) -> None:
    seen: dict[str, int] = {}

    @given(histories, choices)
    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    # One of each kind, whatever chance brings.
    @example([[(PARENT, (3, None))]], {0})
    @example([[(PARENT, (3, None))], [(CHILD, (3, 3, None))]], {0})
    def check(history: list[Any], choice: set[int]) -> None:
        execute(ROWS)
        tables.drain()
        truncated = Change.objects.filter(operation="TRUNCATE").latest("id")
        perform(history)
        tables.drain()
        changes = list(Change.objects.filter(pk__gt=truncated.pk))
        transactions = sorted({change.transaction_id for change in changes} - {truncated.transaction_id})
        if not transactions:
            return
        chosen = {transactions[number % len(transactions)] for number in choice}
        plan = Change.objects.filter(transaction_id__in=chosen).revert(dry_run=True)
        if plan.conflicts:
            seen["conflict"] = seen.get("conflict", 0) + 1
            revert_and_back(tables.drain, chosen, "skip")
            return
        seen["none"] = seen.get("none", 0) + 1
        left = revert_and_back(tables.drain, chosen, "stop")
        if not overlaps(changes, chosen):
            seen["compared"] = seen.get("compared", 0) + 1
            assert left == {key: dumps(row) for key, row in folded(changes, chosen).items()}

    check()
    assert seen["compared"] and seen["conflict"], seen


ACTIONS = {(False, True): "insert", (True, False): "delete", (True, True): "update"}


@pytest.mark.django_db(transaction=True)
def test_what_is_written_is_what_the_plan_said(tables: Pipeline) -> None:
    """The writes that are checked for permissions are those that the log has afterwards, row by row."""
    seen: Counter[str] = Counter()

    @given(histories, choices, st.sampled_from(["stop", "skip", "force"]))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @example([[(PARENT, (3, None))], [(CHILD, (3, 3, None))]], {0}, "force")
    @example([[(PARENT, (3, None))], [(CHILD, (3, 3, None))]], {0}, "stop")
    @example([[(PARENT, (3, None))], [(CHILD, (3, 3, None))]], {0}, "skip")
    def check(history: list[Any], choice: set[int], on_conflict: OnConflict) -> None:
        execute(ROWS)
        tables.drain()
        start = Change.objects.latest("id").pk
        perform(history)
        tables.drain()
        changes = Change.objects.filter(pk__gt=start)
        transactions = sorted(set(changes.values_list("transaction_id", flat=True)))
        if not transactions:
            return
        chosen = changes.filter(
            transaction_id__in={transactions[number % len(transactions)] for number in choice}
        )
        shown = revert(chosen, dry_run=True, on_conflict=on_conflict)
        end = changes.latest("id").pk
        checked: list[Plan] = []
        try:
            plan = revert(chosen, on_conflict=on_conflict, digest=shown.digest, check=checked.append)
        except RevertConflict:
            seen["refused"] += 1
            tables.drain()
            assert not changes.filter(pk__gt=end).exists()
            return
        assert checked == [plan] and plan.is_applied
        seen[on_conflict] += 1
        seen["consequences"] += any(step.consequences for step in plan.steps)
        tables.drain()
        nets = nets_of(changes.filter(pk__gt=end).asc(), {})
        written = Counter((net.table, ACTIONS[net.existed, net.exists]) for net in nets if net.changes)
        assert written == Counter((effect.table, effect.action) for effect in plan.effects()), str(plan)

    check()
    assert seen["refused"] and seen["force"] and seen["skip"] and seen["consequences"], seen
