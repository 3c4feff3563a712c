"""Changes of a row under all keys that it had, and of no other row."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bemi_django.erasure.objects import targets_of_instance
from bemi_django.exceptions import BemiError
from bemi_django.log import keys
from bemi_django.log.blame import blame
from bemi_django.log.conditions import in_span
from bemi_django.log.identity import key_spans
from bemi_django.log.keys import has_logged_key, key_of
from bemi_django.log.object_changes import TableLog
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from sample_project.todos.models import Todo
from tests.support.passing_models import meta_of, passing_models
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.travel import settled


def tasks(key: int) -> list[Any]:
    changes = Change.objects.for_object(Todo(pk=key)).asc()
    return [(change.after or change.before)["task"] for change in changes]


def test_a_chain_of_keys_is_one_history(drain: Drain) -> None:
    todo = Todo.objects.create(pk=500, task="a")
    Todo.objects.update(task="b")
    for key in (501, 502, 503):
        Todo.objects.update(id=key)
        Todo.objects.update(task=str(key))
    drain()
    expected = ["a", "b", "b", "501", "501", "502", "502", "503"]
    for key in (500, 501, 502, 503):
        assert tasks(key) == expected
    todo.pk = 503
    assert blame(todo)["task"].previous == "502"


def test_a_key_that_another_row_gets_is_not_followed(drain: Drain) -> None:
    Todo.objects.create(pk=500, task="first")
    Todo.objects.update(id=501)
    Todo.objects.create(pk=500, task="second")
    Todo.objects.filter(pk=500).update(task="second too")
    drain()
    assert tasks(501) == ["first", "first"]
    assert tasks(500) == ["second", "second too"]
    Todo.objects.filter(pk=500).delete()
    Todo.objects.filter(pk=501).update(id=500)
    Todo.objects.filter(pk=500).update(task="back")
    drain()
    assert tasks(500) == ["first", "first", "first", "back"]


def test_a_row_that_comes_back_is_the_same(drain: Drain) -> None:
    Todo.objects.create(pk=500, task="a")
    drain()
    Todo.objects.all().delete()
    drain()
    Change.objects.for_object(Todo(pk=500)).deleted().revert()
    drain()
    assert [change.operation for change in Change.objects.for_object(Todo(pk=500)).asc()] == [
        "CREATE",
        "DELETE",
        "CREATE",
    ]


def other_keys() -> list[type[models.Model]]:
    """Declare models whose keys are not those of their tables."""

    class Parted(models.Model):  # noqa: DJ008
        day = models.DateField()
        name = models.CharField(max_length=9)
        Meta = meta_of('keys"."parted', managed=False)

    class Numbered(models.Model):  # noqa: DJ008
        name = models.CharField(max_length=9)
        code = models.CharField(max_length=9, primary_key=True)
        Meta = meta_of('keys"."numbered', managed=False)

    class Loose(models.Model):  # noqa: DJ008
        name = models.CharField(max_length=9)
        code = models.CharField(max_length=9, primary_key=True)
        Meta = meta_of('keys"."loose', managed=False)

    return [Parted, Numbered, Loose]


OTHER_KEYS = """
CREATE TABLE keys.parted (id int, day date, name text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE keys.all_days PARTITION OF keys.parted DEFAULT;
CREATE TABLE keys.numbered (number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE, name text);
CREATE TABLE keys.loose (code text, name text)
"""


def test_a_row_is_found_where_the_key_of_its_table_is_not_that_of_its_model(
    drain: Drain, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_INCLUDE = ["public.*", "keys.*"]
    try:
        with passing_models(other_keys, "keys") as (parted, numbered, loose):
            execute(OTHER_KEYS)
            tracking.sync()
            found: list[Any] = [parted(pk=1, day="2030-01-02", name="a")]
            # The key that the table has of another row is what the model calls the key of this one.
            found += [model(pk=key, name="a") for model in (numbered, loose) for key in ("2", "1")]
            for row in found:
                row.save(force_insert=True)
                type(row).objects.filter(pk=row.pk).update(name="b")
            drain()
            for row in found:
                changes = Change.objects.for_object(row)
                assert [change.operation for change in changes] == ["CREATE", "UPDATE"], row
                assert {change.object for change in changes} == {row}
                bare = type(row)(pk=row.pk)
                assert list(Change.objects.for_object(bare)) == list(changes)
                if not isinstance(row, loose):
                    assert blame(bare)["name"].change == blame(row)["name"].change == changes.last()
                told = "has no primary key" if isinstance(row, loose) else "is not that of"
                with pytest.raises(BemiError, match=told):
                    targets_of_instance(bare, "default")
            (target,) = targets_of_instance(found[0], "default")
            assert [span.key for span in target.spans] == ['["2030-01-02", 1]']
            row = numbered._default_manager.get(pk="2")
            assert not has_logged_key(row)
            execute("ALTER TABLE keys.numbered DROP CONSTRAINT numbered_pkey, ADD PRIMARY KEY (code)")
            assert not has_logged_key(row), "nothing is asked for each request"
            with monkeypatch.context() as a_minute_later:
                a_minute_later.setattr(keys, "_LIFE", -1.0)
                assert has_logged_key(row) and key_of(row) == "2"
                drain()
                with settled, as_of(timezone.now()):
                    assert key_of(row) == "2", "the name is that of a view there"
    finally:
        execute("DROP SCHEMA IF EXISTS keys CASCADE")


@pytest.mark.django_db
def test_the_key_of_a_table_is_asked_beside_the_queries_of_the_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked again every minute: a test of a project that counts queries must not see when."""
    monkeypatch.setattr(keys, "_LIFE", -1.0)
    seen: list[str] = []

    def see(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with CaptureQueriesContext(connection) as queries, connection.execute_wrapper(see):
        assert key_of(Todo(pk=1)) == "1"
        assert has_logged_key(Todo(pk=1))
    assert (len(queries), seen) == (0, [])


def act(rows: dict[int, int], step: int, what: str, one: int, two: int) -> None:
    if what == "insert" and one not in rows:
        rows[one] = step
        execute("INSERT INTO row_of_life VALUES (%s, %s, %s)", [one, step, step])
    elif what == "move" and one in rows and two not in rows:
        execute("UPDATE row_of_life SET id = %s, step = %s WHERE id = %s", [two, step, one])
        rows[two] = rows.pop(one)
    elif what == "swap" and one != two and one in rows and two in rows:
        execute(
            "UPDATE row_of_life SET id = CASE id WHEN %s THEN %s ELSE %s END, step = %s WHERE id IN (%s, %s)",
            [one, two, one, step, one, two],
        )
        rows[one], rows[two] = rows[two], rows[one]
    elif what == "touch" and one in rows:
        execute("UPDATE row_of_life SET step = %s WHERE id = %s", [step, one])
    elif what == "delete" and one in rows:
        execute("DELETE FROM row_of_life WHERE id = %s", [one])
        del rows[one]


@pytest.mark.django_db(transaction=True)
def test_each_row_has_its_own_history_whatever_happens_to_its_key(drain: Drain) -> None:
    """Rows carry their number in a column that never changes; keys move, are exchanged and given again."""
    execute(
        "CREATE TABLE row_of_life (id int, number int, step int, "
        "CONSTRAINT life_key PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    tracking.sync()
    keys = st.integers(1, 4)
    action = st.one_of(
        st.tuples(st.just("insert"), keys, keys),
        st.tuples(st.just("move"), keys, keys),
        st.tuples(st.just("swap"), keys, keys),
        st.tuples(st.just("touch"), keys, keys),
        st.tuples(st.just("delete"), keys, keys),
    )

    @given(st.lists(st.lists(action, min_size=1, max_size=5), min_size=1, max_size=7))
    @example([[("insert", 1, 1)], [("move", 1, 2), ("touch", 2, 1), ("move", 2, 3)]])
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    def check(actions: list[list[tuple[str, int, int]]]) -> None:
        execute("DELETE FROM row_of_life")
        drain()
        last = Change.objects.order_by("-id").first()
        rows: dict[int, int] = {}
        step = 0
        for together in actions:
            with transaction.atomic():
                for what, one, two in together:
                    step += 1
                    act(rows, step, what, one, two)
        drain()
        changes = Change.objects.filter(table="row_of_life")
        if last is not None:
            changes = changes.filter(id__gt=last.pk)
        own: dict[int, list[Any]] = {}
        for change in changes.asc():
            own.setdefault((change.after or change.before)["number"], []).append(change.pk)
        for key, expected in rows.items():
            spans = list(key_spans(TableLog(changes), str(key)))
            found = [change.pk for span in spans for change in changes.filter(in_span(span))]
            assert len(found) == len(set(found))
            ours = {pk for pk in found if pk in own[expected]}
            assert ours == set(own[expected]), (actions, key, spans)
            # Rows that had the same key before, and were deleted there, are its earlier lives.
            for stranger in set(found) - ours:
                gone = changes.filter(operation="DELETE")
                assert any(stranger in pks and gone.filter(pk__in=pks).exists() for pks in own.values()), (
                    actions,
                    key,
                )

    try:
        check()
    finally:
        execute("DROP TABLE row_of_life")
        tracking.sync()
