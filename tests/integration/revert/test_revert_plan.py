"""The plan that is confirmed and checked is the plan that is applied."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connection

from bemi_django import conf
from bemi_django.exceptions import PlanChanged, RevertConflict
from bemi_django.log.change import ChangeQuerySet
from bemi_django.revert import Plan, Step, revert
from tests.integration.revert.test_revert_tables import Lab, kinds, rows
from tests.integration.revert.test_revert_tables import lab as lab
from tests.support.project_database import execute

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def priced(lab: Lab) -> ChangeQuerySet:
    """An update of a price."""
    execute("CREATE TABLE lab.item (id int PRIMARY KEY, price numeric, name text)")
    lab("INSERT INTO lab.item VALUES (1, 1.00, 'hat')")
    return lab("UPDATE lab.item SET price = 2.00")


@pytest.mark.parametrize("on_conflict", ["stop", "skip", "force"])
@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE lab.item SET price = 3.00",
        "UPDATE lab.item SET price = 1.0",
        "DELETE FROM lab.item",
        "UPDATE lab.item SET id = 2",
        "ALTER TABLE lab.item DROP price",
        "DROP TABLE lab.item",
    ],
)
def test_rows_that_change_after_the_plan_was_shown_stop_it(
    meanwhile: str, on_conflict: Any, priced: ChangeQuerySet
) -> None:
    shown = revert(priced, dry_run=True, on_conflict=on_conflict)
    execute(meanwhile)
    before = rows("item") if "DROP TABLE" not in meanwhile else []
    with pytest.raises(PlanChanged) as refused:
        revert(priced, on_conflict=on_conflict, digest=shown.digest)
    assert refused.value.plan.digest == revert(priced, dry_run=True, on_conflict=on_conflict).digest
    assert not refused.value.plan.is_applied
    assert "DROP TABLE" in meanwhile or rows("item") == before


def test_a_change_of_what_the_plan_leaves_alone_does_not_stop_it(priced: ChangeQuerySet) -> None:
    shown = revert(priced, dry_run=True)
    execute("UPDATE lab.item SET name = 'cap'")
    assert revert(priced, digest=shown.digest).is_applied
    assert rows("item") == ['{"id": 1, "name": "cap", "price": 1.00}']


def test_a_check_that_fails_leaves_the_rows(priced: ChangeQuerySet) -> None:
    def refuse(plan: Plan) -> None:
        assert [str(effect) for effect in plan.effects()] == ["update lab.item 1 (price)"]
        # The rows are locked while the plan is checked.
        with pytest.raises(Exception, match="could not obtain lock"):
            beside("SELECT FROM lab.item FOR UPDATE NOWAIT")
        raise PermissionError

    with pytest.raises(PermissionError):
        revert(priced, check=refuse)
    assert rows("item") == ['{"id": 1, "name": "hat", "price": 2.00}']


def beside(statement: str) -> None:
    """Run a statement on a connection of its own."""
    with (
        closing(psycopg2.connect(**conf.connection_parameters("default"))) as other,
        other.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_the_permissions_are_those_of_what_is_forced(priced: ChangeQuerySet) -> None:
    """The changes are updates; what is missing is inserted, and needs the permission to add."""
    execute("DELETE FROM lab.item")
    (step,) = revert(priced, dry_run=True).steps
    assert step.forced is not None and step.forced.action == "insert"
    assert step.forced.values["price"] == 1 and not list(step.effects())
    checked: list[Plan] = []
    plan = revert(priced, on_conflict="force", check=checked.append)
    assert checked == [plan]
    assert [(effect.action, effect.key) for effect in plan.effects()] == [("insert", "1")]
    (step,) = plan.steps
    assert step.overridden is not None and step.overridden.kind == "missing_row"
    assert rows("item") == ['{"id": 1, "name": "hat", "price": 1.00}']


TREE = """
CREATE TABLE lab.root (id int PRIMARY KEY);
CREATE TABLE lab.branch (
    root int REFERENCES lab.root ON DELETE CASCADE, number int, PRIMARY KEY (root, number));
CREATE TABLE lab.leaf (
    id int PRIMARY KEY, root int, number int,
    FOREIGN KEY (root, number) REFERENCES lab.branch ON DELETE CASCADE);
CREATE TABLE lab.bird (id int PRIMARY KEY, leaf int REFERENCES lab.leaf ON DELETE SET NULL);
CREATE TABLE lab.nest (id int PRIMARY KEY, leaf int DEFAULT 0 REFERENCES lab.leaf ON DELETE SET DEFAULT);
CREATE TABLE lab.egg (id int PRIMARY KEY, root int, number int);
CREATE TABLE lab.rumour (id int PRIMARY KEY, leaf int)
"""
GROWN = """
INSERT INTO lab.branch VALUES (1, 1), (1, 2);
INSERT INTO lab.leaf VALUES (1, 1, 1), (2, 1, 2), (3, 1, 2);
INSERT INTO lab.root VALUES (0);
INSERT INTO lab.branch VALUES (0, 0);
INSERT INTO lab.leaf VALUES (0, 0, 0);
INSERT INTO lab.bird VALUES (7, 3), (8, 0);
INSERT INTO lab.nest VALUES (9, 1);
INSERT INTO lab.egg VALUES (4, 1, 1);
INSERT INTO lab.rumour VALUES (5, 2)
"""


def test_what_the_database_deletes_is_in_the_plan_down_to_the_leaves(lab: Lab) -> None:
    execute(TREE)
    database: Any = connection
    version = database.pg_version // 10000
    # Only one of the columns is set to NULL, and a foreign key need not be enforced, if the server can.
    some = " (number)" if version >= 15 else ""
    execute(
        f"ALTER TABLE lab.egg ADD FOREIGN KEY (root, number) REFERENCES lab.branch ON DELETE SET NULL {some}"
    )
    if version >= 18:
        execute("ALTER TABLE lab.rumour ADD FOREIGN KEY (leaf) REFERENCES lab.leaf NOT ENFORCED")
    planted = lab("INSERT INTO lab.root VALUES (1)")
    execute(GROWN)
    lab.fresh()
    (shown,) = revert(planted, dry_run=True).steps
    assert shown.conflict is not None and shown.conflict.is_forcible and not list(shown.effects())
    plan = revert(planted, on_conflict="force")
    assert sorted(map(str, plan.effects())) == [
        "delete lab.branch [1, 1]",
        "delete lab.branch [1, 2]",
        "delete lab.leaf 1",
        "delete lab.leaf 2",
        "delete lab.leaf 3",
        "delete lab.root 1",
        "update lab.bird 7 (leaf)",
        f"update lab.egg 4{some or ' (root, number)'}",
        "update lab.nest 9 (leaf)",
    ]
    assert "  and so delete lab.leaf 3" in str(plan)
    recorded = {
        f"{change.operation[:6]} {change.table} {change.primary_key}".replace("UPDATE", "update").replace(
            "DELETE", "delete"
        )
        for change in lab.fresh()
    }
    assert recorded == {str(effect).replace("lab.", "").partition(" (")[0] for effect in plan.effects()}


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT"])
def test_what_the_database_would_not_delete_cannot_be_forced(action: str, lab: Lab) -> None:
    execute(TREE)
    execute(f"CREATE TABLE lab.fruit (id int PRIMARY KEY, leaf int REFERENCES lab.leaf ON DELETE {action})")
    planted = lab("INSERT INTO lab.root VALUES (1)")
    execute(GROWN)
    execute("INSERT INTO lab.fruit VALUES (5, 2)")
    with pytest.raises(RevertConflict) as refused:
        revert(planted, on_conflict="force")
    (conflict,) = refused.value.plan.conflicts
    assert (conflict.kind, conflict.is_forcible) == ("referenced", False)
    assert "a row of lab.fruit prevents it" in conflict.text
    assert len(rows("leaf")) == 4


def test_rows_that_come_under_a_cascade_wait_for_the_revert(lab: Lab) -> None:
    """What is checked stays so until it is done: nothing can be hung under a row that is to go."""
    execute(TREE)
    planted = lab("INSERT INTO lab.root VALUES (1)")
    execute(GROWN)

    def check(plan: Plan) -> None:
        with pytest.raises(Exception, match="lock timeout"):
            beside("SET lock_timeout = '50ms'; INSERT INTO lab.leaf VALUES (4, 1, 2)")

    assert revert(planted, on_conflict="force", check=check).is_applied


def test_columns_that_may_not_be_written_are_conflicts(priced: ChangeQuerySet) -> None:
    def is_read_only(step: Step, column: str) -> bool:
        return (step.table, column) == ("item", "price")

    for on_conflict in ("stop", "force"):
        with pytest.raises(RevertConflict) as refused:
            revert(priced, on_conflict=on_conflict, is_read_only=is_read_only)
        (conflict,) = refused.value.plan.conflicts
        assert (conflict.kind, conflict.columns, conflict.is_forcible) == ("read_only", ("price",), False)
    plan = revert(priced, on_conflict="skip", is_read_only=is_read_only)
    assert kinds(plan) == ["read_only"] and not list(plan.effects())
    assert rows("item") == ['{"id": 1, "name": "hat", "price": 2.00}']


def test_what_is_forced_may_not_write_them_either(priced: ChangeQuerySet) -> None:
    """The price itself may be written; that the row has to be inserted for it brings the name along."""
    execute("DELETE FROM lab.item")
    with pytest.raises(RevertConflict) as refused:
        revert(priced, on_conflict="force", is_read_only=lambda step, column: column == "name")
    assert kinds(refused.value.plan) == ["read_only"]
    assert rows("item") == []


def test_a_deletion_writes_no_column(lab: Lab) -> None:
    execute("CREATE TABLE lab.item (id int PRIMARY KEY)")
    created = lab("INSERT INTO lab.item VALUES (1)")
    assert revert(created, is_read_only=lambda step, column: True).is_applied
