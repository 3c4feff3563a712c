"""The names of replication slots: two projects on one server, and what is renamed, restored or copied."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from psycopg2 import sql

from bemi_django import conf
from bemi_django.exceptions import LostHistory
from bemi_django.log.change import Change
from bemi_django.log.places import alias_of
from bemi_django.management import install_command
from bemi_django.management.commands.bemi import Command
from bemi_django.schema.database_names import database_name, server_name
from bemi_django.schema.replication.slots import slot_of
from bemi_django.time_travel import as_of
from bemi_django.wire.slot_name import slot_name
from tests.support import roles
from tests.support.polling import until

# It makes databases and slots.
pytestmark = [pytest.mark.administrator, pytest.mark.django_db(transaction=True)]

#: Both are the same without what the name of a slot cannot have.
NAMES = ("Slot-Магазин", "slot магазин")
SLOTS = "SELECT slot_name::text FROM pg_replication_slots WHERE database = %s ORDER BY 1"


def quoted(statement: str, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))


class Server:
    """Databases of the test, which are dropped at its end, and their slots."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    def run(self, statement: str, *names: str) -> None:
        with roles.administrator() as cursor:
            cursor.execute(quoted(statement, *names))

    def create(self, name: str) -> None:
        self._made.add(name)
        self.run("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", name)

    def rename(self, name: str, new: str) -> None:
        self._made.add(new)
        self.run("ALTER DATABASE {} RENAME TO {}", name, new)

    def copy(self, name: str, new: str) -> None:
        self._made.add(new)
        self.run("CREATE DATABASE {} TEMPLATE {}", new, name)

    def slots(self, name: str) -> list[str]:
        with roles.administrator() as cursor:
            cursor.execute(SLOTS, [name])
            return [slot for (slot,) in cursor.fetchall()]

    def close(self) -> None:
        for name in self._made:
            for slot in self.slots(name):
                self.drop_slot(slot)
            self.run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def drop_slot(self, slot: str) -> None:
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
        with roles.administrator() as cursor:
            active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
            until(lambda: cursor.execute(active, [slot]) or cursor.fetchone() == (0,))
            cursor.execute(drop, [slot])


@pytest.fixture
def server(settings: Any) -> Iterator[Server]:
    del settings.BEMI_SLOT
    with closing(Server()) as made:
        yield made


@contextmanager
def project(name: str) -> Iterator[None]:
    """Django has this database as its default one inside the block."""
    connection.close()
    original = connection.settings_dict["NAME"]
    # Threads share the dictionary.
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = original


def bemi(*arguments: str) -> str:
    output = io.StringIO()
    call_command("bemi", *arguments, stdout=output)
    return output.getvalue()


def install() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE paper (id int PRIMARY KEY)")
    install_command.install(Command(stdout=io.StringIO()), "default", None)


def write(key: int) -> None:
    with (
        closing(psycopg2.connect(**conf.connection_parameters("default"))) as other,
        other,
        other.cursor() as c,
    ):
        c.execute("INSERT INTO paper VALUES (%s)", [key])


def run(*arguments: str) -> str:
    return bemi("run", "--until-current", "--no-handlers", *arguments)


def logged() -> list[tuple[str, str | None]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT operation, primary_key FROM changes ORDER BY id")
        return list(cursor.fetchall())


def test_two_projects_on_one_server_have_a_slot_each(server: Server) -> None:
    for name in NAMES:
        server.create(name)
        with project(name):
            install()
            run()
    for key, name in enumerate(NAMES):
        with project(name):
            write(key)
            run()
            assert logged() == [("CREATE", str(key))]
        assert server.slots(name) == [slot_name(name)]


def test_the_log_keeps_the_name_when_database_and_setting_are_renamed(server: Server, settings: Any) -> None:
    one, two = NAMES
    server.create(one)
    with project(one):
        install()
        run()
        write(1)
        run()
        (before,) = Change.objects.all()
    server.rename(one, two)
    settings.BEMI_SLOT = "bemi_renamed"
    with project(two):
        # All that the log has of the database is found by the name that it had.
        assert database_name("default") == one and server_name("default") == two
        assert alias_of(one) == "default"
        assert "the log goes on with the slot " + slot_name(one) in run("--log-format", "text")
        write(2)
        run()
        assert logged() == [("CREATE", "1"), ("CREATE", "2")]
        assert {change.database for change in Change.objects.all()} == {one}
        assert slot_of("default") == slot_name(one)
        settings.BEMI_AS_OF_PATIENCE = 0
        bemi("sync")
        with as_of(before), connection.cursor() as cursor:
            cursor.execute("SELECT id FROM paper")
            assert cursor.fetchall() == [(1,)]
        output = io.StringIO()
        with pytest.raises(CommandError) as status:
            call_command("bemi", "status", stdout=output)
        assert f"{two}, which the log has as {one}" in output.getvalue()
        assert "recording has not begun" not in str(status.value)
    assert server.slots(two) == [slot_name(one)]
    server.drop_slot(slot_name(one))
    with project(two):
        with pytest.raises(CommandError, match="gone"):
            bemi("status", "--quiet")
        with pytest.raises((CommandError, LostHistory)):
            run()
        run("--accept-gap")
        assert [operation for operation, _ in logged()] == ["CREATE", "CREATE", "GAP"]
    assert server.slots(two) == [slot_name(one)]


def test_the_setting_names_a_new_slot(server: Server, settings: Any) -> None:
    settings.BEMI_SLOT = "bemi_slot_names"
    server.create(NAMES[0])
    with project(NAMES[0]):
        install()
        run()
        del settings.BEMI_SLOT
        write(1)
        run()
        assert logged() == [("CREATE", "1")]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_create_logical_replication_slot('bemi_left', 'pgoutput')")
        try:
            found = json.loads(bemi("doctor", "--json"))
        finally:
            server.drop_slot("bemi_left")
    assert server.slots(NAMES[0]) == ["bemi_slot_names"]
    (other,) = [finding["message"] for finding in found["findings"] if finding["id"] == "bemi.D008"]
    assert "the slot bemi_left" in other and "reads bemi_slot_names" in other


def test_a_copy_has_a_slot_of_its_own_and_a_moved_database_the_old_one(server: Server) -> None:
    one, two = NAMES
    server.create(one)
    with project(one):
        install()
        run()
    server.copy(one, two)
    with project(two):
        run()
        write(1)
        run()
        assert logged() == [("CREATE", "1")]
    assert (server.slots(one), server.slots(two)) == ([slot_name(one)], [slot_name(two)])
    # Restored on another server, under another name.
    server.drop_slot(slot_name(two))
    with project(two), connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.checkpoint WHERE slot = %s", [slot_name(one)])
        cursor.execute(
            "UPDATE _bemi.checkpoint SET system_identifier = '1', slot = 'bemi_old', updated_at = now()"
        )
        with pytest.raises((CommandError, LostHistory), match="the server is another one"):
            run()
        run("--accept-gap")
    assert server.slots(two) == ["bemi_old"]


def test_after_an_upgrade_of_the_server_the_slot_that_was_kept_is_found(
    server: Server, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = NAMES[0]
    server.create(one)
    with project(one):
        install()
        run()
        # As if the log were elsewhere.
        with connection.cursor() as cursor:
            cursor.execute("UPDATE _bemi.checkpoint SET system_identifier = '1', is_local = false")
        settings.BEMI_SLOT = "bemi_renamed"
        assert slot_of("default") == slot_name(one)
        with pytest.raises((CommandError, LostHistory), match="the server is another one"):
            run()
        run("--accept-gap")
        assert server.slots(one) == [slot_name(one)]
        # Before PostgreSQL 17, pg_upgrade keeps none.
        with connection.cursor() as cursor:
            cursor.execute("UPDATE _bemi.checkpoint SET system_identifier = '1', is_local = false")
        server.drop_slot(slot_name(one))
        caplog.clear()
        run()
        assert server.slots(one) == ["bemi_renamed"]
        (line,) = [text for text in caplog.messages if "pg_upgrade" in text]
        assert f"a log of {slot_name(one)}, whose server" in line and "set BEMI_SLOT to that name" in line
        # It is said when the log of a slot begins, and not again.
        caplog.clear()
        run()
        assert not any("pg_upgrade" in text for text in caplog.messages)


def test_a_slot_that_is_made_at_once_leaves_no_gap(server: Server) -> None:
    one, two = NAMES
    server.create(one)
    with project(one):
        install()
        assert f"to do: slot: {slot_name(one)}" in bemi("sync", "--create-slot", "--dry-run")
        assert server.slots(one) == []
        assert f"slot: {slot_name(one)}" in bemi("sync", "--create-slot")
        assert "nothing to do" in bemi("sync", "--create-slot")
        write(1)
    server.rename(one, two)
    with project(two):
        run()
        # The event says who has made the slot.
        assert logged() == [("EVENT", None), ("CREATE", "1")]
        server.drop_slot(slot_name(one))
        with pytest.raises(CommandError, match="accept-gap"):
            bemi("sync", "--create-slot")


def test_migrate_says_when_recording_begins(server: Server) -> None:
    server.create(NAMES[0])
    with project(NAMES[0]):
        output = io.StringIO()
        call_command("migrate", "bemi_django", stdout=output)
        assert "Recording begins when 'manage.py bemi run' first runs" in output.getvalue()
        bemi("sync", "--create-slot")
        output = io.StringIO()
        call_command("migrate", "bemi_django", stdout=output)
        assert "Recording begins" not in output.getvalue()
