"""The steps of a plan as a page shows them, and what the user may do of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.rows.editable_fields import EditableFields
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.object_labels import ObjectLabels, noun_before
from bemi_django.admin.display.values.formatter import MISSING, Formatter, ShownPair
from bemi_django.admin.pages.reverts.conflict_words import KnownNames, conflict_text, hides_errors
from bemi_django.admin.pages.reverts.step_instances import StepInstances
from bemi_django.admin.search.change_reader import prune
from bemi_django.encryption.decryption import encrypted_columns
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.places import Place, models_at
from bemi_django.revert import Plan, Step

#: Rows of a plan that are named. Of others it has the key.
_NAMED = 200
_PERMISSIONS = {"insert": "add", "update": "change", "delete": "delete"}


class StepLine(NamedTuple):
    """A step of a plan.

    Attributes:
        step: The step.
        object: The model and the name of its row, or its key.
        values: Column, present value and new value of each column to write.
        forced: The same, if the conflict is overridden.
        conflict: Why the row cannot be reverted, or an empty string.
        consequences: What the database itself deletes or changes because of the step.
        is_allowed: Whether the user has the permissions for everything that the step does.
        key: The key of its row, or the mask; None for a change that the user may not see.
    """

    step: Step
    object: str
    values: list[tuple[str, str, str]]
    forced: list[tuple[str, str, str]]
    conflict: str
    consequences: list[str]
    is_allowed: bool
    key: str | None = None

    @property
    def is_action(self) -> bool:
        """Whether the step does something."""
        return self.step.action != "nothing" and not self.conflict


class StepRules:
    """What the user may see and do of the steps of plans for one database."""

    def __init__(self, viewer: Viewer, database: str, changes: ChangeQuerySet | None = None) -> None:
        self._viewer = viewer
        self._database = database
        self._editable = EditableFields(viewer)
        self._formatter = Formatter(viewer)
        self._instances = StepInstances(viewer, database, changes)
        #: The encrypted columns of steps, by their changes.
        self._known: dict[tuple[Any, ...], frozenset[str]] = {}

    def lines(self, plan: Plan) -> list[StepLine]:
        """Return the steps of a plan in order."""
        seen = self._within_scope(plan)
        named = [
            step.changes[0] for step in plan.steps[:_NAMED] if step.changes and step.changes[0].pk in seen
        ]
        labels = ObjectLabels(named, self._viewer)
        names = {change.pk: labels.of(change).label for change in named}
        effects = [effect for step in plan.steps for effect in step.consequences]
        self._instances.learn((effect.schema, effect.table, effect.key) for effect in effects)
        for step in plan.steps:
            for row in (step.current or {}, step.values, step.forced.values if step.forced else {}):
                self._formatter.learn(self._model_at(step.schema, step.table), self._masked(step, row))
            self._names(step).learn(step.conflict)
        return [
            self._line(step, names, is_within_scope={change.pk for change in step.changes} <= seen)
            for step in plan.steps
        ]

    def is_read_only(self, step: Step, column: str) -> bool:
        """Tell whether the admin makes a column read-only for the user."""
        logged = self._model_at(step.schema, step.table)
        if logged is None:
            return False
        # What is inserted is not there yet.
        instance = None if step.action == "insert" else self._instances.of(logged, step.primary_key)
        return self._editable.is_readonly(logged.model, step.action, column, step.values, instance)

    def label(self, step: Step, column: str) -> str:
        """Return the name of a column's field."""
        return self._formatter.name(self._model_at(step.schema, step.table), column)

    def pair(self, step: Step, column: str, value: Any) -> ShownPair:
        """Return the present value of a column, and the one that it gets."""
        now, then = self.stored(step, column, value)
        return self._formatter.pair(self._model_at(step.schema, step.table), column, now, then)

    def stored(self, step: Step, column: str, value: Any) -> tuple[Any, Any]:
        """Return the same as the log has it, or the mask; ``MISSING`` if there is no present value."""
        now = self._masked(step, prune(step.current or {})).get(column, MISSING)
        then = self._masked(step, prune({column: value}))[column]
        self._note_unmasked(step, column)
        return now, then

    def are_allowed(self, plan: Plan) -> bool:
        """Tell whether the user has the permissions for everything that a plan does."""
        return all(line.is_allowed for line in self.lines(plan))

    def _within_scope(self, plan: Plan) -> set[Any]:
        """Return the changes of the plan within the viewer's scope; cascades may add others."""
        wanted = {change.pk for step in plan.steps for change in step.changes}
        return set(self._viewer.changes().filter(pk__in=wanted).values_list("pk", flat=True))

    def _line(self, step: Step, names: Mapping[Any, str], *, is_within_scope: bool) -> StepLine:
        logged = self._model_at(step.schema, step.table)
        name = self._name(step.schema, step.table)
        if not is_within_scope:
            return StepLine(step, name, [], [], "", [], is_allowed=False)
        columns = {**step.values, **(step.current or {})}
        hidden = self._hidden(step, columns)
        is_hidden_key = any(map(self._viewer.masks.hide_key, step.changes))
        key = MASK if is_hidden_key else step.primary_key or ""
        named = names.get(step.changes[0].pk, key) if step.changes else key
        return StepLine(
            step,
            f"{noun_before(named, name)} {named}".strip(),
            self._values(step, step.values),
            self._values(step, step.forced.values) if step.forced else [],
            self._conflict(step, is_hidden=bool(hidden) or is_hidden_key),
            self._consequences(step),
            is_allowed=self._is_allowed(step, logged),
            key=key,
        )

    def _masked(self, step: Step, row: Mapping[str, Any]) -> dict[str, Any]:
        hidden = self._hidden(step, row)
        return {name: MASK if name in hidden and value is not None else value for name, value in row.items()}

    def _hidden(self, step: Step, columns: Iterable[str]) -> set[str]:
        """Return the masked columns of a row, with those that the log has encrypted, by whatever rules."""
        hidden = self._viewer.masks.hidden(step.schema, step.table, columns)
        return hidden | self._encrypted(step).intersection(columns)

    def _encrypted(self, step: Step) -> frozenset[str]:
        """Return the columns of a row whose encrypted values the user may not see."""
        return frozenset() if self._viewer.has("unmask") else self._logged_encrypted(step)

    def _logged_encrypted(self, step: Step) -> frozenset[str]:
        """Return the columns of a row that the log has encrypted."""
        changes = tuple(change.pk for change in step.changes)
        if changes not in self._known:
            found = set()
            for change in step.changes:
                encrypted = encrypted_columns(change)
                names = self._viewer.logged_models.names_in(change)
                found |= {*encrypted, *map(names.now, encrypted)}
            self._known[changes] = frozenset(found)
        return self._known[changes]

    def _note_unmasked(self, step: Step, column: str) -> None:
        lifted = self._viewer.lifted
        place = Place(self._database, step.schema, step.table)
        hides = lifted.hides_key(step.changes)
        is_decrypted = self._viewer.has("unmask") and column in self._logged_encrypted(step)
        lifted.column(place, column, step.primary_key, is_hidden_key=hides, is_decrypted=is_decrypted)

    def _values(self, step: Step, values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        found = []
        for column, value in values.items():
            pair = self.pair(step, column, value)
            now, then = (side.brief if side else "" for side in (pair.before, pair.after))
            found.append((self.label(step, column), now, then))
        return found

    def _is_allowed(self, step: Step, logged: LoggedModel | None) -> bool:
        permissions = [(logged, _PERMISSIONS.get(step.action, "change"), step.primary_key)]
        for effect in step.consequences:
            found = self._model_at(effect.schema, effect.table)
            permissions.append((found, _PERMISSIONS[effect.action], effect.key))
        added = self._instances.added(logged, step) if logged is not None else None
        if added is not None and not self._viewer.may("add", type(added), added):
            return False
        return all(self._may(found, permission, key) for found, permission, key in permissions) and (
            step.action != "delete" or logged is None or self._editable.may_delete_relation(logged.model)
        )

    def _may(self, logged: LoggedModel | None, permission: str, key: str | None) -> bool:
        if logged is None:
            # There are no permissions on a table without a model.
            return bool(self._viewer.request.user.is_superuser)
        # What is added is not there yet.
        instance = None if permission == "add" else self._instances.of(logged, key)
        return self._viewer.may(permission, logged.model, instance)

    def _conflict(self, step: Step, *, is_hidden: bool) -> str:
        if step.conflict is None:
            return ""
        if step.conflict.kind == "changed_since":
            for column in step.conflict.columns:
                self._note_unmasked(step, column)
        is_of_database = step.conflict.kind in ("constraint", "refused")
        is_hidden = is_hidden or (is_of_database and hides_errors(self._viewer))
        return conflict_text(step.conflict, self._names(step), is_hidden=is_hidden)

    def _names(self, step: Step) -> KnownNames:
        name, hidden = (step.schema, step.table), self._encrypted(step)
        return KnownNames(self._viewer, self._formatter, self._database, name, hidden)

    def _consequences(self, step: Step) -> list[str]:
        found = []
        for effect in step.consequences:
            place = Place(self._database, effect.schema, effect.table)
            is_hidden = self._viewer.masks.hide_keys(place, (effect.key,), ())
            name = f"{self._name(effect.schema, effect.table)} {MASK if is_hidden else effect.key or ''}"
            text = _("deletes %s") if effect.action == "delete" else _("changes %s")
            found.append(text % name.strip())
        return found

    def _name(self, schema: str, table: str) -> str:
        logged = self._model_at(schema, table)
        return str(logged.model._meta.verbose_name) if logged else f"{schema}.{table}"

    def _model_at(self, schema: str, table: str) -> LoggedModel | None:
        return self._viewer.logged_models.model_at(self._database, schema, table)


def pruned_tables(viewer: Viewer, plan: Plan) -> list[tuple[str, Any]]:
    """Return the tables, of those that the viewer may see, whose changes were removed, and up to when."""
    places = {Place(plan.database or "", each.schema, each.table): each.last for each in plan.pruned}
    if not places:
        return []
    return [
        (f"{place.schema}.{place.table}", places[place])
        for place, model in models_at(plan.database or "", places).items()
        if viewer.request.user.is_superuser or model is not None and viewer.may("view", model)
    ]
