"""What happens to the todos in the demo, and the changes that must be recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg2

from sample_project.demo_client import SiteClient
from sample_project.demo_processes import DemoError
from sample_project.optional import aldjemy_usable

Row = dict[str, object]


@dataclass(frozen=True)
class Expected:
    """A change that must be in the log, with these values of columns and of context keys."""

    primary_key: str
    operation: str
    before: Row
    after: Row
    context: Row
    has_sql_template: bool = True


@dataclass
class Scenario:
    """Change todos on the site and in the database, and note what the log must have."""

    client: SiteClient
    database_url: str
    user_id: int
    say: Callable[[str], None]
    expected: list[Expected] = field(default_factory=list)

    def play(self) -> None:
        sleep, eat, repeat = map(self._create, ("Sleep", "Eat", "Repeat"))
        self._complete(eat, "Eat")
        self._delete(repeat, "Repeat")
        task = self._rename(sleep, "Sleep", "Sleep well")
        self._clear_completed(eat, "Eat")
        self._edit_by_psql(sleep, task, "Sleep longer")

    def _create(self, task: str) -> int:
        path = "/api/todos/"
        self.say(f"Creating {task!r} by the API (Django's ORM)")
        pk = self.client.api("POST", path, {"task": task})["id"]
        self._expect(pk, "CREATE", {}, _row(task), "POST", path)
        return int(pk)

    def _complete(self, pk: int, task: str) -> None:
        path = f"/api/todos/{pk}/"
        self.say(f"Completing {task!r} by the API (Django's ORM)")
        self.client.api("PUT", path, {"is_completed": True})
        self._expect(pk, "UPDATE", _row(task), _row(task, True), "PUT", path)

    def _delete(self, pk: int, task: str) -> None:
        path = f"/todos/{pk}/delete/"
        self.say(f"Deleting {task!r} on the site (Django's ORM)")
        self.client.submit(path)
        self._expect(pk, "DELETE", _row(task), {}, "POST", path)

    def _rename(self, pk: int, task: str, new_task: str) -> str:
        """Rename a todo through SQLAlchemy if aldjemy runs here; return its task afterwards."""
        if not aldjemy_usable():
            self.say("Skipping a rename by SQLAlchemy: it needs aldjemy and SQLAlchemy 1.4")
            return task
        path = f"/todos/{pk}/rename/"
        self.say(f"Renaming {task!r} to {new_task!r} on the site (SQLAlchemy)")
        self.client.submit(path, task=new_task)
        self._expect(pk, "UPDATE", _row(task), _row(new_task), "POST", path)
        return new_task

    def _clear_completed(self, pk: int, task: str) -> None:
        path = "/todos/clear-completed/"
        self.say("Clearing completed todos on the site (plain SQL)")
        self.client.submit(path)
        self._expect(pk, "DELETE", _row(task, True), {}, "POST", path)

    def _edit_by_psql(self, pk: int, task: str, new_task: str) -> None:
        self.say(f"Renaming {task!r} to {new_task!r} in the database, as psql does")
        connection = psycopg2.connect(self.database_url, application_name="psql")
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("UPDATE todo SET task = %s WHERE id = %s", [new_task, pk])
                if cursor.rowcount != 1:
                    raise DemoError(f"todo {pk} is gone; run the demo on a database that nobody else uses")
        finally:
            connection.close()
        context: Row = {"application_name": "psql"}
        self.expected.append(
            Expected(str(pk), "UPDATE", _row(task), _row(new_task), context, has_sql_template=False)
        )

    def _expect(self, pk: int, operation: str, before: Row, after: Row, method: str, path: str) -> None:
        context: Row = {"user_id": self.user_id, "endpoint": path, "method": method}
        self.expected.append(Expected(str(pk), operation, before, after, context))


def _row(task: str, is_completed: bool = False) -> Row:
    return {"task": task, "is_completed": is_completed}
