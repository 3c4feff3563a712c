"""The rows that changes are about, as they are. They are fetched with one query per model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial, reduce
from operator import attrgetter, or_
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, models
from django.db.models import Q

from bemi_django.admin.access.logged_models import LoggedModel, parse_key
from bemi_django.admin.access.rows.guarded_queries import guarded
from bemi_django.admin.access.rows.readable_parts import readable_parts
from bemi_django.admin.access.rows.unread_rows import present_keys, unread_row
from bemi_django.admin.access.viewer import Viewer
from bemi_django.log.keys import json_of, key_fields, own_key_fields
from bemi_django.log.places import rows_of


class LiveRows(NamedTuple):
    """Rows that exist, by their primary keys as the log writes them.

    Attributes:
        read: Those that can be read.
        unread: Those whose key Python cannot read: instances without values, to ask for permissions.
    """

    read: dict[str, models.Model]
    unread: dict[str, models.Model]


def live_rows(logged: LoggedModel, keys: Iterable[str], viewer: Viewer | None = None) -> LiveRows:
    """Return the rows that exist, also those whose keys Python cannot read.

    Args:
        logged: The model of the rows, and the database that has them.
        keys: The keys.
        viewer: The user who sees labels of the rows: what these need is read along, as the list of the
            model's admin does.
    """
    parsed = {key: parse_key(logged.model, key) for key in keys}
    rows, doubtful = _rows(logged, [value for value in parsed.values() if value is not None], viewer)
    if viewer is not None:
        viewer.learn_rows(rows.values())
    read = {key: rows[value] for key, value in parsed.items() if value in rows} if rows else {}
    unsure = [key for key, value in parsed.items() if value is None or value in doubtful]
    present = present_keys(logged, unsure) if unsure else set()
    return LiveRows(read, {key: unread_row(logged, key) for key in unsure if key in present})


def live_instances(
    logged: LoggedModel, keys: Iterable[str], viewer: Viewer | None = None
) -> dict[str, models.Model]:
    """Return the rows that exist and can be read; see ``live_rows()``."""
    return live_rows(logged, keys, viewer).read


def rows_by_value(
    logged: LoggedModel, field: Any, values: Iterable[Any], viewer: Viewer
) -> dict[Any, models.Model]:
    """Return the rows that have some values in a field, which no two rows have in common.

    Args:
        logged: The model of the rows, and the database that has them.
        field: The field: the primary key, or another one that foreign keys refer to.
        values: The values, as JSON has them.
        viewer: The user who sees labels of the rows.
    """
    if key_fields(logged.model) == [field]:
        by_text = {str(value): value for value in values}
        return {by_text[key]: row for key, row in live_instances(logged, by_text, viewer).items()}
    rows = with_related(rows_of(logged.model, logged.alias), viewer)
    read = partial(_by_value, rows, field)
    found = {
        value: row
        for _part, some in readable_parts(list(values), read)
        for value, row in (some or {}).items()
    }
    viewer.learn_rows(found.values())
    return found


def _by_value(
    rows: models.QuerySet[Any], field: Any, values: Sequence[Any]
) -> dict[Any, models.Model] | None:
    """Return rows by their values in a field, or None if one cannot be read."""
    try:
        with guarded(rows.db):
            found = rows.filter(**{f"{field.attname}__in": list(map(field.to_python, values))})
            return {json_of(field, getattr(row, field.attname)): row for row in found}
    except (InterfaceError, OperationalError):
        raise
    except Exception:
        # As for keys.
        return None


def _rows(
    logged: LoggedModel, keys: list[Any], viewer: Viewer | None
) -> tuple[dict[Any, models.Model], list[Any]]:
    """Return rows by their keys, and the keys of which some cannot be read."""
    plain = whole = rows_of(logged.model, logged.alias)
    names = [field.name for field in key_fields(logged.model)]
    if logged.model._meta.auto_created:
        whole = whole.select_related(*ends_of(logged.model))
    elif viewer is not None:
        whole = with_related(whole, viewer)
    rows: dict[Any, models.Model] = {}
    doubtful: list[Any] = []
    for part, found in readable_parts(keys, partial(_by_key, whole)):
        if found is None and not logged.model._meta.auto_created:
            # One of them has a value that cannot be read, but is there all the same.
            found = _by_key(plain.only(*names), part)
        doubtful += part if found is None else ()
        rows |= found or {}
    return rows, doubtful


def _by_key(rows: models.QuerySet[Any], keys: Sequence[Any]) -> dict[Any, models.Model] | None:
    """Return rows by their keys, or None if one cannot be read."""
    try:
        with guarded(rows.db):
            fields = key_fields(rows.model)
            if fields == own_key_fields(rows.model):
                return {row.pk: row for row in rows.filter(pk__in=keys)}
            # The key of the table is another one.
            names = [field.attname for field in fields]
            values = keys if len(names) > 1 else [[key] for key in keys]
            wanted = reduce(or_, (Q(**dict(zip(names, value, strict=True))) for value in values))
            return {attrgetter(*names)(row): row for row in rows.filter(wanted)}
    except (InterfaceError, OperationalError):
        raise
    except Exception:
        # The column may have had another type when the key was logged, the year may be one that Python does
        # not have, and a field of the project may expect anything of its values.
        return None


def with_related(rows: models.QuerySet[Any], viewer: Viewer) -> models.QuerySet[Any]:
    """Return rows with the relations of ``list_select_related`` of their model's admin."""
    registered = viewer.site._registry.get(rows.model)
    if registered is None:
        return rows
    try:
        names = registered.get_list_select_related(viewer.request)
        found = rows.select_related() if names is True else rows.select_related(*(names or ()))
        str(found.query)
    except Exception:
        # Code of the project, which expects another request; or a name that is no relation.
        return rows
    return found


def ends_of(model: type[models.Model]) -> list[str]:
    """Return the names of the two foreign keys of a many-to-many table."""
    return [field.name for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)]
