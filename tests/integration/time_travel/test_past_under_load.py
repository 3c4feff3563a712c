"""``as_of()`` while others write: the worker is always a moment behind, and the answer is right."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from bemi_django.exceptions import HistoryError, LogBehind
from bemi_django.time_travel import as_of, late
from bemi_django.time_travel.late import Late
from tests.shop.models import Category, Product
from tests.support.pipeline import Drain, Pipeline
from tests.support.project_database import another_session, execute, wait_until
from tests.support.server_conditions import no_standby
from tests.support.travel import here, settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


NOTHING = "00000000-0000-0000-0000-000000000000"
EXCHANGING = {("public", "t")}


@contextmanager
def writing(states: list[tuple[str, Any]]) -> Iterator[None]:
    """Transactions without a pause: each moves stock between products, makes one, and deletes one."""
    done = threading.Event()

    def write() -> None:
        category = Category.objects.get()
        number = 0
        while not done.is_set():
            number += 1
            with transaction.atomic():
                Product.objects.filter(sku=f"p{number - 1}").delete()
                Product.objects.create(sku=f"p{number}", category=category, stock=-number)
                Product.objects.filter(sku="balance").update(stock=number)
                Product.objects.filter(sku="key").update(id=1_000_000 + number)
            states.append((here(), list(Product.objects.order_by("sku").values("id", "sku", "stock"))))
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_while_others_write(drain: Drain) -> None:
    category = Category.objects.create(name="a")
    Product.objects.create(sku="balance", category=category)
    Product.objects.create(sku="key", category=category)
    states: list[tuple[str, Any]] = []
    rounds = was_late = 0
    with Pipeline.of_project("bemi_test").worker(), writing(states):
        while rounds < 100 or not was_late or len(states) < 10:
            rounds += 1
            for moment, state in states[-1:] + states[len(states) // 2 : len(states) // 2 + 1]:
                with as_of(moment):
                    assert list(Product.objects.order_by("sku").values("id", "sku", "stock")) == state
                    assert Product.objects.aggregate(total=Sum("stock")) == {"total": 0}
                    was_late += execute("SHOW bemi.as_of_late") != [("[]",)]


def test_a_moment_is_found_among_changes_that_the_log_does_not_have_yet(drain: Drain) -> None:
    drain()
    with Pipeline.of_project("bemi_test").worker():
        for number in range(10):
            Category.objects.create(name=f"{number}")
            (xid,) = execute("SELECT max(xmin::text::bigint) FROM shop_category")[0]
            moment = timezone.now()
            Category.objects.filter(name=f"{number}").update(name=f"later {number}")
            for when in (moment, xid):
                with as_of(when):
                    assert Category.objects.latest("pk").name == f"{number}"
                    assert Category.objects.filter(name__startswith="later").count() == number


@pytest.mark.administrator
def test_what_the_log_has_and_the_tables_do_not_show_yet_is_waited_for(drain: Drain) -> None:
    """A commit is sent when it is durable; it is visible when its standby has it, too."""
    for name in "ab":
        Category.objects.create(name=name)
    drain()
    before = here()
    with (
        no_standby(),
        Pipeline.of_project("bemi_test").worker(),
        another_session(options="-c synchronous_commit=on") as other,
    ):
        other.execute("UPDATE shop_category SET id = id + 1000 WHERE name = 'a'")
        other.execute("DELETE FROM shop_category WHERE name = 'b'")
        commit = threading.Thread(target=other.connection.commit)
        commit.start()
        try:
            wait_until("SELECT count(*) = 4 FROM changes")
            assert Category.objects.filter(name="b").exists()
            # Of both moments: what would be taken for the past of a row is its present still.
            for moment in (before, here()):
                with pytest.raises(LogBehind, match="too far behind"), as_of(moment):
                    pass
        finally:
            execute("SELECT pg_cancel_backend(%s)", [other.connection.info.backend_pid])
            commit.join()
        with as_of(before):
            assert sorted(Category.objects.values_list("name", flat=True)) == ["a", "b"]
        with as_of(here()):
            assert Category.objects.get().name == "a"


def test_a_break_that_the_log_does_not_have_yet_is_said(drain: Drain) -> None:
    drain()
    with Pipeline.of_project("bemi_test").worker():
        for _ in range(5):
            Category.objects.create(name="a")
            moment = here()
            execute("TRUNCATE shop_category CASCADE")
            with pytest.raises(HistoryError, match="truncated"), as_of(moment):
                list(Category.objects.all())


def test_what_the_log_does_not_have_yet_is_known_all_the_same(drain: Drain) -> None:
    """The worker writes between the snapshot and the second look; here it is made to have been late."""
    a = Category.objects.create(name="a")
    b = Category.objects.create(name="b")
    drain()
    moment = here()
    Category.objects.filter(pk=a.pk).update(name="c")
    Category.objects.filter(pk=a.pk).update(name="d")
    Category.objects.filter(pk=b.pk).delete()
    Category.objects.create(name="e")
    assert [change.operation for change in drain()] == ["UPDATE", "UPDATE", "DELETE", "CREATE"]
    changes = [
        Late(*row)
        for row in execute(
            """SELECT id::text, schema, "table", primary_key, previous_primary_key, operation, before::text,
                      after::text, position, unavailable::text, transaction_id, committed_at, true
               FROM changes WHERE position > %s::pg_lsn - '0/0' ORDER BY id""",
            [moment],
        )
    ]
    execute("DELETE FROM changes WHERE position > %s::pg_lsn - '0/0'", [moment])
    with settled, as_of(moment):
        assert sorted(Category.objects.values_list("name", flat=True)) == ["d", "e"]

        setting = late.rendered(changes, uuid.UUID(NOTHING), EXCHANGING)
        execute("SELECT set_config('bemi.as_of_late', %s, true)", [setting])
        assert sorted(Category.objects.values_list("name", flat=True)) == ["a", "b"]
        assert Category.objects.get(pk=b.pk).name == "b"


@pytest.mark.parametrize("is_same", [True, False], ids=["one transaction", "two transactions"])
def test_rows_that_exchange_their_keys_late(is_same: bool) -> None:
    first = Late(
        _id(1),
        "public",
        "t",
        "2",
        "1",
        "UPDATE",
        '{"id": 1}',
        '{"id": 2, "x": 1}',
        8,
        None,
        7,
        timezone.now(),
        True,
    )
    second = first._replace(
        id=_id(2),
        key="1",
        previous_key="2",
        before='{"id": 2}',
        after='{"id": 1}',
        position=8 if is_same else 16,
    )

    entries = json.loads(late.rendered([first, second], uuid.UUID(NOTHING), EXCHANGING))
    assert [entry["key"] for entry in entries if entry.get("is_row")] == (["1", "2"] if is_same else ["1"])


def test_a_late_row_that_its_transaction_altered_is_no_row_of_before() -> None:
    came = Late(
        _id(1), "public", "t", "1", None, "CREATE", "{}", '{"id": 1}', 8, None, 7, timezone.now(), True
    )  # fmt: skip
    changed = came._replace(
        id=_id(2), operation="UPDATE", before='{"id": 1, "x": 2}', after='{"id": 1, "x": 3}'
    )

    entries = json.loads(late.rendered([came, changed], uuid.UUID(NOTHING), frozenset()))
    assert entries == [{"schema": "public", "table": "t", "key": "1"}]


def _id(number: int) -> str:
    return f"00000000-0000-8000-8000-{number:012x}"
