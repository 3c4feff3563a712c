"""What happens to the todos in the demo, and the changes that must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg2

from sample_project.demo_client import SiteClient
from sample_project.demo_processes import DemoError
from sample_project.optional import aldjemy_usable

Row = dict[str, object]


@dataclass(frozen=True)
class Expected:
    """A change that must be in the log: the named columns and context keys have these values."""

    primary_key: str
    operation: str
    before: Row
    after: Row
    context: Row
    has_sql_template: bool = True


@dataclass
class Scenario:
    """Acts on the site and on the database, and writes down what the log must show."""

    client: SiteClient
    database_url: str
    user_id: int
    expected: list[Expected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def play(self) -> None:
        sleep, eat, repeat = map(self._create, ("Sleep", "Eat", "Repeat"))
        self._complete(eat, "Eat")
        self._delete(repeat, "Repeat")
        task = self._rename(sleep, "Sleep", "Sleep well")
        self._clear_completed(eat, "Eat")
        self._edit_by_psql(sleep, task, "Sleep longer")

    def _create(self, task: str) -> int:
        path = "/api/todos/"
        pk = self.client.api("POST", path, {"task": task})["id"]
        self._expect(pk, "CREATE", {}, _row(task), "POST", path)
        return int(pk)

    def _complete(self, pk: int, task: str) -> None:
        path = f"/api/todos/{pk}/"
        self.client.api("PUT", path, {"is_completed": True})
        self._expect(pk, "UPDATE", _row(task), _row(task, True), "PUT", path)

    def _delete(self, pk: int, task: str) -> None:
        path = f"/todos/{pk}/delete/"
        self.client.submit(path)
        self._expect(pk, "DELETE", _row(task), {}, "POST", path)

    def _rename(self, pk: int, task: str, new_task: str) -> str:
        """Rename through SQLAlchemy where aldjemy runs; return the task the todo has then."""
        if not aldjemy_usable():
            self.notes.append("Renaming by SQLAlchemy is left out: it needs aldjemy and SQLAlchemy 1.4.")
            return task
        path = f"/todos/{pk}/rename/"
        self.client.submit(path, task=new_task)
        self._expect(pk, "UPDATE", _row(task), _row(new_task), "POST", path)
        return new_task

    def _clear_completed(self, pk: int, task: str) -> None:
        path = "/todos/clear-completed/"
        self.client.submit(path)
        self._expect(pk, "DELETE", _row(task, True), {}, "POST", path)

    def _edit_by_psql(self, pk: int, task: str, new_task: str) -> None:
        connection = psycopg2.connect(self.database_url, application_name="psql")
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("UPDATE todo SET task = %s WHERE id = %s", [new_task, pk])
                if cursor.rowcount != 1:
                    raise DemoError(f"todo {pk} is gone: is somebody else at work on this database?")
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
