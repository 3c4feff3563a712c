"""What a test expects to be recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db.models import Model

from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change
from bemi_django.testing.recorded_changes import RecordedChanges
from bemi_django.testing.writes import require_capture

#: An operation and a model, and values that the row has: after it, or before it if it was deleted.
Expected = tuple[str, type[Model]] | tuple[str, type[Model], Mapping[str, Any]]


@contextmanager
def assert_changes(
    *expected: Expected, context: Mapping[str, Any] | None = None, using: str = "default"
) -> Iterator[RecordedChanges]:
    """Assert that a block commits these changes and no others, in this order.

    Args:
        expected: For each change the operation (``"CREATE"``, ``"UPDATE"``, ``"DELETE"`` or ``"TRUNCATE"``)
            and the model; and, if they matter, values by column, which the row has among others.
        context: Values that the context of each change has among others.
        using: Alias of the database that is changed.

    Yields:
        The recorded changes, to look at more of them.

    Raises:
        AssertionError: Others were recorded. The message has a line for each.
        BemiError: A context is expected, and ``BEMI_CAPTURE`` is False.
    """
    if context:
        require_capture()
    with RecordedChanges(using) as recorded:
        yield recorded
        log = recorded.changes()
        found = list(log)
        if len(found) != len(expected) or not all(
            _fits(log.filter(pk=change.pk), using, *each)
            for change, each in zip(found, expected, strict=True)
        ):
            raise AssertionError(_difference(expected, found))
        for change in found:
            if not log.filter(pk=change.pk).context(context or {}).exists():
                raise AssertionError(f"{_told(change)}: the context is {change.context}, not {context}")


def _fits(
    change: ChangeQuerySet,
    using: str,
    operation: str,
    model: type[Model],
    values: Mapping[str, Any] | None = None,
) -> bool:
    of_model = change.for_model(model, using).filter(operation=operation)
    has_values = of_model.before if operation == "DELETE" else of_model.after
    return (has_values(values) if values else of_model).exists()


def _difference(expected: tuple[Expected, ...], found: list[Change]) -> str:
    lines = ["other changes were recorded than expected", "expected:", *map(_printed, expected), "recorded:"]
    return "\n".join([*lines, *map(_told, found)])


def _printed(expected: Expected) -> str:
    operation, model, *values = expected
    return f"  {operation} {model._meta.label}" + "".join(f" {dict(each)}" for each in values)


def _told(change: Change) -> str:
    row = change.before if change.operation == "DELETE" else change.after
    return f"  {change.operation} {change.schema}.{change.table} {row}"
