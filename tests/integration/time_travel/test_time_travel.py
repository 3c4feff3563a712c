"""``as_of()``: ordinary queries see the database as it was, nobody else does, and nothing is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.db.models import Count
from django.utils import timezone

from bemi_django.exceptions import HistoryError, LogBehind, PastIsReadOnly
from bemi_django.models import Change
from bemi_django.time_travel import AsOfQuerySet, JustBefore, allow_save, as_of, read_as_of
from tests.shop.models import Category, Product
from tests.support.pipeline import Drain, Pipeline
from tests.support.polling import DEADLINE
from tests.support.project_database import execute
from tests.support.travel import here, settled


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


@pytest.fixture
def moment(drain: Drain) -> Iterator[str]:
    """Before it there are two products of the category "old"; now one is gone, one new, and all renamed."""
    old = Category.objects.create(name="old")
    Product.objects.create(sku="a", category=old, price="1.50")
    Product.objects.create(sku="b", category=old, price="2.50")
    moment = here()
    Product.objects.filter(sku="b").delete()
    Product.objects.update(sku="A", price=7)
    Product.objects.create(sku="C", category=old)
    Category.objects.update(name="new")
    drain()
    with settled:
        yield moment


def skus() -> list[str]:
    return list(Product.objects.order_by("sku").values_list("sku", flat=True))


class ReadsElsewhere:
    """A router that lets models be read from a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_models_that_are_read_from_a_replica_are_read_from_the_past(moment: str, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [ReadsElsewhere()]
    assert skus() == []
    with as_of(moment):
        assert skus() == ["a", "b"] and Product.objects.using("other").count() == 0
        assert [one.category.name for one in Product.objects.all()] == ["old", "old"]
    assert skus() == []


def test_tables_that_stay_in_the_present_are_read_beside_the_past(moment: str) -> None:
    products = Product.objects.order_by("sku").values_list("sku", "category__name")
    with as_of(moment, present=["shop_category", "django_session", "no_such_table"]):
        assert list(products.all()) == [("a", "new"), ("b", "new")]
        assert execute("SELECT name FROM public.shop_category") == [("new",)]
        # It is not tracked: as of then, nothing is known of it.
        assert execute("SELECT count(*) FROM django_session") == [(0,)]
        with as_of(moment):
            assert list(Category.objects.values_list("name", flat=True)) == ["new"]
        with pytest.raises(PastIsReadOnly):
            Category.objects.update(name="x")
    with as_of(moment):
        assert list(products.all()) == [("a", "old"), ("b", "old")]


def test_a_moment_can_be_just_before_a_change(drain: Drain) -> None:
    with transaction.atomic():
        category = Category.objects.create(name="first")
        Product.objects.create(sku="a", category=category)
    drain()
    with transaction.atomic():
        Product.objects.update(sku="b")
        Category.objects.update(name="second")
    first, second = drain()
    with settled:
        for change in (first, second):
            # Before its transaction, whichever of its changes it is.
            with as_of(JustBefore(change)):
                assert (skus(), Category.objects.get().name) == (["a"], "first")
        change.database = "elsewhere"
        with pytest.raises(HistoryError, match="pass using="), as_of(JustBefore(change)):
            pass


def test_queries_see_what_was_there(moment: str) -> None:
    with as_of(moment):
        assert skus() == ["a", "b"]
        assert [str(product.price) for product in Product.objects.order_by("sku")] == ["1.50", "2.50"]
        assert {product.category.name for product in Product.objects.select_related("category")} == {"old"}
        (category,) = Category.objects.prefetch_related("products").annotate(count=Count("products"))
        assert (category.name, category.count, len(category.products.all())) == ("old", 2, 2)
        assert [product.sku for product in Product.objects.order_by("sku").iterator()] == ["a", "b"]
        assert Product.objects.raw("SELECT * FROM shop_product WHERE sku = 'b'")[0].sku == "b"
        assert execute("SELECT count(*) FROM public.shop_product") == [(2,)]
    assert skus() == ["A", "C"]


@pytest.mark.parametrize("kind", ["datetime", "naive datetime", "transaction", "change"])
def test_a_moment_has_many_names(kind: str, drain: Drain) -> None:
    with transaction.atomic():
        Category.objects.create(name="one")
        Category.objects.create(name="two")
    (_, two) = drain()
    Category.objects.all().delete()
    drain()
    names: dict[str, Any] = {
        "datetime": two.committed_at,
        "naive datetime": timezone.make_naive(two.committed_at),
        "transaction": two.transaction_id,
        "change": two,
    }
    with settled, as_of(names[kind]):
        assert Category.objects.count() == 2
    with settled, as_of(two.committed_at - timedelta(microseconds=1)):
        assert Category.objects.count() == 0


def test_a_block_inside_a_block_restores_it(moment: str) -> None:
    now = here()
    with as_of(moment):
        with as_of(now):
            assert skus() == ["A", "C"]
        assert skus() == ["a", "b"]
        with pytest.raises(ZeroDivisionError), as_of(now):
            execute("SELECT 1 / 0") if skus() == [] else 1 / 0
        with pytest.raises(Exception, match="does not exist"), as_of(now):
            execute("SELECT nothing")
        assert skus() == ["a", "b"]
        with pytest.raises(HistoryError, match="not a moment"), as_of("yesterday"):
            pass
        assert skus() == ["a", "b"]
    assert skus() == ["A", "C"]
    assert execute("SHOW search_path") == [('"$user", public',)]


WRITES = [
    "INSERT INTO shop_category (name) VALUES ('x')",
    "UPDATE shop_category SET name = 'x'",
    "DELETE FROM shop_category",
    "TRUNCATE shop_category CASCADE",
    "WITH gone AS (DELETE FROM shop_category RETURNING 1) SELECT * FROM gone",
    "WITH gone AS (DELETE FROM public.changes RETURNING 1) SELECT * FROM gone",
    "CREATE TABLE x ()",
    "SELECT nextval('shop_category_id_seq')",
    "SELECT 1 FROM public.changes FOR UPDATE",
]


@pytest.mark.parametrize("statement", WRITES)
def test_a_write_is_refused(statement: str, moment: str) -> None:
    with pytest.raises(PastIsReadOnly), as_of(moment):
        execute(statement)
    assert skus() == ["A", "C"]
    with as_of(moment):
        with pytest.raises(PastIsReadOnly), transaction.atomic():
            execute(statement)
        assert skus() == ["a", "b"]


def test_what_was_read_in_the_past_is_not_saved_unless_asked(moment: str) -> None:
    with as_of(moment):
        product = Product.objects.select_related("category").get(sku="a")
        with pytest.raises(PastIsReadOnly):
            product.save()
        fresh = Category(name="made in the block")
    for instance in (product, product.category):
        with pytest.raises(PastIsReadOnly, match="allow_save"):
            instance.save()
        with pytest.raises(PastIsReadOnly, match="allow_save"):
            instance.delete()
    assert skus() == ["A", "C"]
    allow_save(product)
    product.save()
    assert skus() == ["C", "a"]
    product.delete()
    fresh.save()
    fresh.delete()
    again = Product.objects.get(sku="C")
    again.save()
    Product.objects.all().delete()


def test_one_query_in_the_past_leaves_the_others_alone(moment: str) -> None:
    past = read_as_of(Product.objects.select_related("category").prefetch_related("orders"), moment)
    assert [product.category.name for product in past.filter(price__gt=2)] == ["old"]
    assert (past.count(), past.exists(), past.filter(sku="A").exists()) == (2, True, False)
    assert past.get(sku="a").sku == past.order_by("sku").first().sku == "a"  # type: ignore[union-attr]
    assert sorted(product.sku for product in past.iterator(chunk_size=10)) == ["a", "b"]
    assert past.aggregate(n=Count("id")) == {"n": 2}
    assert list(past.values_list("sku", flat=True).order_by("-sku")) == ["b", "a"]
    with pytest.raises(PastIsReadOnly):
        past.update(sku="x")
    with pytest.raises(PastIsReadOnly):
        past.create(sku="x")
    with pytest.raises(PastIsReadOnly):
        list(Category.objects.filter(products__in=past))
    assert skus() == ["A", "C"]


def test_a_manager_can_have_it(moment: str) -> None:
    objects: Any = AsOfQuerySet.as_manager()
    objects.model = Product
    assert objects.as_of(moment).filter(sku="b").count() == 1


def test_other_threads_see_the_present(moment: str) -> None:
    both_inside = threading.Barrier(2, timeout=DEADLINE)

    def past() -> list[str]:
        try:
            with as_of(moment):
                both_inside.wait()
                seen = skus()
                both_inside.wait()
                return seen
        finally:
            connection.close()

    def present() -> list[str]:
        try:
            both_inside.wait()
            seen = skus()
            product = Product.objects.get(sku="C")
            product.save()
            both_inside.wait()
            return seen
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        results = pool.submit(past), pool.submit(present)
        assert [result.result() for result in results] == [["a", "b"], ["A", "C"]]


def test_async_code_reads_the_past_in_its_thread(moment: str) -> None:
    def past() -> list[str]:
        with as_of(moment):
            return skus()

    async def main() -> Any:
        counted = read_as_of(Product.objects.all(), moment).acount()
        try:
            return await asyncio.gather(sync_to_async(past)(), sync_to_async(skus)(), counted)
        finally:
            await sync_to_async(connections.close_all)()

    assert asyncio.run(main()) == [["a", "b"], ["A", "C"], 2]


def test_in_a_transaction_it_wants_one_snapshot_and_no_writes(moment: str) -> None:
    with transaction.atomic():
        with pytest.raises(HistoryError, match="ATOMIC_REQUESTS"), as_of(moment):
            pass
        assert skus() == ["A", "C"]
    with transaction.atomic():
        execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with as_of(moment):
            assert skus() == ["a", "b"]
        Category.objects.update(name="newest")
        with pytest.raises(HistoryError, match="has written"), as_of(moment):
            pass
    assert Category.objects.get().name == "newest"


def test_what_is_left_for_after_the_commit_is_not_done(moment: str) -> None:
    done: list[str] = []

    def later(name: str) -> None:
        transaction.on_commit(lambda: done.append(name))

    with as_of(moment):
        later("in the block")
        with as_of(here()):
            later("nested")
        with transaction.atomic():
            later("in a savepoint")
    with pytest.raises(RuntimeError), as_of(moment):
        later("failing")
        raise RuntimeError
    with transaction.atomic():
        execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        later("before")
        with as_of(moment):
            later("in the transaction")
        later("after")
    assert done == ["before", "after"]


def test_without_a_worker_it_does_not_wait_forever(drain: Drain, settings: Any) -> None:
    moment = here()
    settings.BEMI_AS_OF_PATIENCE = 0.2
    with pytest.raises(LogBehind, match="bemi run"), as_of(moment):
        pass
    settings.BEMI_AS_OF_PATIENCE = 1e9
    pipeline = Pipeline.of_project("bemi_test")
    with pipeline.worker(), as_of(moment):
        assert skus() == []
    pipeline.release()
    pipeline.source.administer("SELECT pg_drop_replication_slot(%s)", [pipeline.slot])
    Category.objects.create(name="new")
    with pytest.raises(LogBehind, match="the replication slot .* is gone.*--accept-gap"), as_of(moment):
        pass


def test_a_moment_in_the_future_is_none(drain: Drain) -> None:
    with settled, pytest.raises(LogBehind, match="future"), as_of("FFFF/FFFFFFFF"):
        pass


@pytest.mark.parametrize(
    "moment", ["yesterday", "1/2/3", "-1/0", "FFFFFFFF/0", "", "a\0", object(), True, -1, 2**63, 10**20]
)
def test_what_is_no_moment_is_said(moment: Any, drain: Drain) -> None:
    with settled, pytest.raises(HistoryError, match="is not a moment"), as_of(moment):
        pass


def test_an_unknown_transaction_is_said(drain: Drain) -> None:
    with settled, pytest.raises(HistoryError, match="transaction 4 is not in the log"), as_of(4):
        pass


def test_the_log_itself_is_as_it_is(moment: str) -> None:
    with as_of(moment):
        assert Change.objects.count() == 7
        # The path leads to the table's past first.
        assert Change.objects.for_object(Category.objects.get()).count() == 2
