"""Reverts of tables of any kind, most of which no model knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import override_settings

from bemi_django import skip_tracking
from bemi_django.exceptions import BemiError, RevertConflict
from bemi_django.log.blame import blame_row
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.time_travel import as_of
from tests.support.extensions import extensions
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.travel import here

pytestmark = pytest.mark.django_db(transaction=True)


class Lab:
    """Runs a transaction and returns its changes."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._seen: set[Any] = set()

    def __call__(self, *statements: str) -> ChangeQuerySet:
        self.fresh()
        with transaction.atomic():
            for statement in statements:
                execute(statement)
        return self.fresh()

    def fresh(self) -> ChangeQuerySet:
        """What was not drained yet."""
        self._pipeline.drain()
        fresh = [change.pk for change in Change.objects.all() if change.pk not in self._seen]
        self._seen.update(fresh)
        return Change.objects.filter(pk__in=fresh)


@pytest.fixture
def lab(pipeline: Pipeline) -> Lab:
    lab = Lab(pipeline)
    lab.fresh()
    return lab


def rows(table: str) -> list[str]:
    return [row for (row,) in execute(f"SELECT to_jsonb(t)::text FROM lab.{table} t ORDER BY 1")]  # noqa: S608


def kinds(plan: Any) -> list[str]:
    return [conflict.kind for conflict in plan.conflicts]


NODES = "CREATE TABLE lab.node (id int PRIMARY KEY, up int{} REFERENCES lab.node{})"


@pytest.mark.parametrize("options", ["", " ON DELETE CASCADE", " DEFERRABLE"])
def test_a_tree_comes_back_parents_first_and_goes_children_first(options: str, lab: Lab) -> None:
    execute(NODES.format("", options))
    # The keys say nothing of the order.
    created = lab("INSERT INTO lab.node VALUES (2, NULL)", "INSERT INTO lab.node VALUES (3, 2), (1, 3)")
    before = rows("node")
    deleted = lab("DELETE FROM lab.node")
    assert deleted.revert().is_applied
    assert rows("node") == before
    assert created.revert().is_applied
    assert rows("node") == []


def test_rows_that_refer_to_each_other_come_and_go_by_way_of_null(lab: Lab) -> None:
    execute(NODES.format("", ""))
    created = lab(
        "INSERT INTO lab.node VALUES (1, NULL), (2, 1), (3, 2)", "UPDATE lab.node SET up = 3 WHERE id = 1"
    )
    before = rows("node")
    created.revert()
    assert rows("node") == []
    lab.fresh().revert()
    assert rows("node") == before


def test_a_row_may_refer_to_itself(lab: Lab) -> None:
    execute(NODES.format(" NOT NULL", ""))
    lab("INSERT INTO lab.node VALUES (1, 1)")
    deleted = lab("DELETE FROM lab.node")
    assert deleted.revert().is_applied
    assert len(rows("node")) == 1


def test_a_cycle_without_a_way_out_is_a_conflict_that_says_so(lab: Lab) -> None:
    execute("CREATE TABLE lab.a (id int PRIMARY KEY, b int NOT NULL)")
    execute("CREATE TABLE lab.b (id int PRIMARY KEY, a int NOT NULL REFERENCES lab.a)")
    execute("INSERT INTO lab.a VALUES (1, 1); INSERT INTO lab.b VALUES (1, 1)")
    deleted = lab("DELETE FROM lab.b", "DELETE FROM lab.a")
    execute("ALTER TABLE lab.a ADD FOREIGN KEY (b) REFERENCES lab.b")
    plan = deleted.revert(dry_run=True)
    assert set(kinds(plan)) == {"cycle"}
    assert not any(step.is_done for step in deleted.revert(on_conflict="skip").steps)


def test_identity_and_generated_columns_come_back(lab: Lab) -> None:
    execute(
        "CREATE TABLE lab.made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n numeric, "
        "twice numeric GENERATED ALWAYS AS (n * 2) STORED)"
    )
    lab("INSERT INTO lab.made (n) VALUES (1.10)")
    before = rows("made")
    updated = lab("UPDATE lab.made SET n = 7")
    deleted = lab("DELETE FROM lab.made")
    deleted.revert()
    updated.revert()
    assert rows("made") == before


def test_domains_that_do_not_allow_null_are_no_obstacle(lab: Lab) -> None:
    """Where only some columns of a row are read from JSON, the others are NULL."""
    execute("CREATE DOMAIN lab.name AS varchar(9) NOT NULL CHECK (VALUE <> '')")
    execute("CREATE DOMAIN lab.called AS lab.name CHECK (VALUE IS NOT NULL)")
    execute("CREATE DOMAIN lab.price AS numeric(7, 2) NOT NULL")
    execute("CREATE TABLE lab.up (name lab.called PRIMARY KEY, price lab.price, words text[], n int)")
    execute("CREATE UNIQUE INDEX ON lab.up (lower(name)) WHERE n > 0")
    execute(
        "CREATE TABLE lab.down (id lab.price PRIMARY KEY, "
        "up lab.called REFERENCES lab.up ON DELETE CASCADE ON UPDATE CASCADE, note lab.name)"
    )
    lab("INSERT INTO lab.up VALUES ('a%s', 1.10, '{x}', 1), ('b', 2, NULL, 2)")
    lab("INSERT INTO lab.down VALUES (1, 'a%s', 'one')")
    before = rows("up"), rows("down")
    changed = lab("UPDATE lab.up SET n = 7, words = '{y}', price = 3 WHERE n = 1")
    place = changed.get(table="up").place
    assert blame_row(place, "a%s")["n"].previous == 1
    deleted = lab("DELETE FROM lab.up WHERE n = 7")
    assert deleted.revert().is_applied and changed.revert().is_applied
    assert (rows("up"), rows("down")) == before


def test_a_sequence_is_moved_past_a_key_that_came_back_and_never_back(lab: Lab) -> None:
    execute('CREATE TABLE lab."se%quence" (id serial PRIMARY KEY)')
    lab('INSERT INTO lab."se%quence" VALUES (41)')
    deleted = lab('DELETE FROM lab."se%quence"')
    deleted.revert(dry_run=True)
    sequence = """SELECT nextval(pg_get_serial_sequence('lab."se%quence"', 'id'))"""
    assert execute(sequence) == [(1,)]
    deleted.revert()
    assert execute(sequence) == [(42,)]
    execute("""SELECT setval(pg_get_serial_sequence('lab."se%quence"', 'id'), 100)""")
    lab('DELETE FROM lab."se%quence"').revert()
    assert execute(sequence) == [(101,)]


def test_rows_of_partitions_come_back_to_theirs(lab: Lab) -> None:
    execute("CREATE TABLE lab.part (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)")
    execute("CREATE TABLE lab.low PARTITION OF lab.part FOR VALUES FROM (0) TO (10)")
    execute("CREATE TABLE lab.high PARTITION OF lab.part FOR VALUES FROM (10) TO (20)")
    lab("INSERT INTO lab.part VALUES (1, 1), (11, 2)")
    before = rows("low"), rows("high")
    changed = lab("UPDATE lab.part SET id = 12 WHERE id = 1", "DELETE FROM lab.part WHERE id = 11")
    assert changed.revert().is_applied
    assert (rows("low"), rows("high")) == before


@pytest.fixture
def hstore(pipeline: Pipeline) -> Iterator[None]:
    with extensions("hstore"):
        yield


@pytest.mark.parametrize("key", ["k", "n, k"])
def test_a_key_may_be_an_hstore(key: str, hstore: None, lab: Lab) -> None:
    """``jsonb_populate_record`` does not read what ``to_jsonb`` makes of one."""
    lab(f"CREATE TABLE lab.t (k hstore, n int, v int, PRIMARY KEY ({key}))")
    lab("""INSERT INTO lab.t VALUES ('a=>1', 1, 1), ('b=>NULL,"q\\"\\\\"=>"x,y"', 1, 1)""")
    original = rows("t")
    changed, removed = lab("UPDATE lab.t SET v = 2"), lab("DELETE FROM lab.t WHERE exist(k, 'b')")
    place = changed[0].place
    assert [blame_row(place, str(change.primary_key))["v"].previous for change in changed] == [1, 1]
    removed.revert()
    changed.revert()
    assert rows("t") == original


@pytest.fixture
def citext(pipeline: Pipeline) -> Iterator[None]:
    with extensions("citext"):
        yield


#: Types of a key and of what refers to it: values that are equal, the second two being of one type.
SPELLINGS = {
    "numbers": ("numeric", "numeric(9, 2)", "1.0", "1.00", "1.000"),
    "collation": ("text COLLATE lab.loose", "text COLLATE lab.loose", "Ann", "ann", "ANN"),
    "padded": ("char(9)", "varchar(9)", "a", "a  ", "a "),
    "floats": ("float8", "float4", "0", "-0", "-0"),
    "domain": ("lab.number", "numeric", "1.0", "1.00", "1.000"),
    "citext": ("public.citext", "public.citext", "Ann", "ann", "ANN"),
}


@pytest.mark.parametrize("option", ["", "ON DELETE CASCADE", "DEFERRABLE"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_reference_may_be_written_in_another_way(
    spelling: str, option: str, citext: None, lab: Lab
) -> None:
    """What a foreign key takes for equal is there; a key that becomes another like it is not taken away."""
    parent, child, key, referring, other = SPELLINGS[spelling]
    loose = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
    execute(f"CREATE DOMAIN lab.number AS numeric; CREATE COLLATION lab.loose ({loose})")
    execute(f"CREATE TABLE lab.p (k {parent} PRIMARY KEY, number int)")
    execute(f"CREATE TABLE lab.c (number int PRIMARY KEY, k {child} REFERENCES lab.p {option})")
    parents = f"INSERT INTO lab.p VALUES ('{key}', 1), ('7', 1)"  # noqa: S608
    lab(parents, f"INSERT INTO lab.c VALUES (1, '{referring}')")  # noqa: S608
    before = rows("p"), rows("c")
    gone = lab("DELETE FROM lab.c", "DELETE FROM lab.p")
    assert gone.revert().is_applied
    assert (rows("p"), rows("c")) == before
    respelled = lab(f"UPDATE lab.p SET k = '{other}' WHERE k <> '7'")  # noqa: S608
    if respelled:
        assert respelled.revert().is_applied
        assert (rows("p"), rows("c")) == before
    kept = lab("DELETE FROM lab.c", "UPDATE lab.p SET k = '9' WHERE k <> '7'")
    assert kept.revert().is_applied
    assert (rows("p"), rows("c")) == before


@pytest.mark.parametrize("key", ["k", "n, k"])
@pytest.mark.parametrize("kind", ["int2vector", "oidvector", "lab.numbers"])
def test_a_vector_comes_back_as_it_was(kind: str, key: str, lab: Lab) -> None:
    """``jsonb_populate_record`` makes one that begins at another number, or none, of an array."""
    execute("CREATE DOMAIN lab.numbers AS int2vector")
    columns = f"k {kind}, n int, v int, more {kind.replace('lab.numbers', 'int2vector')}[]"
    lab(f"CREATE TABLE lab.t ({columns}, PRIMARY KEY ({key}))")
    query = "SELECT k::text, array_lower(k::int2vector, 1), n, v, more::text FROM lab.t ORDER BY 1"
    query = query.replace("k::int2vector", "k") if kind == "oidvector" else query
    lab("INSERT INTO lab.t VALUES ('1 2', 1, 1, '{1 2,3}'), ('', 1, 1, NULL)")
    original = execute(query)
    moved, removed = lab("UPDATE lab.t SET k = '3', v = 2 WHERE k = '1 2'"), lab("DELETE FROM lab.t")
    removed.revert()
    lab.fresh()
    moved.revert()
    assert execute(query) == original
    assert execute("SELECT count(*) FROM lab.t WHERE k IN ('1 2', '')") == [(2,)]


def test_a_null_of_json_comes_back_where_there_is_no_other(lab: Lab) -> None:
    execute("CREATE TABLE lab.t (k jsonb, n int, body json NOT NULL, extra jsonb UNIQUE, PRIMARY KEY (k, n))")
    lab("INSERT INTO lab.t VALUES ('null', 1, 'null', '1'), ('\"null\"', 1, '[]', NULL)")
    query = "SELECT k::text, n, body::text, extra::text FROM lab.t ORDER BY 1"
    original, moment = execute(query), here()
    changed, removed = lab("UPDATE lab.t SET body = '7', n = 2"), lab("DELETE FROM lab.t")
    place = changed[0].place
    assert [blame_row(place, str(change.primary_key))["body"].change for change in changed] == list(changed)
    with override_settings(BEMI_AS_OF_PATIENCE=0), as_of(moment):
        assert execute(query.replace("body::text", "coalesce(body::text, 'null')")) == original
    removed.revert()
    changed.revert()
    assert execute(query) == original


def test_an_odd_name_is_only_a_name(lab: Lab) -> None:
    table, key, column = '"Od""d %s (t)"', '"k%(x)s"', '"t.r"'
    execute(f"CREATE TABLE lab.{table} ({key} int PRIMARY KEY, {column} text UNIQUE)")
    lab(f"INSERT INTO lab.{table} VALUES (1, 'a%s')")  # noqa: S608
    changed = lab(f"UPDATE lab.{table} SET {column} = 'b', {key} = 2")  # noqa: S608
    deleted = lab(f"DELETE FROM lab.{table}")  # noqa: S608
    deleted.revert()
    changed.revert()
    assert rows(table) == ['{"t.r": "a%s", "k%(x)s": 1}']


def test_unique_values_that_moved_on_are_free_in_the_right_order(lab: Lab) -> None:
    execute("CREATE TABLE lab.name (id int PRIMARY KEY, name text UNIQUE)")
    lab("INSERT INTO lab.name VALUES (1, 'a'), (2, 'b')")
    before = rows("name")
    for statements in (
        ("DELETE FROM lab.name WHERE id = 1", "UPDATE lab.name SET name = 'a' WHERE id = 2"),
        ("DELETE FROM lab.name WHERE id = 1", "UPDATE lab.name SET id = 1 WHERE id = 2"),
        ("UPDATE lab.name SET name = 'c' WHERE id = 1", "INSERT INTO lab.name VALUES (3, 'a')"),
        # A swap: for a moment one of them has no name.
        (
            "UPDATE lab.name SET name = 'x' WHERE id = 1",
            "UPDATE lab.name SET name = 'a' WHERE id = 2",
            "UPDATE lab.name SET name = 'b' WHERE id = 1",
        ),
    ):
        assert lab(*statements).revert().is_applied
        assert rows("name") == before


def test_deferrable_values_may_be_swapped_without_a_moment_of_null(lab: Lab) -> None:
    execute("CREATE TABLE lab.name (id int PRIMARY KEY, name text NOT NULL UNIQUE DEFERRABLE)")
    lab("INSERT INTO lab.name VALUES (1, 'a'), (2, 'b')")
    before = rows("name")
    assert lab("UPDATE lab.name SET name = CASE name WHEN 'a' THEN 'b' ELSE 'a' END").revert().is_applied
    assert rows("name") == before


def test_rows_that_exchanged_their_keys_exchange_them_again(lab: Lab) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int)")
    lab("INSERT INTO lab.t VALUES (1, 10), (2, 20), (3, 30)")
    before = rows("t")
    exchanged = lab("UPDATE lab.t SET id = 2 WHERE n = 10", "UPDATE lab.t SET id = 1 WHERE n = 20")
    turned = lab("UPDATE lab.t SET id = id % 3 + 1")
    replaced = lab("UPDATE lab.t SET id = 1 WHERE id = 2", "DELETE FROM lab.t WHERE id = 1 AND n = 30")
    assert len(rows("t")) == 2
    # Two rows have a key for several statements.
    shared = lab(
        "UPDATE lab.t SET id = 2 WHERE n = 20",
        "UPDATE lab.t SET n = 21 WHERE n = 20",
        "UPDATE lab.t SET n = 11 WHERE n = 10",
        "UPDATE lab.t SET n = 22 WHERE n = 21",
        "UPDATE lab.t SET id = 3 WHERE n = 11",
    )
    followed = lab(
        "UPDATE lab.t SET n = 12 WHERE n = 11",
        "INSERT INTO lab.t VALUES (3, 40)",
        "UPDATE lab.t SET n = 13 WHERE n = 12",
        "UPDATE lab.t SET n = 41 WHERE n = 40",
        "DELETE FROM lab.t WHERE n = 13",
    )
    for changes in (followed, shared, replaced, turned, exchanged):
        assert changes.revert().is_applied
    assert rows("t") == before


def test_a_constraint_that_shares_its_name_is_taken_as_it_is(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY)")
    for table, options in (("one", "DEFERRABLE"), ("two", "")):
        execute(f"CREATE TABLE lab.{table} (id int CONSTRAINT up REFERENCES lab.up {options} PRIMARY KEY)")
    lab("INSERT INTO lab.up VALUES (1)", "INSERT INTO lab.one VALUES (1)", "INSERT INTO lab.two VALUES (1)")
    deleted = lab("DELETE FROM lab.one", "DELETE FROM lab.two", "DELETE FROM lab.up")
    assert deleted.revert().is_applied and lab.fresh().count() == 3


def test_a_clash_in_an_index_of_some_rows_or_of_an_expression_is_in_the_plan(lab: Lab) -> None:
    execute("CREATE TABLE lab.mail (id int PRIMARY KEY, name text, gone boolean NOT NULL)")
    execute("CREATE UNIQUE INDEX one_lower ON lab.mail (lower(name), (name || '%')) WHERE NOT gone")
    lab("INSERT INTO lab.mail VALUES (1, 'a', false)")
    before = rows("mail")
    moved = lab("UPDATE lab.mail SET gone = true", "INSERT INTO lab.mail VALUES (2, 'a', false)")
    assert moved.revert().is_applied and rows("mail") == before
    deleted = lab("DELETE FROM lab.mail")
    lab("INSERT INTO lab.mail VALUES (3, 'a', true)")
    assert deleted.revert(dry_run=True).conflicts == ()
    lab("INSERT INTO lab.mail VALUES (4, 'a', false)")
    (conflict,) = deleted.revert(dry_run=True).conflicts
    assert (conflict.kind, conflict.text) == ("unique", "another row has the same value in one_lower")


def test_skipped_parents_take_their_children_along(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY, name text UNIQUE)")
    execute("CREATE TABLE lab.down (id int PRIMARY KEY, up int REFERENCES lab.up)")
    execute("INSERT INTO lab.up VALUES (1, 'a'), (2, 'b'); INSERT INTO lab.down VALUES (1, 1), (2, 2)")
    deleted = lab("DELETE FROM lab.down", "DELETE FROM lab.up")
    execute("INSERT INTO lab.up VALUES (3, 'a')")
    assert kinds(deleted.revert(dry_run=True)) == ["unique"]
    assert sorted(kinds(deleted.revert(on_conflict="skip"))) == ["missing_parent", "unique"]
    assert rows("down") == ['{"id": 2, "up": 2}']


def test_what_the_database_would_take_along_is_a_conflict_that_can_be_forced(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY)")
    execute("CREATE TABLE lab.down (id int PRIMARY KEY, up int REFERENCES lab.up ON DELETE CASCADE)")
    created = lab("INSERT INTO lab.up VALUES (1)")
    execute("INSERT INTO lab.down VALUES (1, 1)")
    assert kinds(created.revert(dry_run=True)) == ["referenced"]
    assert created.revert(on_conflict="force").is_applied
    assert rows("up") == rows("down") == []


@pytest.mark.parametrize("null", ["", "NOT NULL"])
def test_keys_that_the_database_passes_on_to_children_are_put_back(null: str, lab: Lab) -> None:
    execute("CREATE TABLE lab.up (code text PRIMARY KEY, n int)")
    execute(f"CREATE TABLE lab.down (id int PRIMARY KEY, up text {null} REFERENCES lab.up ON UPDATE CASCADE)")
    execute("INSERT INTO lab.up VALUES ('a', 1), ('b', 2); INSERT INTO lab.down VALUES (1, 'a'), (2, 'b')")
    before = rows("up"), rows("down")
    changed = lab("UPDATE lab.up SET code = 'c', n = 7 WHERE n = 1")
    assert changed.filter(table="down").count() == 1
    assert changed.revert().is_applied
    assert (rows("up"), rows("down")) == before


def test_references_that_the_deletion_set_to_null_come_back(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY)")
    execute("CREATE TABLE lab.down (id int PRIMARY KEY, up int REFERENCES lab.up ON DELETE SET NULL)")
    execute("CREATE TABLE lab.deep (id int PRIMARY KEY, up int REFERENCES lab.up ON DELETE CASCADE)")
    execute("CREATE TABLE lab.deeper (id int PRIMARY KEY, deep int REFERENCES lab.deep ON DELETE CASCADE)")
    execute("INSERT INTO lab.up VALUES (1); INSERT INTO lab.down VALUES (1, 1)")
    execute("INSERT INTO lab.deep VALUES (1, 1); INSERT INTO lab.deeper VALUES (1, 1)")
    tables = ["up", "down", "deep", "deeper"]
    before = [rows(table) for table in tables]
    deleted = lab("DELETE FROM lab.up").get(table="up")
    alone = deleted.revert(dry_run=True, cascade=False)
    assert [step.table for step in alone.steps] == ["up"]
    assert {step.table for step in deleted.revert().steps} == set(tables)
    assert [rows(table) for table in tables] == before


def test_a_row_that_is_gone_is_a_conflict_and_comes_back_when_forced(lab: Lab) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, a int, b int)")
    lab("INSERT INTO lab.t VALUES (1, 1, 1)")
    updated = lab("UPDATE lab.t SET a = 2")
    execute("DELETE FROM lab.t")
    assert kinds(updated.revert(dry_run=True)) == ["missing_row"]
    updated.revert(on_conflict="force")
    assert rows("t") == ['{"a": 1, "b": 1, "id": 1}']


def test_what_others_changed_in_between_is_a_conflict(lab: Lab) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, a int, b int)")
    lab("INSERT INTO lab.t VALUES (1, 1, 1)")
    first = lab("UPDATE lab.t SET a = 2")
    lab("UPDATE lab.t SET a = 3, b = 2")
    last = lab("UPDATE lab.t SET a = 4")
    plan = (first | last).revert(dry_run=True)
    assert kinds(plan) == ["changed_since"] and "others changed a in between" in str(plan)
    again = lab("DELETE FROM lab.t").get()
    lab("INSERT INTO lab.t VALUES (1, 1, 1)")
    more = lab("UPDATE lab.t SET a = 9").get()
    plan = Change.objects.filter(pk__in=[again.pk, more.pk]).revert(dry_run=True)
    assert "inserted it again, in between" in str(plan)


def test_a_value_that_the_log_does_not_know_is_a_conflict(lab: Lab) -> None:
    execute("CREATE TABLE lab.thrifty (id int PRIMARY KEY, a int, b int)")
    execute("ALTER TABLE lab.thrifty REPLICA IDENTITY DEFAULT")
    lab("INSERT INTO lab.thrifty VALUES (1, 1, 1)")
    updated = lab("UPDATE lab.thrifty SET a = 2")
    assert kinds(updated.revert(dry_run=True)) == ["unavailable"]
    deleted = lab("DELETE FROM lab.thrifty")
    assert "does not know what a and b was" in str(deleted.revert(dry_run=True))
    deleted.revert(on_conflict="force")
    assert rows("thrifty") == ['{"a": null, "b": null, "id": 1}']


def test_a_table_without_a_key_is_reverted_by_whole_rows(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY)")
    execute("CREATE TABLE lab.bare (a int, b numeric, twice int GENERATED ALWAYS AS (a * 2) STORED)")
    execute("ALTER TABLE lab.bare ADD up int REFERENCES lab.up ON DELETE CASCADE")
    execute("INSERT INTO lab.up VALUES (1), (2)")
    created = lab("INSERT INTO lab.bare VALUES (1, 1.10), (1, 1.10), (2, NULL)")
    before = rows("bare")
    changed = lab(
        "UPDATE lab.bare SET up = 1, b = 3 WHERE a = 1",
        "UPDATE lab.bare SET a = 7, up = 2 WHERE ctid = (SELECT min(ctid) FROM lab.bare WHERE a = 1)",
        "DELETE FROM lab.up WHERE id = 1",
        "DELETE FROM lab.bare WHERE a = 2",
    )
    between = rows("bare")
    assert [step.action for step in changed.revert(dry_run=True).steps].count("insert") == 3
    changed.revert()
    assert rows("bare") == before
    lab.fresh().revert()
    assert rows("bare") == between
    lab.fresh().revert()
    created.revert()
    assert rows("bare") == []
    assert [step.action for step in created.revert().steps] == ["nothing"] * 3


def test_what_is_no_change_of_a_row_is_a_conflict(lab: Lab) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY)")
    truncated = lab("TRUNCATE lab.t")
    plan = truncated.revert(dry_run=True)
    assert kinds(plan) == ["not_a_row"] and "TRUNCATE" in str(plan)
    with pytest.raises(RevertConflict):
        truncated.revert(on_conflict="force")
    with skip_tracking(reason="quiet"):
        skipped = lab("INSERT INTO lab.t VALUES (1)")
    assert kinds(skipped.revert(dry_run=True)) == ["not_a_row"]


def test_a_table_that_is_gone_or_was_altered(lab: Lab, settings: Any) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, old text, dropped text, n int)")
    lab("INSERT INTO lab.t VALUES (1, 'a', 'b', 7)")
    deleted = lab("DELETE FROM lab.t")
    execute("ALTER TABLE lab.t RENAME old TO new")
    execute("ALTER TABLE lab.t DROP dropped, ADD later int DEFAULT 3, ALTER n TYPE text")
    settings.BEMI_RENAMED_COLUMNS = {"lab.t": {"old": "new"}}
    deleted.revert()
    assert rows("t") == ['{"n": "7", "id": 1, "new": "a", "later": 3}']
    execute("DELETE FROM lab.t")
    execute("ALTER TABLE lab.t ADD must int NOT NULL")
    with pytest.raises(RevertConflict, match="must") as refusal:
        deleted.revert()
    assert kinds(refusal.value.plan) == ["constraint"]
    execute("ALTER TABLE lab.t DROP must, ALTER new TYPE int USING 1")
    with pytest.raises(RevertConflict):
        deleted.revert()
    execute("ALTER TABLE lab.t ALTER id TYPE date USING '2026-01-01'")
    with pytest.raises(BemiError, match="do not fit the tables as they are now"):
        deleted.revert()
    execute("ALTER TABLE lab.t DROP id, ADD id int PRIMARY KEY")
    assert kinds(deleted.revert(dry_run=True)) == ["unavailable"]
    execute("DROP TABLE lab.t")
    assert kinds(deleted.revert(dry_run=True)) == ["missing_table"]


def test_what_a_trigger_or_a_check_refuses_is_a_conflict(lab: Lab) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, n int)")
    lab("INSERT INTO lab.t VALUES (1, 1), (2, 2)")
    deleted = lab("DELETE FROM lab.t")
    execute("ALTER TABLE lab.t ADD CHECK (n > 1)")
    plan = deleted.revert(on_conflict="skip")
    assert kinds(plan) == ["constraint"] and rows("t") == ['{"n": 2, "id": 2}']
    execute(
        "CREATE FUNCTION lab.ignore() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER ignore BEFORE DELETE ON lab.t FOR EACH ROW EXECUTE FUNCTION lab.ignore()"
    )
    created = Change.objects.filter(table="t", operation="CREATE", primary_key="2")
    with pytest.raises(RevertConflict, match="a trigger or a policy"):
        created.revert()


def test_a_reference_that_the_database_refuses_lacks_its_parent(lab: Lab) -> None:
    """What a trigger writes is not in the plan."""
    execute("CREATE TABLE lab.p (k int PRIMARY KEY)")
    execute("CREATE TABLE lab.c (n int PRIMARY KEY, k int REFERENCES lab.p)")
    lab("INSERT INTO lab.p VALUES (1)", "INSERT INTO lab.c VALUES (1, 1)")
    removed = lab("DELETE FROM lab.c")
    execute(
        "CREATE FUNCTION lab.lose() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.k := 9; RETURN NEW; END$$;"
        "CREATE TRIGGER lose BEFORE INSERT ON lab.c FOR EACH ROW EXECUTE FUNCTION lab.lose()"
    )
    with pytest.raises(RevertConflict) as refusal:
        removed.revert()
    assert kinds(refusal.value.plan) == ["missing_parent"]


def test_a_deferred_check_that_fails_at_the_end_is_a_conflict(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY)")
    execute("CREATE TABLE lab.down (id int PRIMARY KEY, up int REFERENCES lab.up DEFERRABLE)")
    execute("INSERT INTO lab.up VALUES (1)")
    created = lab("INSERT INTO lab.up VALUES (2)")
    execute(
        "CREATE FUNCTION lab.refer() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO lab.down VALUES (OLD.id, OLD.id); RETURN OLD; END'; "
        "CREATE TRIGGER refer BEFORE DELETE ON lab.up FOR EACH ROW EXECUTE FUNCTION lab.refer()"
    )
    with pytest.raises(RevertConflict, match="down_up_fkey"):
        created.revert()
    assert len(rows("up")) == 2 and rows("down") == []


def test_constraints_are_left_to_the_transaction_around_as_they_were(lab: Lab) -> None:
    execute("CREATE TABLE lab.up (id int PRIMARY KEY)")
    execute(
        "CREATE TABLE lab.down (id int PRIMARY KEY, "
        "a int REFERENCES lab.up DEFERRABLE INITIALLY DEFERRED, b int REFERENCES lab.up DEFERRABLE)"
    )
    created = lab("INSERT INTO lab.up VALUES (1)")
    with transaction.atomic():
        created.revert()
        # The first may wait for the end; the second may not.
        execute("INSERT INTO lab.down VALUES (1, 9, NULL)")
        with pytest.raises(Exception, match="down_b_fkey"), transaction.atomic():
            execute("INSERT INTO lab.down VALUES (2, NULL, 9)")
        execute("DELETE FROM lab.down")
        assert execute("SHOW DateStyle") == [("ISO, MDY",)]


def test_nothing_and_too_much() -> None:
    assert str(Change.objects.none().revert()) == "nothing to revert"
    here = Change(database="a", schema="s", table="t", operation="CREATE", id=UUID(int=1))
    there = Change(database="b", schema="s", table="t", operation="CREATE", id=UUID(int=2))
    from bemi_django.revert import revert

    with pytest.raises(BemiError, match=r"several databases \(a, b\)"):
        revert([here, there])


def test_rows_that_exclude_each_other_are_told_apart_and_change_places(lab: Lab) -> None:
    key = "PRIMARY KEY (room, during), EXCLUDE USING gist (room WITH =, during WITH &&)"
    if connection.pg_version >= 180000:  # type: ignore[attr-defined]
        key = "PRIMARY KEY (room, during WITHOUT OVERLAPS)"
    execute(f"CREATE TABLE lab.stay (room int4range, during int4range, name text, {key})")
    execute("INSERT INTO lab.stay VALUES ('[1,2)', '[1,5)', 'a'), ('[1,2)', '[5,9)', 'b')")
    named = lab("UPDATE lab.stay SET name = 'A' WHERE name = 'a'")
    moved = lab("DELETE FROM lab.stay; INSERT INTO lab.stay VALUES ('[1,2)', '[2,7)', 'c')")
    (conflict,) = named.revert(dry_run=True).conflicts
    assert conflict.kind == "missing_row", "another row was taken for it"
    moved.revert()
    execute("DELETE FROM lab.stay WHERE name = 'A'")
    assert rows("stay") == ['{"name": "b", "room": "[1,2)", "during": "[5,9)"}']


def test_a_key_is_put_back_with_what_followed_it(lab: Lab) -> None:
    execute("CREATE TABLE lab.tree (id int PRIMARY KEY)")
    for child, parent in (("leaf", "tree"), ("bug", "leaf")):
        reference = f"id int UNIQUE REFERENCES lab.{parent} (id) ON UPDATE CASCADE"
        execute(f"CREATE TABLE lab.{child} (number int PRIMARY KEY, {reference})")
    execute("INSERT INTO lab.tree VALUES (1), (2)")
    execute("INSERT INTO lab.leaf VALUES (7, 1), (8, 2); INSERT INTO lab.bug VALUES (9, 1)")
    lab("UPDATE lab.tree SET id = id + 10")
    Change.objects.filter(table="tree", primary_key="11", operation="UPDATE").revert()
    assert {*rows("tree")} == {'{"id": 1}', '{"id": 12}'}
    assert {*rows("leaf")} == {'{"id": 1, "number": 7}', '{"id": 12, "number": 8}'}
    assert rows("bug") == ['{"id": 1, "number": 9}']
    # It is a part of their own keys, down to the last one.
    execute(
        "CREATE TABLE lab.twig (id int REFERENCES lab.tree ON UPDATE CASCADE, n int, PRIMARY KEY (id, n))"
    )
    execute(
        "CREATE TABLE lab.bud (id int, n int, m int, PRIMARY KEY (id, n, m), "
        "FOREIGN KEY (id, n) REFERENCES lab.twig ON UPDATE CASCADE)"
    )
    lab(
        "INSERT INTO lab.twig VALUES (1, 1), (1, 2), (12, 1)",
        "INSERT INTO lab.bud VALUES (1, 1, 1), (1, 2, 3)",
    )
    moved = lab("UPDATE lab.tree SET id = 21 WHERE id = 1", "UPDATE lab.twig SET n = 9 WHERE n = 2")
    assert sum(step.is_done for step in moved.revert().steps) == 7
    assert {*rows("twig")} == {'{"n": 1, "id": 1}', '{"n": 1, "id": 12}', '{"n": 2, "id": 1}'}
    assert {*rows("bud")} == {'{"m": 1, "n": 1, "id": 1}', '{"m": 3, "n": 2, "id": 1}'}


KEPT = """
CREATE TABLE lab.note (
    id int PRIMARY KEY, text text, slug text, row_version int DEFAULT 1, version int DEFAULT 1,
    closed_at timestamptz, "tö" tsvector, shout text
);
CREATE FUNCTION lab.count() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    IF TG_OP = 'UPDATE' THEN NEW.row_version := OLD.row_version + 1; END IF;
    RETURN NEW;
END$$;
CREATE FUNCTION lab.slug() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    NEW.slug = lower(NEW.text); RETURN NEW;
END$$;
CREATE FUNCTION lab.close() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    IF NEW.text = 'done' AND OLD.text <> 'done' THEN NEW.closed_at := now(); END IF;
    RETURN NEW;
END$$;
CREATE TRIGGER count BEFORE INSERT OR UPDATE ON lab.note FOR EACH ROW EXECUTE FUNCTION lab.count();
CREATE TRIGGER slug BEFORE INSERT OR UPDATE ON lab.note FOR EACH ROW EXECUTE FUNCTION lab.slug();
CREATE FUNCTION lab.shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    NEW.shout := upper(NEW.text); RETURN NEW;
END$$;
CREATE TRIGGER close BEFORE UPDATE ON lab.note FOR EACH ROW EXECUTE FUNCTION lab.close();
CREATE TRIGGER shout BEFORE UPDATE OF text ON lab.note FOR EACH ROW EXECUTE FUNCTION lab.shout();
CREATE TRIGGER words BEFORE INSERT OR UPDATE ON lab.note
    FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger("tö", 'pg_catalog.simple', text);
INSERT INTO lab.note VALUES (1, 'One'), (2, 'Two');
"""


def test_what_triggers_and_applications_keep_goes_on(lab: Lab, settings: Any) -> None:
    """The version of an optimistic lock never goes back, and is in nobody's way."""
    settings.BEMI_VERSION_COLUMNS = ["lab.note.version"]
    lab(KEPT)
    edited = lab("UPDATE lab.note SET text = 'done', version = version + 1 WHERE id = 1")
    # Only what is kept differs now: another save that changed nothing.
    lab("UPDATE lab.note SET version = version + 1 WHERE id = 1")
    plan = edited.revert(dry_run=True)
    assert kinds(plan) == [] and plan.steps[0].renewed == ("row_version", "shout", "slug", "tö", "version")
    assert set(plan.steps[0].values) == {"text", "closed_at"}, "set at some updates only"
    edited.revert()
    assert execute("SELECT * FROM lab.note WHERE id = 1") == [(1, "One", "one", 4, 4, None, "'one':1", "ONE")]
    (undone,) = lab.fresh()
    undone.revert()
    assert execute("SELECT text, row_version, version FROM lab.note WHERE id = 1") == [("done", 5, 5)]
    lab.fresh()
    only = lab("UPDATE lab.note SET version = version + 1 WHERE id = 1")
    assert [step.action for step in only.revert().steps] == ["nothing"]
    deleted = lab("DELETE FROM lab.note WHERE id = 2")
    deleted.revert()
    assert execute("SELECT text, slug, row_version, version FROM lab.note WHERE id = 2") == [
        ("Two", "two", 1, 2)
    ]
    created = lab("INSERT INTO lab.note VALUES (3, 'Three')")
    lab("UPDATE lab.note SET version = 9 WHERE id = 3")
    assert kinds(created.revert()) == [] and execute("SELECT count(*) FROM lab.note") == [(2,)]
    # Triggers that wait for the text leave alone what is changed without it.
    lab.fresh()
    direct = lab("""UPDATE lab.note SET "tö" = 'x', shout = 'x' WHERE id = 1""")
    assert direct.revert(dry_run=True).steps[0].renewed == ("row_version", "slug", "version")
    direct.revert()
    assert execute('SELECT "tö", shout FROM lab.note WHERE id = 1') == [("'done':1", "DONE")]
