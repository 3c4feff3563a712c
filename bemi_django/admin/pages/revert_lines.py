"""The steps of a plan as a page shows them, and what the user may do of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import models
from django.utils.translation import gettext as _

from bemi_django.admin.access.editable_fields import readonly_columns
from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.change_rows import brief
from bemi_django.admin.display.object_labels import live_instances
from bemi_django.models import Change
from bemi_django.revert import Plan, Step

_PERMISSIONS = {"insert": "add", "update": "change", "delete": "delete"}


class StepLine(NamedTuple):
    """A step of a plan.

    Attributes:
        step: The step.
        object: The model and the key of its row.
        values: Column, present value and new value of each column to write.
        conflict: Why the row cannot be reverted, or an empty string.
        columns: The columns that the conflict is about.
        is_allowed: Whether the user has the permission for the step's action.
        is_readonly: Whether the conflict is that the admin makes a column read-only for the user.
    """

    step: Step
    object: str
    values: list[tuple[str, str, str]]
    conflict: str
    columns: tuple[str, ...]
    is_allowed: bool
    is_readonly: bool

    @property
    def is_action(self) -> bool:
        """Whether the step does something."""
        return self.step.action != "nothing" and not self.conflict


def step_lines(viewer: Viewer, plan: Plan) -> list[StepLine]:
    """Return the steps of a plan in order."""
    logged_models = [
        viewer.logged_models.model_of(step.changes[0]) if step.changes else None for step in plan.steps
    ]
    seen = _within_scope(viewer, plan)
    instances = _live(plan, logged_models)
    return [
        _Described(viewer, logged, step, instances).line({change.pk for change in step.changes} <= seen)
        for logged, step in zip(logged_models, plan.steps, strict=True)
    ]


def hides_values(viewer: Viewer, changes: Iterable[Change]) -> bool:
    """Tell whether messages of the database about these rows may hold masked values."""
    return any(viewer.masks.hide_key(change) or viewer.masked_columns(change) for change in changes)


def _within_scope(viewer: Viewer, plan: Plan) -> set[Any]:
    """Return the changes of the plan within the viewer's scope; cascades may add others."""
    wanted = {change.pk for step in plan.steps for change in step.changes}
    return set(viewer.changes().filter(pk__in=wanted).values_list("pk", flat=True))


def _live(plan: Plan, logged_models: list[LoggedModel | None]) -> dict[tuple[LoggedModel, str], models.Model]:
    keys: dict[LoggedModel, set[str]] = {}
    for logged, step in zip(logged_models, plan.steps, strict=True):
        if logged and step.primary_key is not None:
            keys.setdefault(logged, set()).add(step.primary_key)
    return {
        (logged, key): instance
        for logged, wanted in keys.items()
        for key, instance in live_instances(logged, wanted).items()
    }


class _Described:
    """A step, its model, and the live row if there is one."""

    def __init__(
        self,
        viewer: Viewer,
        logged: LoggedModel | None,
        step: Step,
        instances: dict[tuple[LoggedModel, str], models.Model],
    ) -> None:
        self._viewer = viewer
        self._model = logged.model if logged else None
        self._step = step
        self._instance = instances.get((logged, step.primary_key or "")) if logged else None

    def line(self, is_within_scope: bool) -> StepLine:
        step = self._step
        name = str(self._model._meta.verbose_name) if self._model else f"{step.schema}.{step.table}"
        if not is_within_scope:
            return StepLine(step, name, [], "", (), is_allowed=False, is_readonly=False)
        hidden = self._viewer.masks.hidden(step.schema, step.table, {**step.values, **(step.current or {})})
        is_hidden_key = any(map(self._viewer.masks.hide_key, step.changes))
        key = MASK if is_hidden_key else step.primary_key or ""
        readonly = self._readonly()
        return StepLine(
            step,
            f"{name} {key}".strip(),
            self._values(hidden),
            self._conflict(is_hidden=bool(hidden) or is_hidden_key, readonly=readonly),
            step.conflict.columns if step.conflict else tuple(sorted(readonly)),
            is_allowed=self._is_allowed(),
            is_readonly=bool(readonly) and step.conflict is None,
        )

    def _is_allowed(self) -> bool:
        if self._model is None:
            # There are no permissions on a table without a model.
            return bool(self._viewer.request.user.is_superuser)
        permission = _PERMISSIONS.get(self._step.action, "change")
        return self._viewer.may(permission, self._model, self._instance)

    def _readonly(self) -> set[str]:
        if self._model is None or self._step.action == "nothing":
            return set()
        return readonly_columns(
            self._viewer, self._model, self._step.action, self._step.values, self._instance
        )

    def _conflict(self, *, is_hidden: bool, readonly: set[str]) -> str:
        conflict = self._step.conflict
        if conflict is not None:
            # The words of a conflict contain values.
            return _conflict_texts().get(conflict.kind, conflict.kind) if is_hidden else conflict.text
        return _("you may not edit these fields in the admin") if readonly else ""

    def _values(self, hidden: set[str]) -> list[tuple[str, str, str]]:
        current = self._step.current or {}
        return [
            (
                column,
                MASK if column in hidden else brief(current.get(column)),
                MASK if column in hidden else brief(value),
            )
            for column, value in self._step.values.items()
        ]


def _conflict_texts() -> dict[str, str]:
    return {
        "changed_since": _("the row was changed since"),
        "missing_row": _("the row no longer exists"),
        "key_taken": _("another row has the key of the row"),
        "unique": _("another row has a value that must be unique"),
        "missing_parent": _("the row refers to one that no longer exists"),
        "referenced": _("other rows refer to the row"),
        "unavailable": _("the log does not know a value"),
        "missing_table": _("the table no longer exists"),
        "cycle": _("rows refer to each other, and no order of statements works"),
        "constraint": _("a constraint is violated"),
        "refused": _("the database refuses the change"),
        "not_a_row": _("this is not a change of a row"),
    }
