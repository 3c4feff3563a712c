"""``bemi restore-table``: a table that was dropped or emptied comes back as the log knows it."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.models import Change
from bemi_django.wire.slot_name import sink_of_queue
from tests.support import roles
from tests.support.pipeline import Pipeline, worker_config
from tests.support.project_database import execute
from tests.support.travel import here

Restore = Callable[..., list[str]]
_UPDATE = 'UPDATE lab."{}" SET price = 2'
_ROWS = "SELECT to_jsonb(b)::text FROM {} b ORDER BY id"


@pytest.fixture
def book(pipeline: Pipeline) -> Pipeline:
    """A table with rows that are older than its log, of which some have changed since."""
    execute(
        "CREATE TABLE public.book (id int PRIMARY KEY, word varchar(20) NOT NULL, price numeric DEFAULT 7)"
    )
    execute("INSERT INTO public.book SELECT i, 'old ' || i, i * 1.50 FROM generate_series(1, 9) i")
    execute("ALTER TABLE public.book ADD twice numeric GENERATED ALWAYS AS (price * 2) STORED")
    # In this schema it is tracked.
    execute("ALTER TABLE public.book SET SCHEMA lab")
    execute("UPDATE lab.book SET word = 'newer' WHERE id = 2")
    execute("UPDATE lab.book SET id = 1003 WHERE id = 3")
    execute("DELETE FROM lab.book WHERE id = 4")
    execute("INSERT INTO lab.book VALUES (4, 'again', 1), (1000, 'new', NULL)")
    pipeline.drain()
    return pipeline


@pytest.fixture
def restore(book: Pipeline) -> Restore:
    """Run the command while the worker is at work; return its lines."""

    def run(*arguments: str) -> list[str]:
        book.stop()
        out = io.StringIO()
        with override_settings(BEMI_SLOT=book.slot), book.worker():
            call_command("bemi", "restore-table", *arguments, stdout=out)
        return out.getvalue().splitlines()

    return run


def record(pipeline: Pipeline, *tables: str, sink: str = "") -> None:
    pipeline.stop()
    with pipeline.worker():
        config = worker_config(pipeline.slot, role=roles.OWNER)
        options = BaselineOptions(only=list(tables) or ["lab.book"], sink=sink)
        assert {each.failure for each in baseline(config, options)} == {""}


def swap(lines: list[str]) -> None:
    """Run what the command has printed."""
    start = lines.index("look at the new table; to put it in place:")
    for statement in lines[start + 1 :]:
        execute(statement)


def test_values_that_only_the_server_reads_come_back(book: Pipeline, restore: Restore) -> None:
    execute("CREATE TABLE lab.huge (id jsonb PRIMARY KEY, n numeric, body jsonb NOT NULL)")
    execute(
        "INSERT INTO lab.huge VALUES ('1', 1e400, '[1e400]'), ('null', NULL, 'null'), ('\"null\"', 3, '[]')"
    )
    execute("INSERT INTO lab.huge VALUES ('2', 1, (repeat('[', 1500) || repeat(']', 1500))::jsonb)")
    query = "SELECT id::text, n, body::text FROM {} ORDER BY id"
    rows = execute(query.format("lab.huge"))
    book.drain()
    assert restore("lab.huge")[1] == "compared with the log: equal"
    assert execute(query.format("lab.huge_restored")) == rows
    execute("UPDATE lab.huge SET body = '1'; DROP TABLE lab.huge")
    assert restore("lab.huge", "--to", "lab.dropped")[1] == "compared with the log: equal"
    assert execute("SELECT id::text FROM lab.dropped ORDER BY id") == [(id_,) for id_, *_ in rows]


def test_rows_that_exchanged_their_keys_come_back(book: Pipeline, restore: Restore) -> None:
    execute("CREATE TABLE lab.swap (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int)")
    execute("INSERT INTO lab.swap VALUES (1, 10), (2, 20), (3, 30)")
    before, moment = execute(_ROWS.format("lab.swap")), here()
    execute("BEGIN; UPDATE lab.swap SET id = 2 WHERE n = 10; UPDATE lab.swap SET id = 1 WHERE n = 20; COMMIT")
    execute("UPDATE lab.swap SET id = id % 3 + 1")
    execute("BEGIN; UPDATE lab.swap SET id = 1 WHERE n = 20; DELETE FROM lab.swap WHERE n = 30; COMMIT")
    # The row that goes is the one that came.
    execute("BEGIN; INSERT INTO lab.swap VALUES (7); UPDATE lab.swap SET n = 7")
    execute("DELETE FROM lab.swap WHERE id = 7; COMMIT")
    after = execute(_ROWS.format("lab.swap"))
    book.drain()
    restore("lab.swap")
    assert execute(_ROWS.format("lab.swap_restored")) == after
    restore("lab.swap", "--at", moment, "--to", "lab.swap_then")
    assert execute(_ROWS.format("lab.swap_then")) == before


def test_a_dropped_table_comes_back_with_what_a_baseline_knows(book: Pipeline, restore: Restore) -> None:
    # Without a queue, the worker of the log takes what is for all logs of one.
    record(book, sink=sink_of_queue(book.slot, "7/5"))
    rows = execute(_ROWS.format("lab.book"))
    execute("DROP TABLE lab.book")
    lines = restore("lab.book")
    assert lines[:2] == [
        "lab.book_restored: 10 rows as they were at the end of the log",
        "compared with the log: equal",
    ]
    assert lines[2].startswith(
        "lab.book was dropped: the new table has its columns and its key, but no other"
    )
    assert not any(line.startswith("not known are rows") for line in lines)
    swap(lines)
    assert execute(_ROWS.format("lab.book")) == rows
    # A key, and rows that are counted in the log.
    assert execute(
        "SELECT count(*) FROM pg_index WHERE indrelid = 'lab.book'::regclass AND indisprimary"
    ) == [(1,)]
    book.advance()
    (counted,) = Change.objects.filter(table="book_restored")
    assert (counted.operation, counted.context["command"], counted.context["rows"]) == (
        "SKIPPED",
        "bemi restore-table",
        {"CREATE": 10},
    )


def test_without_a_baseline_it_says_which_rows_are_not_known(restore: Restore) -> None:
    execute("DROP TABLE lab.book")
    lines = restore("lab.book", "--to", "lab.saved")
    assert lines[0] == "lab.saved: 4 rows as they were at the end of the log"
    (unknown,) = [line for line in lines if line.startswith("not known are rows")]
    assert "and that had not changed since: 'manage.py bemi baseline' was not completed" in unknown
    assert execute("SELECT id FROM lab.saved ORDER BY id") == [(2,), (4,), (1000,), (1003,)]


def test_it_says_up_to_when_changes_were_removed_from_the_log(restore: Restore) -> None:
    execute(
        "INSERT INTO _bemi.completeness SELECT current_database(), 'lab', 'book', "
        "'2020-01-01', false, 1, "
        "'00000000-0000-0000-0000-000000000000', '2020-01-02 03:04:05+00', 1"
    )
    try:
        lines = restore("lab.book", "--to", "lab.saved")
    finally:
        execute("DELETE FROM _bemi.completeness")
    removed = (
        "changes up to 2020-01-02 03:04:05 UTC were removed from the log: rows that have not changed since"
    )
    assert any(line.startswith(removed) for line in lines)


def test_a_truncated_table_comes_back_as_it_was_before_or_at_a_moment(
    book: Pipeline, restore: Restore
) -> None:
    before = execute(_ROWS.format("lab.book"))
    record(book)
    first = Change.objects.filter(table="book").earliest("id")
    execute("TRUNCATE lab.book")
    execute("INSERT INTO lab.book VALUES (1, 'after', 1)")
    lines = restore("lab.book")
    assert lines[0].startswith("lab.book_restored: 10 rows as they were before it was truncated at ")
    assert lines[1:4] == [
        "compared with the log: equal",
        "add to the new table what was not copied, because it may run code of the table's owner: "
        "defaults of price; generated columns twice (plain ones now)",
        "look at the new table; to put it in place:",
    ]
    assert execute(_ROWS.format("lab.book_restored")) == before
    swap(lines)
    assert execute("SELECT id FROM lab.book_replaced") == [(1,)]
    # Before all other changes: what they changed, and what was recorded later, is as it was then.
    lines = restore("lab.book", "--at", str(first.pk), "--to", "lab.early")
    assert lines[0] == "lab.early: 9 rows as they were at the moment given"
    assert execute("SELECT id, word FROM lab.early ORDER BY id") == [
        (i, "newer" if i == 2 else f"old {i}") for i in range(1, 10)
    ]


def test_names_are_free_and_as_long_as_the_server_allows(book: Pipeline, restore: Restore) -> None:
    name = "ä" * 31 + "x"
    execute(f'ALTER TABLE lab.book RENAME TO "{name}"')
    execute(_UPDATE.format(name))
    rows = execute(_ROWS.format(f'lab."{name}"'))
    book.advance()
    execute(f'TRUNCATE lab."{name}"')
    for _ in range(2):
        swap(restore(f"lab.{name}"))
        assert execute(_ROWS.format(f'lab."{name}"')) == rows
    replaced = execute("SELECT relname FROM pg_class WHERE relname ~ '_replaced' AND relkind = 'r'")
    assert set(replaced) == {("ä" * 27 + "_replaced",), ("ä" * 26 + "_replaced_2",)}
    with pytest.raises(CommandError, match="is longer than the 63 bytes of a name"):
        restore(f"lab.{name}", "--to", f"lab.{name}_2")


def test_all_partitions_come_back_that_one_statement_has_emptied(book: Pipeline, restore: Restore) -> None:
    execute(
        "CREATE TABLE lab.parted (id int, day date, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);"
        "CREATE TABLE lab.early PARTITION OF lab.parted FOR VALUES FROM ('-infinity') TO ('2020-01-01')"
        "    PARTITION BY LIST (id); CREATE TABLE lab.leaf PARTITION OF lab.early DEFAULT;"
        "CREATE TABLE lab.rest PARTITION OF lab.parted DEFAULT"
    )
    execute("INSERT INTO lab.parted VALUES (1, '-infinity'), (2, '2019-05-05'), (3, 'infinity')")
    rows = execute(_ROWS.format("lab.parted"))
    record(book, "lab.parted")
    execute("TRUNCATE lab.parted")
    book.advance()
    lines = restore("lab.parted")
    assert not any(line.startswith("not known are rows") for line in lines)
    assert lines[0].startswith("lab.parted_restored: 3 rows as they were before it was truncated at ")
    assert lines[1] == "compared with the log: equal"
    assert execute(_ROWS.format("lab.parted_restored")) == rows


def test_a_key_may_be_of_a_type_of_an_extension(book: Pipeline, restore: Restore) -> None:
    # Its operators are in no schema that is searched.
    execute("CREATE EXTENSION ltree SCHEMA lab")
    execute("CREATE TABLE lab.tree (id lab.ltree PRIMARY KEY, word text)")
    execute("INSERT INTO lab.tree VALUES ('a.b', 'x'), ('a', 'y')")
    rows = execute(_ROWS.format("lab.tree"))
    execute("TRUNCATE lab.tree")
    book.advance()
    assert restore("lab.tree")[1] == "compared with the log: equal"
    assert execute(_ROWS.format("lab.tree_restored")) == rows


_EVIL = """
CREATE TABLE lab.ran (what text);
CREATE FUNCTION lab.evil(what text) RETURNS boolean LANGUAGE sql
    AS 'INSERT INTO lab.ran VALUES (what); SELECT true';
CREATE FUNCTION lab.evil_default() RETURNS int LANGUAGE sql AS 'SELECT lab.evil(''default'')::int';
ALTER TABLE lab.typed ALTER n SET DEFAULT lab.evil_default(), ADD CHECK (lab.evil('check')) NOT VALID;
ALTER DOMAIN lab.amount ADD CHECK (lab.evil('domain')) NOT VALID;
CREATE FUNCTION lab.of_mood(lab.mood) RETURNS json LANGUAGE sql AS 'SELECT to_json(lab.evil(''cast''))';
CREATE CAST (lab.mood AS json) WITH FUNCTION lab.of_mood(lab.mood);
"""


def test_no_code_of_the_owner_of_the_table_is_run(book: Pipeline, restore: Restore) -> None:
    execute(
        "CREATE TYPE lab.mood AS ENUM ('sad', 'glad'); CREATE TYPE lab.size AS ENUM ('s', 'l');"
        "CREATE DOMAIN lab.amount AS numeric(5, 2); CREATE TYPE lab.pair AS (a int, b lab.amount);"
        "CREATE TABLE lab.typed (id int GENERATED ALWAYS AS IDENTITY (INCREMENT 5) PRIMARY KEY, n int,"
        "mood lab.mood, size lab.size, sizes lab.size[], amount lab.amount NOT NULL, pair lab.pair,"
        "amounts lab.amount[],"
        'day date, word text COLLATE "C")'
    )
    book.drain()
    execute(
        "INSERT INTO lab.typed (n, mood, size, sizes, amount, pair, amounts, day) VALUES "
        "(1, 'sad', 's', '{s,NULL,l}', 1.5, ROW(1, 2), '{3,4}', '2020-02-29'), "
        "(NULL, NULL, NULL, NULL, 2, NULL, NULL, NULL), "
        "(NULL, NULL, NULL, NULL, 3, NULL, NULL, NULL)"
    )
    execute("DELETE FROM lab.typed WHERE amount = 3")
    book.advance()
    rows = "SELECT id, n, mood::text, size::text, sizes::text, amount, day, word FROM {} ORDER BY id"
    before = execute(rows.format("lab.typed"))
    execute(_EVIL)
    lines = restore("lab.typed")
    assert execute("SELECT * FROM lab.ran") == []
    assert lines[1] == "compared with the log: equal"
    assert lines[2].endswith("owner: defaults of n; constraints typed_check")
    assert lines[3].endswith("their owners: mood, pair, amounts")
    assert execute(rows.format("lab.typed_restored")) == before
    # 1 and 6 are there, and 11 was.
    assert execute("INSERT INTO lab.typed_restored (amount) VALUES (4) RETURNING id") == [(16,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lab.nothing"], "the log has no rows of lab.nothing"),
        (["lab.book", "--to", "lab.book"], "there is a table lab.book already"),
        (["lab.book", "--at", "yesterday"], "'yesterday' is not a moment"),
        (["lab.book", "--at", "2999-01-01"], "is in the future"),
        (["lab.book", "--at", "0001-01-01T00:00:00+14:00"], "no changes up to this moment"),
        (["lab.book", "--at", "FFFF/0"], "is in the future"),
        (["lab.book", "--to", "pg_temp.book"], "choose another schema: 'pg_temp' is reserved"),
    ],
)
def test_what_cannot_be_restored_is_said(restore: Restore, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        restore(*arguments)
