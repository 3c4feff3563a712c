"""``bemi prune``: what the settings do not keep is removed, and nothing else."""

from __future__ import annotations

import io
import itertools
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, connection

from bemi_django.events.operator_context import operator_context
from bemi_django.exceptions import BemiError
from bemi_django.models import Change, DeadLetter, Undelivered
from bemi_django.retention import clocks, former_names, nightly, pruning, walk
from bemi_django.retention import months as log_months
from bemi_django.retention.rules import of_settings
from bemi_django.schema.search_path import closed_cursor
from bemi_django.wire.ids import change_id
from tests.integration.retention.conftest import NOW, ago
from tests.support.activity import counted, recount, to_count
from tests.support.polling import until
from tests.support.project_database import ProjectDatabase, another_session, execute

WHO = {"command": "test"}
ORDINALS = itertools.count()


def add(days: float, table: str = "shop_category", number: int = 1, **values: Any) -> list[uuid.UUID]:
    """Add changes of a table that were committed so many days ago, and return their ids."""
    moment = ago(days)
    execute("SELECT _bemi.partition_v1(%s)", [moment])
    sequence = int((moment - datetime(2015, 1, 1, tzinfo=timezone.utc)).total_seconds() * 1000) << 3
    made = [uuid.UUID(bytes=change_id(sequence, next(ORDINALS), 7)) for _ in range(number)]
    fixed = {
        "database": connection.settings_dict["NAME"], "schema": "public", "operation": "CREATE",
        "position": sequence, "transaction_id": 1, "after": {"id": 1}, "queued_at": moment,
        "created_at": moment, **values,
    }  # fmt: skip
    Change.objects.bulk_create(
        Change(id=each, table=table, primary_key=str(place), committed_at=moment, **fixed)
        for place, each in enumerate(made)
    )
    return made


def left() -> set[uuid.UUID]:
    return set(Change.objects.values_list("id", flat=True))


def months() -> set[str]:
    return {f"{month:%Y-%m}" for month in log_months.months("default")}


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("bemi", "prune", *arguments, stdout=output)
    return output.getvalue()


def prune_tonight(clock: clocks.ClockWatch | None = None) -> bool:
    """Do what the worker does at night; return whether to try again soon."""
    return nightly.prune_once({"command": "bemi run"}, threading.Event(), clock or clocks.ClockWatch())


def test_what_is_not_kept_is_removed(log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "BATCH", 2)
    gone = [*add(31, number=5), *add(75), *add(500), *add(400, "shop_product")]
    kept = [
        *add(29, number=5),
        *add(360, "shop_product"),
        *add(900, "shop_supplier"),
        *add(75, "shop_supplier"),
    ]
    # A table of the same name in another schema is another one.
    kept += add(500, schema="elsewhere")
    assert f"{ago(75):%Y-%m}: 1 changes of public.shop_category\n" in run("--dry-run")
    assert len(left()) == len(gone + kept)
    recount()
    found = json.loads(run("--json", "--reason", "because"))
    assert left() == set(kept) and found["changes"] == len(gone)
    assert counted() == to_count()
    assert f"{ago(900):%Y-%m}" in months() and not set(found["months"]) & months()
    ((who, role, ended, removed),) = execute(
        "SELECT who::text, role = session_user, ended_at IS NOT NULL, "
        "(SELECT sum(changes) FROM _bemi.pruned)::int FROM _bemi.prunings"
    )
    assert json.loads(who)["reason"] == "because" and role and ended and removed == len(gone)
    assert run() == "nothing to do\n" == run("--dry-run")
    execute("SELECT _bemi.partition_v1(%s)", [ago(700)])
    assert run("--dry-run") == f"{ago(700):%Y-%m}: an empty month, which is dropped\n"
    assert run() == f"dropped {ago(700):%Y-%m}\n"
    # The next run looks at what has become old since, and at what came late.
    late = add(33)
    assert set(late) <= left() and "1 changes removed\n" in run()
    assert left() == set(kept)


def test_a_rule_for_a_table_that_was_dropped_goes_on_when_its_changes_are_gone(
    log: None, settings: Any
) -> None:
    settings.BEMI_RETENTION = {'public."was.dropped"': "30 days"}
    gone = add(31, "was.dropped")
    assert "removed" in run() and not left() & set(gone)
    assert run() == "nothing to do\n"
    # The name of a table that never was is a mistake.
    settings.BEMI_RETENTION = {'public."was.droped"': "30 days"}
    with pytest.raises(CommandError, match="was.droped.*, which is neither a model nor a table"):
        run()


def test_a_month_is_dropped_only_when_nothing_in_it_is_kept(log: None) -> None:
    whole, mixed = add(700, number=3), add(800, number=3)
    kept = add(800, "shop_supplier")
    assert f"dropped {ago(700):%Y-%m}" in run()
    assert left() == set(kept) and whole and mixed
    assert f"{ago(700):%Y-%m}" not in months() and f"{ago(800):%Y-%m}" in months()


@pytest.mark.parametrize("hold", [True, ["*"], ["shop.Category"], ["public.shop_category"]])
def test_a_legal_hold_stops_it(log: None, settings: Any, hold: Any) -> None:
    kept = [*add(31), *add(500)]
    settings.BEMI_LEGAL_HOLD = hold
    assert run() == "nothing to do\n" == run("--dry-run")
    assert left() == set(kept)
    settings.BEMI_LEGAL_HOLD = ["shop.Product"]
    run()
    assert left() == set()


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("BEMI_RETENTION", {"shop.Catgory": "30 days"}, "the app 'shop' has no such model"),
        (
            "BEMI_RETENTION",
            {"public.nothing": "30 days"},
            "'public.nothing', which is neither a model nor a table",
        ),
        ("BEMI_RETENTION", {"default": "30"}, "use 'forever', or a number of days"),
        # The server could not count back so far.
        ("BEMI_RETENTION", {"default": "7000 years"}, "of 1000 years at most"),
        (
            "BEMI_RETENTION",
            {"shop.Category": "30 days", "public.shop_category": "7 years"},
            "of public.shop_category for '30 days' and for '7 years': name the table once",
        ),
        ("BEMI_LEGAL_HOLD", ["public.nothing"], "'public.nothing', which is neither"),
        (
            "BEMI_LEGAL_HOLD",
            ["_bemi.activity_operations"],
            "a partition, whose changes are recorded as those of _bemi.activity: name",
        ),
    ],
)
def test_with_a_wrong_setting_nothing_is_removed(
    log: None, settings: Any, setting: str, value: Any, message: str
) -> None:
    kept = add(500)
    setattr(settings, setting, value)
    for arguments in ((), ("--dry-run",)):
        with pytest.raises(CommandError, match=message):
            run(*arguments)
    assert left() == set(kept)


def test_a_wrong_clock_removes_nothing_and_what_it_has_noted_does_not_count(
    log: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept, gone = add(20), add(31)
    add(31, "shop_supplier")
    apart = clocks._APART
    monkeypatch.setattr(clocks, "_APART", -1)
    with pytest.raises(CommandError, match="by the clock of the database it is .*: nothing was removed"):
        run()
    monkeypatch.setattr(clocks, "_APART", apart)
    # That of the database is the same one.
    watch, ahead = clocks.ClockWatch(), clocks._offset() + 86_500
    with monkeypatch.context() as patched:
        patched.setattr(clocks, "_offset", lambda: ahead)
        assert not prune_tonight(watch)
    assert "was set by +1.0 days since the worker began: nothing was removed" in caplog.text
    assert left() > {*kept, *gone}
    run()
    late = add(30.5)
    execute("UPDATE _bemi.walked SET until = until + interval '1 year'")
    execute("UPDATE _bemi.prunings SET started_at = started_at + interval '1 year'")
    prune_tonight()
    assert left() > set(kept) and left().isdisjoint([*gone, *late])


def test_the_changes_under_former_names_of_a_table_have_its_rules(
    log: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept_for(**periods: str) -> str | None:
        settings.BEMI_RETENTION = {name.replace("__", "."): period for name, period in periods.items()}
        found = [rule for rule in of_settings() if rule.table == "receipt" and not rule.held]
        return found[0].period if found else "by default"

    kept, gone = add(100, "receipt"), add(400, "receipt")
    execute("CREATE TABLE receipt (id int PRIMARY KEY)")
    try:
        execute("ALTER TABLE receipt RENAME TO invoice")
        assert kept_for(default="30 days", public__invoice="1 year") == "1 year"
        settings.BEMI_LEGAL_HOLD = ["public.invoice"]
        run()
        assert left() == {*kept, *gone}
        settings.BEMI_LEGAL_HOLD = []
        run()
        assert left() == set(kept)
        assert kept_for(public__invoice="30 days") == "30 days"
        # Whose they are, nobody knows: the longest period holds.
        assert kept_for(public__invoice="30 days", public__receipt="2 months") == "2 months"
        execute("CREATE TABLE receipt (id int PRIMARY KEY)")
        assert kept_for(default="1 year", public__invoice="30 days") == "1 year"
        assert kept_for(public__invoice="30 days") is None
        assert kept_for(default="1 year") == "by default"
        # What has become a partition is a part of its table.
        execute("CREATE TABLE ledger (id int PRIMARY KEY) PARTITION BY RANGE (id)")
        execute("ALTER TABLE ledger ATTACH PARTITION receipt DEFAULT")
        assert kept_for(public__ledger="1 year", public__receipt="30 days") == "1 year"
        settings.BEMI_LEGAL_HOLD = ["public.ledger"]
        assert ("public", "receipt") in [rule[:2] for rule in of_settings() if rule.held]
        settings.BEMI_LEGAL_HOLD = []
        execute("DROP TABLE ledger")
        # In a copy on another server, what the first one knew is known as well.
        execute(
            "UPDATE _bemi.relations SET system = 1 "
            "WHERE description -> 'name' ->> 1 = ANY (ARRAY['receipt', 'invoice'])"
        )
        assert kept_for(default="1 year", public__invoice="2 years") == "2 years"
        monkeypatch.setattr(former_names, "_MAY_READ", "SELECT false")
        with pytest.raises(CommandError, match="former names of tables in 'default' cannot be read"):
            run()
    finally:
        execute("DROP TABLE IF EXISTS receipt, invoice, ledger")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_partition_or_a_former_name_may_be_a_table_of_its_own_in_another_database(settings: Any) -> None:
    other = ProjectDatabase("other")
    execute("CREATE TABLE shed (id int) PARTITION BY LIST (id)")
    execute("CREATE TABLE shed_1 PARTITION OF shed DEFAULT")
    other.run("CREATE TABLE shed_1 (id int)")
    try:
        settings.BEMI_LEGAL_HOLD = ["public.shed_1"]
        assert [(rule.schema, rule.table) for rule in of_settings() if rule.held] == [("public", "shed_1")]
        settings.BEMI_LEGAL_HOLD = []
        execute("ALTER TABLE shed RENAME TO hut")
        settings.BEMI_RETENTION = {"public.hut": "30 days"}
        assert dict(rule[1:3] for rule in of_settings()) == {"hut": "30 days", "shed": "30 days"}
        # The rule for its former name would be for the other one, too.
        other.run("ALTER TABLE shed_1 RENAME TO shed")
        assert dict(rule[1:3] for rule in of_settings()) == {"hut": "30 days", "shed": None}
    finally:
        execute("DROP TABLE IF EXISTS shed, hut")
        other.run("DROP TABLE IF EXISTS shed, shed_1")


def test_what_handlers_have_not_got_is_kept_and_it_is_said_which_ones(log: None) -> None:
    first, second = add(500)[0], add(31)[0]
    other = add(100, database="elsewhere")
    execute(
        "INSERT INTO _bemi.handlers (handler, slot, system_identifier, start_sequence, last) "
        "VALUES ('shop.slow', 'bemi_retention', '1', 0, %s)", [first],
    )  # fmt: skip
    with pytest.raises(
        CommandError,
        match=rf"{second} and those after it were not delivered to shop.slow \(slot bemi_retention",
    ):
        run()
    # Those of other databases are none of its business.
    assert left() == {second} and other
    execute("UPDATE _bemi.handlers SET last = %s", [second])
    Undelivered.objects.create(handler="shop.slow", change_id=second, attempts=1, reason="", created_at=NOW)
    with pytest.raises(CommandError, match=f"shop.slow has failed on the change {second}: deliver it with"):
        run()
    assert left() == {second}
    Undelivered.objects.all().delete()
    run()
    assert left() == set()


def test_dead_letters_go_with_their_changes(log: None) -> None:
    for days in (31, 500):
        DeadLetter.objects.create(
            slot="x", position=1, change_id=add(days)[0], message=b"", origin={}, reason="", created_at=NOW
        )
    run()
    assert not DeadLetter.objects.exists()


def test_nobody_waits_for_a_month_that_a_reader_holds(log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_months, "_PAUSES", ())
    add(31)
    # The month of the first one is not dropped as a whole.
    kept = add(31, "shop_supplier")
    gone = add(500)
    with another_session() as reader, another_session(options="-c lock_timeout=1000") as writer:
        reader.execute("SELECT count(*) FROM changes")
        # The writer keeps its lock until the end, so that each attempt meets both.
        writer.execute("INSERT INTO changes SELECT * FROM changes WHERE false")
        printed = io.StringIO()
        with pytest.raises(CommandError, match=f"{ago(500):%Y-%m} is in use by another session"):
            call_command("bemi", "prune", stdout=printed)
        assert "nothing to do" not in printed.getvalue()
        # What needs no strong lock is done.
        assert left() == {*kept, *gone} and f"{ago(500):%Y-%m}" in months()
        writer.execute("SELECT count(*) FROM changes")
    assert f"dropped {ago(500):%Y-%m}" in run()


def test_others_read_and_write_the_log_while_a_month_cannot_be_dropped(
    log: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_months, "_PAUSES", ())
    add(500)
    served: list[int] = []
    over = threading.Event()

    def work() -> None:
        # What waits for the log longer fails.
        with another_session(options="-c lock_timeout=5000") as cursor:
            cursor.connection.autocommit = True
            while not over.is_set():
                cursor.execute("INSERT INTO changes SELECT * FROM changes WHERE false")
                served.append(1)

    with another_session() as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("SELECT count(*) FROM changes")
        working = pool.submit(work)
        try:
            until(lambda: served or working.done())
            before = len(served)
            with pytest.raises(CommandError, match="is in use by another session"):
                run()
        finally:
            over.set()
        working.result()
        assert len(served) > before
    # Each function that takes strong locks waits for them no longer than this.
    timeouts = execute(
        "SELECT p.proname, p.proconfig FROM pg_proc p WHERE p.pronamespace = '_bemi'::regnamespace "
        "AND p.prosrc ~ 'DETACH PARTITION|drop_month_v1'"
    )
    assert len(timeouts) == 2
    assert all("lock_timeout=100ms" in config for _, config in timeouts)


def test_the_worker_prunes_once_a_night(log: None, settings: Any) -> None:
    add(500)
    kept = [*add(31, "shop_supplier")]
    # The archive has not done it.
    archiving = operator_context("bemi archive", {}, "default", None)
    log_months.end("default", log_months.begin("default", archiving), [])
    assert not prune_tonight()
    assert left() == set(kept)
    kept += add(500)
    # Another worker finds that it was done.
    assert not prune_tonight()
    assert left() == set(kept)
    settings.BEMI_PRUNE_AT = "03:30"
    with nightly.pruning_nightly({"command": "bemi run"}):
        assert any(thread.name == "bemi-pruning" for thread in threading.enumerate())
    assert not any(thread.name == "bemi-pruning" for thread in threading.enumerate())
    settings.BEMI_PRUNE_AT = "3:30"
    with pytest.raises(BemiError, match="BEMI_PRUNE_AT is '3:30': use a time"), nightly.pruning_nightly({}):
        pass


def test_a_worker_with_older_settings_takes_no_legal_hold_back(
    log: None, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kept = add(500)
    settings.BEMI_LEGAL_HOLD = True
    pruning.prune("default", WHO)
    execute("DELETE FROM _bemi.prunings")
    settings.BEMI_LEGAL_HOLD = False
    assert not prune_tonight()
    assert left() == set(kept)
    (line,) = [record.getMessage() for record in caplog.records if "not pruned" in record.getMessage()]
    assert "run 'manage.py bemi prune' once as its owner" in line
    run()
    assert left() == set()


def test_a_worker_with_older_settings_does_not_bring_rules_back(log: None) -> None:
    kept = add(500)
    # The owner keeps everything now.
    execute("INSERT INTO _bemi.retention (rules) VALUES ('[]')")
    assert not prune_tonight()
    assert left() == set(kept)


def test_an_unexpected_error_of_a_night_is_not_the_last_one(
    log: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise InterfaceError("a value")

    monkeypatch.setattr(nightly, "prune", fail)
    assert not prune_tonight()
    assert [record.getMessage() for record in caplog.records] == ["the log was not pruned (InterfaceError)"]


class Killed(BaseException):
    """What kills a process comes between any two lines."""


@pytest.mark.parametrize("steps", range(8))
def test_a_run_that_is_killed_at_any_point_is_continued(
    log: None, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "BATCH", 2)
    gone = [*add(500, number=3), *add(31, number=5)]
    kept = [*add(31, "shop_supplier"), *add(3)]
    done = itertools.count()
    original = closed_cursor

    def counting(alias: str) -> Any:
        if next(done) == steps:
            raise Killed
        return original(alias)

    with monkeypatch.context() as patched, suppress(Killed):
        for module in (pruning, walk):
            patched.setattr(module, "closed_cursor", counting)
        pruning.prune("default", WHO)
    # Whatever is gone was noted, and the rest is removed by the next run.
    noted = "SELECT coalesce(sum(changes), 0)::int FROM _bemi.pruned"
    assert execute(noted) == [(len(gone) + len(kept) - len(left()),)]
    pruning.prune("default", WHO)
    assert left() == set(kept) and execute(noted) == [(len(gone),)]
