"""Decide what a user may see of the log and do with it. All values on pages and in files come from here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import EmptyResultSet, ImproperlyConfigured
from django.db import InterfaceError, OperationalError, connections, models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from bemi_django.admin.access.encrypted_rows import EncryptedRows, hidden_patterns
from bemi_django.admin.access.lifted_masks import LiftedMasks
from bemi_django.admin.access.logged_models import LoggedModels
from bemi_django.admin.access.masks import MASK, Masks
from bemi_django.admin.access.own_events import Unmasked
from bemi_django.admin.access.rows.column_value import ColumnValue, column_values
from bemi_django.admin.access.rows.shown_rows import ShownRows
from bemi_django.admin.access.scope import Scope
from bemi_django.admin.access.tenant_users import TenantUsers, users_in_sight
from bemi_django.log.belongings import declaring_row
from bemi_django.log.change import ChangeQuerySet
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.models import Change
from bemi_django.schema import tenancy
from bemi_django.schema.database_names import assumed_name


class Viewer:
    """The user of a request in an admin site."""

    def __init__(self, request: HttpRequest, site: AdminSite) -> None:
        self.request = request
        self.site = site
        #: What the user has seen although it is masked for others.
        self.unmasked = Unmasked()
        self._shown_rows = ShownRows(request)
        self._scope = Scope(request, lambda: self.logged_models.where_all(lambda one: self.may("view", one)))

    @cached_property
    def logged_models(self) -> LoggedModels:
        """The models that the log is about."""
        return LoggedModels()

    @cached_property
    def masks(self) -> Masks:
        """The masks that apply to the user."""
        return Masks([] if self.has("unmask") else hidden_patterns(), self.logged_models)

    @cached_property
    def lifted(self) -> LiftedMasks:
        """The masks that the user's permission lifts, which note what is shown because of that."""
        patterns = hidden_patterns() if self.has("unmask") else []
        masks = Masks(patterns, self.logged_models) if patterns else None
        return LiftedMasks(masks, self.logged_models, self.unmasked)

    @cached_property
    def encrypted(self) -> EncryptedRows:
        """What the user may see of encrypted values."""
        return EncryptedRows(may_read=self.has("unmask"))

    @cached_property
    def users(self) -> TenantUsers:
        """The users whose names and keys the viewer's site knows."""
        return users_in_sight()

    def changes(self) -> ChangeQuerySet:
        """Return the changes that the user may see: the tenant's, limited by ``BEMI_ADMIN_SCOPE``."""
        changes: ChangeQuerySet = Change.objects.all()
        for alias in connections:
            if (schema := tenancy.tenant_schema(alias)) is not None:
                changes = changes.filter(database=assumed_name(alias), schema=schema)
        return self._scope.limited(changes)

    @property
    def is_scoped(self) -> bool:
        """Whether the user may see only a part of the log."""
        return self.cache_key("", self.changes()) != self.cache_key("", Change.objects.all())

    def cache_key(self, name: str, changes: ChangeQuerySet, *parts: object) -> str:
        """Return a cache key for what is computed from a query.

        The scope is a function of the request, so the query is a part of the key, beside the user. Another
        site may have other admins, which show other rows.

        Args:
            name: What is cached.
            changes: The query, within the viewer's scope.
            parts: Whatever else the entry depends on.
        """
        try:
            query = changes.query.get_compiler(changes.db).as_sql()
        except EmptyResultSet:
            query = None
        text = repr((self.request.user.pk, self.site.name, changes.db, query, self.has("unmask"), *parts))
        return f"bemi.{name}.{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()[:32]}"

    def url(self, page: str, *args: object) -> str:
        """Return the URL of a page of the audit trail in the viewer's site."""
        return reverse(f"admin:bemi_django_change_{page}", args=args, current_app=self.site.name)

    def model_url(self, model: type[models.Model], page: str, *args: object) -> str | None:
        """Return the URL of a model's admin page in the viewer's site, or None if it has none."""
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
        try:
            return reverse(name, args=args, current_app=self.site.name)
        except NoReverseMatch:
            return None

    def has(self, action: str) -> bool:
        """Tell whether the user may ``view``, ``revert``, ``export`` or ``unmask`` changes."""
        return bool(self.request.user.has_perm(f"bemi_django.{action}_change"))

    def may(self, action: str, model: type[models.Model], instance: models.Model | None = None) -> bool:
        """Tell whether the user may ``view``, ``add``, ``change`` or ``delete`` rows of a model in the admin.

        Rows of a many-to-many table belong to the object that has the field. Nothing may be done with a row
        that ``get_queryset()`` of the model's admin leaves out.
        """
        if model._meta.auto_created:
            owner = cast("type[models.Model]", model._meta.auto_created)
            if action == "view":
                return self.may("view", owner)
            return self.may("change", owner, None if instance is None else declaring_row(instance))
        registered = self.site._registry.get(model)
        if registered is None:
            codename = get_permission_codename(action, model._meta)
            return bool(self.request.user.has_perm(f"{model._meta.app_label}.{codename}"))
        check = getattr(registered, f"has_{action}_permission")
        if action == "add":
            return bool(check(self.request))
        return _is_allowed(check, self.request, instance) and (
            instance is None or self._shown_rows.has(registered, instance)
        )

    def learn_rows(self, instances: Collection[models.Model]) -> None:
        """Find out for several rows of one model and database at once whether its admin shows them."""
        for model in {type(instance) for instance in instances}:
            self._shown_rows.learn(self.site._registry.get(model), instances)

    def may_see_user_names(self) -> bool:
        """Tell whether user names are shown and searched for: not if they are masked, or nobody has one."""
        try:
            model: Any = get_user_model()
        except ImproperlyConfigured:
            # A project without django.contrib.auth has no users.
            return False
        return model._meta.get_field(model.USERNAME_FIELD).column not in self.masks.hidden_fields(model)

    def values(self, change: Change) -> Iterator[ColumnValue]:
        """Yield the columns of a change in alphabetical order, with masked values hidden."""
        return column_values(change, self.encrypted, self.masked_columns(change))

    def masked_columns(self, change: Change) -> set[str]:
        """Return the masked columns of a change's row."""
        row = {**change.before, **change.after}
        self.lifted.row(change, row, self.encrypted.readable(change))
        return self.masks.hidden(change.schema, change.table, row) | self.encrypted.hidden(change)

    def row(self, change: Change, side: str) -> dict[str, Any]:
        """Return ``before`` or ``after`` of a change with masked values hidden."""
        masked, row = self.masked_columns(change), self.encrypted.row(change, side)
        if not masked:
            return row
        return {name: MASK if name in masked and value is not None else value for name, value in row.items()}

    def context(self, change: Change) -> dict[str, Any]:
        """Return the context of a change; see ``visible_context()``."""
        return self.visible_context(change.context)

    def visible_context(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return a context without the literals of its SQL, if values are masked for the user.

        A statement can hold masked values whatever table the change is of: a trigger may have made it.
        """
        if not self.masks:
            self.lifted.context(context)
            return dict(context)
        visible = self.masks.of_context(context)
        if "SQL" in visible:
            visible["SQL"] = redact_literals(str(visible["SQL"]), MASK)
        if "_bemi_invalid" in visible:
            # The text of a context that is not valid JSON.
            visible["_bemi_invalid"] = MASK
        return visible

    def key(self, change: Change) -> str | None:
        """Return the primary key of a change, or the mask."""
        self.lifted.key(change)
        return MASK if change.primary_key is not None and self.masks.hide_key(change) else change.primary_key

    def previous_key(self, change: Change) -> str | None:
        """Return the primary key before a change, or the mask."""
        key: str | None = change.previous_primary_key
        return MASK if key is not None and self.masks.hide_key(change) else key

    def record(self, change: Change) -> dict[str, Any]:
        """Return all columns of a change by name, with masked values hidden and aware datetimes."""
        return {
            **{field.name: aware(getattr(change, field.name)) for field in Change._meta.concrete_fields},
            "id": str(change.id),
            "primary_key": self.key(change),
            "previous_primary_key": self.previous_key(change),
            "before": self.row(change, "before"),
            "after": self.row(change, "after"),
            "context": self.context(change),
        }


def _is_allowed(check: Any, request: HttpRequest, instance: models.Model | None) -> bool:
    try:
        return bool(check(request, instance))
    except (InterfaceError, OperationalError):
        raise
    except Exception:
        if instance is None or not instance.get_deferred_fields():
            raise
        # It asks for the value because of which the row was read without its values.
        return False


def aware(value: Any) -> Any:
    """Return a value, made aware if it is a naive datetime, as without ``USE_TZ``."""
    is_naive = isinstance(value, datetime) and timezone.is_naive(value)
    return timezone.make_aware(value, timezone.get_default_timezone()) if is_naive else value
