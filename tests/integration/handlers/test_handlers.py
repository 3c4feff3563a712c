"""Handlers are told of what is committed, whoever commits it and however."""

from __future__ import annotations

import inspect
import io
import json
import re
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.db.models import F
from django.utils import timezone

from bemi_django import bound_context, conf, on_change
from bemi_django.handlers import registry as handlers
from bemi_django.handlers.delivery import Delivery
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.feed import Feed, FeedSpan
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.models import Change, Undelivered
from bemi_django.schema import tracking
from bemi_django.status.recording import problems_of, read_recording, read_standings
from bemi_django.wire.ids import source_of
from tests.shop.models import Category, Order, Product, Review
from tests.support import roles
from tests.support.paths import ROOT
from tests.support.pipeline import Drain, Pipeline, worker_config
from tests.support.polling import until
from tests.support.processes import database_url


@pytest.fixture
def drain(brief_drain: Drain) -> Drain:
    return brief_drain


QUICK = Rhythm(first_pause=0.05, longest_pause=0.1, look=0.01, note=0.0, grace=0.3)

Serve = Callable[..., int]


def execute(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "registered", {})


@pytest.fixture
def serve(drain: Drain, settings: Any, no_others: None) -> Iterator[Serve]:
    """Bring the log and the handlers to the present."""
    settings.BEMI_SLOT = "bemi_test"

    def run() -> int:
        drain()
        return Dispatcher("default", rhythm=QUICK).run(until_current=True)

    yield run
    execute("DELETE FROM _bemi.handlers")


class Heard(list[Change]):
    """What a handler was given."""

    def __call__(self, change: Change) -> None:
        self.append(change)

    @property
    def names(self) -> list[str]:
        return [change.after["name"] for change in self]


def listen(model: Any = Category, **options: Any) -> Heard:
    heard = Heard()

    @on_change(model, **{"name": "listener", **options})
    def listener(change: Change) -> None:
        heard(change)

    return heard


def test_bulk_writes_psql_and_copy_are_heard_in_the_order_of_their_commits(serve: Serve, psql: str) -> None:
    heard = listen()
    serve()
    Category.objects.create(name="saved")
    Category.objects.bulk_create([Category(name="many"), Category(name="more")])
    Category.objects.filter(name="saved").update(name="updated")
    statement = "INSERT INTO shop_category (name) VALUES ('by hand')"
    subprocess.run([psql, database_url(), "-qc", statement], check=True)
    with (
        closing(psycopg2.connect(**conf.connection_parameters("default"))) as other,
        other.cursor() as cursor,
    ):
        cursor.copy_expert("COPY shop_category (name) FROM STDIN", io.StringIO("copied\ncopied too\n"))
        other.commit()
    assert serve() == 7
    assert heard.names == ["saved", "many", "more", "updated", "by hand", "copied", "copied too"]
    assert heard[3].diff() == {"name": ("saved", "updated")}
    assert serve() == 0 and len(heard) == 7


def test_of_updates_those_count_that_changed_a_field(serve: Serve) -> None:
    heard = listen(Product, fields=["price", "category"])
    serve()
    one, other = (Category.objects.create(name=name) for name in "ab")
    product = Product.objects.create(sku="x", category=one)
    Product.objects.update(stock=7)
    Product.objects.update(price=1)
    Product.objects.update(price=1, stock=8)
    Product.objects.update(category=other)
    product.delete()
    serve()
    assert [change.operation for change in heard] == ["CREATE", "UPDATE", "UPDATE", "DELETE"]
    assert [set(change.diff()) for change in heard[1:3]] == [{"price"}, {"category_id"}]


def test_the_last_digit_makes_another_value(serve: Serve) -> None:
    execute("ALTER TABLE shop_product ALTER price TYPE numeric")
    try:
        heard = listen(Product, fields=["price"])
        serve()
        Product.objects.create(sku="x", category=Category.objects.create(name="a"))
        for digits in ("0.1000000000000000000001", "0.1000000000000000000002", "0.1000000000000000000002"):
            execute("UPDATE shop_product SET price = %s::numeric", [digits])
        serve()
        assert [change.operation for change in heard] == ["CREATE", "UPDATE", "UPDATE"]
    finally:
        execute("ALTER TABLE shop_product ALTER price TYPE numeric(12, 2)")


def test_what_is_not_known_to_be_the_same_counts(serve: Serve) -> None:
    heard = listen(Product, fields=["price"])
    serve()
    Product.objects.create(sku="x", category=Category.objects.create(name="a"))
    execute("ALTER TABLE shop_product REPLICA IDENTITY DEFAULT")
    Product.objects.update(stock=7)
    serve()
    tracking.sync()
    assert [change.operation for change in heard] == ["CREATE", "UPDATE"]


def test_truncation_and_silence_are_heard_where_they_are_asked_for(serve: Serve) -> None:
    from bemi_django import skip_tracking

    plain, all_of_them = listen(), listen(name="all", operations=handlers.OPERATIONS)
    serve()
    with skip_tracking(reason="load"):
        Category.objects.create(name="a")
    execute("TRUNCATE shop_category CASCADE")
    serve()
    assert plain == [] and [change.operation for change in all_of_them] == ["SKIPPED", "TRUNCATE"]


def test_a_through_table_is_a_model_too(serve: Serve) -> None:
    heard = listen(Order.products.through)
    serve()
    order = Order.objects.create(number="1")
    product = Product.objects.create(sku="x", category=Category.objects.create(name="a"))
    order.products.add(product)
    serve()
    assert [change.after["product_id"] for change in heard] == [product.pk]


def test_a_handler_that_fails_is_tried_again_and_nothing_overtakes(serve: Serve) -> None:
    heard, others = Heard(), listen(name="other")

    @on_change(Category, name="failing twice")
    def handle(change: Change) -> None:
        heard(change)
        if len(heard) < 3:
            raise RuntimeError

    serve()
    for name in "ab":
        Category.objects.create(name=name)
    assert serve() == 4
    assert heard.names == ["a", "a", "a", "b"]
    assert others.names == ["a", "b"]


def test_pauses_grow_and_are_said_without_values_of_rows(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    @on_change(Category, name="failing", retries=3)
    def handle(change: Change) -> None:
        raise RuntimeError(change.after["name"])

    serve()
    Category.objects.create(name="row-value")
    serve()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("bemi_django")]
    assert [line.rpartition("again in ")[2] for line in lines if "again in" in line] == [
        "0.1 s",
        "0.1 s",
        "0.1 s",
    ]
    assert any("RuntimeError in test_handlers.py, line" in line for line in lines)
    assert not any("row-value" in line for line in lines)


def test_a_change_that_cannot_be_handled_is_kept_aside_and_the_next_ones_are_handled(serve: Serve) -> None:
    heard, is_mended = Heard(), False

    @on_change(Category, name="poisoned", retries=2)
    def handle(change: Change) -> None:
        heard(change)
        if change.after["name"] == "poison" and not is_mended:
            raise ValueError("what is this?\0")

    serve()
    for name in ("a", "poison", "b"):
        Category.objects.create(name=name)
    assert serve() == 2
    assert heard.names == ["a", "poison", "poison", "poison", "b"]
    (letter,) = Undelivered.objects.all()
    assert (letter.handler, letter.change_id, letter.attempts) == ("poisoned", heard[1].pk, 3)
    assert letter.reason.startswith("ValueError in test_handlers.py, line ")
    assert letter.reason.endswith(": what is this?")

    assert bemi("handlers") == "poisoned: 0 pending, 1 undelivered\n"
    assert bemi("handlers", "--retry") == "0 handled, 1 kept\n"
    is_mended = True
    assert bemi("handlers", "--retry") == "1 handled, 0 kept\n"
    assert heard.names[-1] == "poison" and not Undelivered.objects.exists()
    # No process calls it any more.
    Category.objects.create(name="late")
    serve_nothing(serve)
    execute("UPDATE changes SET created_at = created_at - interval '1 hour'")
    assert [(one.pending, one.waited < 300) for one in read_standings("default")] == [(1, True)]
    execute("UPDATE _bemi.handlers SET updated_at = updated_at - interval '10 minutes'")
    found = read_recording("default")
    assert [(one.pending, 600 <= one.waited < 900) for one in found.handlers] == [(1, True)]
    assert [line for line in problems_of(found) if "bemi run --handlers' where" in line]


def test_what_was_kept_aside_may_be_gone_from_the_log(serve: Serve) -> None:
    listen()
    serve()
    Undelivered.objects.create(
        handler="listener", change_id=UUID(int=1), attempts=6, reason="x", created_at=timezone.now()
    )
    assert bemi("handlers", "--retry") == "0 handled, 1 kept\n"
    assert Undelivered.objects.get().reason == "the log no longer has the change"


def bemi(*arguments: str) -> str:
    out = io.StringIO()
    call_command("bemi", *arguments, stdout=out)
    return out.getvalue()


def test_what_a_failed_attempt_wrote_is_taken_back(serve: Serve) -> None:
    attempts: list[Change] = []

    @on_change(Product, name="writer")
    def handle(change: Change) -> None:
        Category.objects.create(name=f"attempt {len(attempts)}")
        attempts.append(change)
        if len(attempts) == 1:
            Category.objects.create(name="attempt 0")

    serve()
    Product.objects.create(sku="x", category=Category.objects.create(name="a"))
    serve()
    assert list(Category.objects.order_by("id").values_list("name", flat=True)) == ["a", "attempt 1"]


def test_an_error_of_the_database_in_a_handler_is_that_handlers(serve: Serve) -> None:
    heard = listen(name="other")

    @on_change(Category, name="rude", retries=1)
    def handle(change: Change) -> None:
        try:
            execute("SELECT 1 / 0")
        except Exception:
            execute("ROLLBACK TO SAVEPOINT nowhere")

    serve()
    Category.objects.create(name="a")
    serve()
    assert heard.names == ["a"] and Undelivered.objects.count() == 1


def test_a_handler_that_breaks_its_connection_does_not_stop_the_rest(serve: Serve) -> None:
    heard = Heard()

    @on_change(Category, name="rude", retries=1)
    def handle(change: Change) -> None:
        if change.after["name"] == "poison":
            execute("SELECT pg_terminate_backend(pg_backend_pid())")
        heard(change)

    serve()
    for name in ("a", "poison", "b"):
        Category.objects.create(name=name)
    serve()
    assert heard.names == ["a", "b"]
    assert "lost its connection" in Undelivered.objects.get().reason


def test_what_a_handler_writes_says_why(serve: Serve, drain: Drain) -> None:
    @on_change(Product, name="writer")
    def handle(change: Change) -> None:
        Category.objects.create(name=change.after["sku"])

    serve()
    with bound_context(user_id=7):
        Product.objects.create(sku="x", category=Category.objects.create(name="a"))
    serve()
    (written,) = [change for change in drain() if change.table == "shop_category"]
    cause = Change.objects.get(table="shop_product")
    assert written.context["handler"] == "writer"
    assert UUID(written.context["caused_by"]) == cause.pk


def test_a_handler_does_not_hear_itself_unless_it_wants_to(serve: Serve) -> None:
    calls = {"deaf": 0, "all ears": 0}

    def handler(name: str) -> Callable[[Change], None]:
        def handle(change: Change) -> None:
            calls[name] += 1
            if calls[name] < 5:
                Product.objects.update(stock=F("stock") + 1)

        return handle

    on_change(Product, name="deaf", operations=["UPDATE"])(handler("deaf"))
    serve()
    Product.objects.create(sku="x", category=Category.objects.create(name="a"))
    Product.objects.update(stock=1)
    serve()
    serve()
    assert calls["deaf"] == 1
    on_change(Product, name="all ears", operations=["UPDATE"], recursive=True)(handler("all ears"))
    serve()
    Product.objects.update(stock=1)
    for _ in range(8):
        serve()
    # Its own four writes, one of the other's that answers the first, and those that answer these.
    assert calls["all ears"] >= 5


def test_a_new_handler_begins_at_the_present_unless_told_otherwise(serve: Serve, drain: Drain) -> None:
    for name in "ab":
        Category.objects.create(name=name)
    drain()
    moment = Change.objects.get(after__name="b").committed_at
    now, all_of_it, later = (
        listen(name="present"),
        listen(name="all", since="beginning"),
        listen(name="moment", since=moment),
    )
    never = listen(name="future", since=timezone.now() + timedelta(days=1))
    serve()
    assert (now.names, all_of_it.names, later.names, never.names) == ([], ["a", "b"], ["b"], [])
    Category.objects.create(name="c")
    serve()
    assert (now.names, all_of_it.names, later.names, never.names) == (
        ["c"],
        ["a", "b", "c"],
        ["b", "c"],
        ["c"],
    )


def test_who_waits_for_the_log_misses_nothing_of_it(
    settings: Any, no_others: None, transactional_db: None
) -> None:
    settings.BEMI_SLOT = "bemi_handlers"
    tracking.sync()
    heard = listen()
    dispatcher = Dispatcher("default", rhythm=QUICK)
    assert dispatcher.run(until_current=True) == 0
    Pipeline.of_project("bemi_handlers").run()
    Category.objects.create(name="a")
    Pipeline.of_project("bemi_handlers").run()
    dispatcher.run(until_current=True)
    Pipeline.of_project("bemi_handlers").drop()
    execute("DELETE FROM _bemi.handlers")
    assert heard.names == ["a"]


def test_a_gap_is_heard_and_handlers_go_on_behind_it(serve: Serve) -> None:
    heard = listen(operations=["CREATE", "GAP"])
    serve()
    Category.objects.create(name="a")
    serve()
    with roles.administrator() as cursor:
        cursor.execute("SELECT pg_drop_replication_slot('bemi_test')")
    Category.objects.create(name="lost")
    Supervisor(worker_config("bemi_test")._replace(accept_gap=True)).run(until_current=True)
    Category.objects.create(name="b")
    serve()
    assert [change.operation for change in heard] == ["CREATE", "GAP", "CREATE"]
    assert heard[1].context["reason"] == "the replication slot is gone"


def test_another_server_is_heard_after_the_last_change_of_the_first(serve: Serve, drain: Drain) -> None:
    heard = listen()
    serve()
    Category.objects.create(name="of the first")
    drain()
    # What the log has, as if it were another server's: the last bits of an id say whose it is.
    bits = f"{source_of('1', str(connection.settings_dict['NAME'])) | 0x80000000:08x}"
    execute("UPDATE changes SET id = (left(id::text, 28) || %s)::uuid", [bits])
    execute("UPDATE _bemi.handlers SET system_identifier = '1'")
    Category.objects.create(name="of the second")
    serve()
    assert heard.names == ["of the first", "of the second"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_databases_that_share_a_log_have_handlers_of_their_own(serve: Serve) -> None:
    here, there = listen(name="here"), listen(name="there", using="other")

    def serve_all() -> None:
        serve()
        Pipeline.of_project("bemi_test_other", "other").run()
        Dispatcher("other", rhythm=QUICK).run(until_current=True)

    serve_all()
    for number in range(3):
        Category.objects.using("other").create(name=f"there {number}")
        Category.objects.create(name=f"here {number}")
    serve_all()
    Pipeline.of_project("bemi_test_other", "other").drop()
    assert here.names == ["here 0", "here 1", "here 2"]
    assert there.names == ["there 0", "there 1", "there 2"]


def test_without_handlers_there_is_nothing_to_run(no_others: None) -> None:
    with pytest.raises(CommandError, match="to changes.py of an installed app"):
        call_command("bemi", "run", "--handlers")


def test_handlers_without_their_tables_say_what_to_do(serve: Serve) -> None:
    listen()
    execute("ALTER TABLE _bemi.handlers RENAME TO gone")
    try:
        with pytest.raises(CommandError, match="run 'manage.py migrate bemi_django'"):
            bemi("run", "--handlers", "--until-current")
    finally:
        execute("ALTER TABLE _bemi.gone RENAME TO handlers")


def test_looking_takes_the_index_and_not_the_whole_log(serve: Serve) -> None:
    heard = listen(since="beginning", fields=["name"])
    Category.objects.bulk_create([Category(name=str(number)) for number in range(3000)])
    serve()
    execute("ANALYZE changes")
    (handler,) = handlers.registered.values()
    (system_identifier,) = execute("SELECT system_identifier FROM _bemi.checkpoint")[0]
    span = FeedSpan(system_identifier, heard[-3].pk, heard[-1].pk)
    query = Feed(handler, "default").of(span)[:100]
    assert [change.pk for change in query] == [change.pk for change in heard[-2:]]
    plan = query.explain(format="json")
    (scan,) = [
        node
        for node in nodes(json.loads(plan)[0]["Plan"])
        if "Relation Name" in node and node["Total Cost"] > 0
    ]
    assert scan["Node Type"] == "Index Scan" and scan["Index Name"].endswith("_pkey"), plan
    assert "id > " in scan["Index Cond"] and "id <= " in scan["Index Cond"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def test_nothing_is_written_while_nothing_happens(serve: Serve) -> None:
    listen()
    serve()
    Order.objects.create(number="1")
    serve()
    before = execute("SELECT xmin::text, last FROM _bemi.handlers")
    serve()
    serve()
    assert execute("SELECT xmin::text, last FROM _bemi.handlers") == before


def test_an_error_of_a_unique_key_is_tried_again(serve: Serve) -> None:
    heard = Heard()

    @on_change(Product, name="writer", retries=1)
    def handle(change: Change) -> None:
        heard(change)
        Category.objects.create(name="taken")

    serve()
    Product.objects.create(sku="x", category=Category.objects.create(name="taken"))
    serve()
    assert len(heard) == 2
    assert IntegrityError.__name__ in Undelivered.objects.get().reason


def test_the_documented_example_works(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/handlers.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace("shop.models", "tests.shop.models"), {"__name__": "changes"})
    serve()
    category = Category.objects.create(name="hats")
    with bound_context(user_id=7):
        Product.objects.create(sku="bowler", price=1, category=category)
        Product.objects.update(price=F("price") * 2)
    Product.objects.all().delete()
    category.delete()
    serve()
    # Two handlers do not wait for each other.
    assert sorted(capsys.readouterr().out.splitlines()) == ["bowler 1.00 2.00 7", "deleted: hats"]


def test_the_documentation_names_every_argument() -> None:
    page = (ROOT / "docs/handlers.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(documented) == sorted(set(inspect.signature(on_change).parameters) - {"model"})


def test_large_rows_are_not_in_memory_all_at_once(serve: Serve) -> None:
    sizes: list[int] = []

    @on_change(Review, name="listener")
    def handle(change: Change) -> None:
        sizes.append(len(change.after["text"]))

    def write(size: int) -> None:
        execute(
            "INSERT INTO shop_review (product_id, text) "
            "SELECT %s, repeat('x', %s) FROM generate_series(1, 40)",
            [product.pk, size],
        )
        Pipeline.of_project("bemi_test").run()

    serve()
    product = Product.objects.create(sku="x", category=Category.objects.create(name="a"))
    dispatcher = Dispatcher("default", rhythm=QUICK._replace(batch=40, slice=60))
    # The first batch of a process is one change at a time.
    write(1)
    dispatcher.run(until_current=True)
    write(1_000_000)
    tracemalloc.start()
    try:
        dispatcher.run(until_current=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == [1] * 40 + [1_000_000] * 40
    assert peak < 35_000_000


DEEP = "(repeat('[', 3000) || repeat(']', 3000))::jsonb"


@pytest.mark.parametrize("careful", [True, False], ids=["the first of a process", "amid a batch"])
@pytest.mark.parametrize("column", ["before", "after", "context", "unavailable"])
def test_a_change_that_python_cannot_read_is_kept_aside(
    column: str, careful: bool, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = listen(retries=1)
    serve()
    for name in ("a", "deep", "b"):
        Category.objects.create(name=name)
    serve_nothing(serve)
    execute(f"UPDATE changes SET {column} = {DEEP} WHERE after ->> 'name' = 'deep'")  # noqa: S608
    if not careful:
        monkeypatch.setattr(Delivery, "be_careful", lambda self: setattr(self, "_careful", 0))
    Dispatcher("default", rhythm=QUICK).run(until_current=True)
    assert heard.names == ["a", "b"]
    (letter,) = Undelivered.objects.all()
    assert letter.attempts == 2 and letter.reason.startswith("RecursionError")
    bemi("handlers", "--retry")
    assert Undelivered.objects.get().attempts == 3


def serve_nothing(serve: Serve) -> None:
    """Bring the log to the present, and no handler."""
    known, handlers.registered = handlers.registered, {}
    serve()
    handlers.registered = known


def test_a_number_of_any_length_in_a_context_can_be_read(serve: Serve) -> None:
    heard = listen()
    serve()
    with bound_context(job="x"):
        Category.objects.create(name="long")
    serve_nothing(serve)
    execute("UPDATE changes SET context = jsonb_build_object('n', ('1' || repeat('0', 6000))::numeric)")
    serve()
    assert str(heard[0].context["n"]) == "1" + "0" * 6000


def test_a_loop_that_fails_begins_again_beside_the_worker(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard = listen()
    serve()
    step, failures = Delivery.step, [KeyError("row-value"), ZeroDivisionError("row-value")]

    def fail(self: Delivery, *arguments: Any, **options: Any) -> bool:
        if failures:
            raise failures.pop()
        return step(self, *arguments, **options)

    monkeypatch.setattr(Delivery, "step", fail)
    Category.objects.create(name="a")
    serve_nothing(serve)
    dispatcher = Dispatcher("default", rhythm=QUICK)
    with dispatcher.meanwhile(pytest.fail):
        until(lambda: heard.names == ["a"])
        until(lambda: dispatcher.handled == 1)
    assert "KeyError in test_handlers.py" in caplog.text and "row-value" not in caplog.text


# The worker connects as Django does, so that must be a role that may read the stream.
@pytest.mark.administrator
def test_what_an_administrator_has_to_mend_ends_the_worker(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not look healthy while no handler is called."""
    listen()
    serve()
    execute("ALTER TABLE _bemi.handlers RENAME TO away")
    try:
        with pytest.raises(CommandError, match="run 'manage.py migrate bemi_django'"):
            bemi("run")
    finally:
        execute("ALTER TABLE _bemi.away RENAME TO handlers")
