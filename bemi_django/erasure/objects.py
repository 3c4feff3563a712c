"""Find the changes of an object whose values are to be erased."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import models

from bemi_django import conf
from bemi_django.erasure.related.reused import of_key
from bemi_django.erasure.related.spellings import spellings_in_events, spellings_of_key
from bemi_django.erasure.targets.moved_rows import MovedRows
from bemi_django.erasure.targets.target import OF_ROWS, Target, is_text
from bemi_django.exceptions import BemiError
from bemi_django.log.conditions import in_table
from bemi_django.log.identity import RowLog, key_spans
from bemi_django.log.keys import has_logged_key, key_of, models_of
from bemi_django.log.live.live_tables import read_catalog
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.live.row_session import row_session
from bemi_django.log.object_changes import TableLog
from bemi_django.log.places import Place, model_of, places_of
from bemi_django.models import Change

if TYPE_CHECKING:
    from bemi_django.archive.location import Location


def targets_of_instance(instance: models.Model, alias: str, archive: Location | None = None) -> list[Target]:
    """Return the changes of an object, in the tables of its model and of the model's parents.

    Args:
        instance: The object.
        alias: Alias of its database.
        archive: The archive, if its months count.

    Raises:
        BemiError: The instance does not tell the key that the log has.
    """
    own = models_of(instance)
    places = places_of(own, alias)
    if not has_logged_key(instance):
        # Other rows may have the same value in what the model calls its key.
        schema, table = places[0][1:]
        _require_keys(places[0])
        raise BemiError(
            f"the primary key of {schema}.{table} is not that of {own[0].__name__}: name the row by the key "
            f"that the log has, as {schema}.{table}:KEY"
        )
    return [
        target_of_key(place, key_of(instance, model), alias, archive)
        for model, place in zip(own, places, strict=True)
    ]


def target_of_key(place: Place, key: str, alias: str, archive: Location | None = None) -> Target:
    """Return the changes of a row, under all keys that it had.

    Args:
        place: The table.
        key: A key of the row, as the log has it.
        alias: Alias of the database of the table.
        archive: The archive, if its months count.

    Raises:
        BemiError: The log has no keys of the table's rows.
    """
    _require_keys(place)
    log = Change.objects.using(conf.destination()).filter(in_table(place))
    own = key_columns(place, alias)
    key = _as_logged(log, place, key, alias)
    whole: RowLog = MovedRows(TableLog(log), own)
    archived = None
    if archive is not None:
        # Its package need not be installed.
        from bemi_django.erasure.archived.values import WholeLog

        whole = archived = WholeLog(whole, archive, place)
    spans = tuple(key_spans(whole, key))
    keys = dict.fromkeys(span.key for span in spans)
    # An event has the spelling in which somebody has asked for the object.
    spans += tuple(
        span._replace(key=spelled)
        for span in spans
        for spelled in spellings_in_events(alias, place, span.key)
    )
    texts = [each for each in keys if is_text(log, own, each) or (archived and archived.has_text(own, each))]
    return Target(place, own, spans, texts=tuple(texts), key=own)


def _require_keys(place: Place) -> None:
    log = Change.objects.using(conf.destination()).filter(in_table(place), operation__in=OF_ROWS)
    if log.exists() and not log.filter(primary_key__isnull=False).exists():
        name = f"{place.schema}.{place.table}"
        raise BemiError(
            f"{name} has no primary key, so the log does not tell which changes are of one row. If its rows "
            f"refer to others, name the row that they refer to, and --related {name}; all changes of the "
            "table go by BEMI_RETENTION and 'manage.py bemi prune'"
        )


def _as_logged(log: Any, place: Place, key: str, alias: str) -> str:
    """Return a key in the spelling that the log has: some types take several for equal."""
    if log.filter(of_key(key)).exclude(operation__in=("EVENT", "ERASED")).exists():
        return key
    known = log.filter(primary_key__in=list(spellings_of_key(alias, place, key)))
    return known.order_by("-id").values_list("primary_key", flat=True).first() or key


def user_key(instance: models.Model | None) -> Any:
    """Return the key of a user, who may have made changes; None for anything else."""
    try:
        model = apps.get_model(settings.AUTH_USER_MODEL)
    # A project without Django has no users.
    except (LookupError, ValueError):
        return None
    return instance.pk if instance is not None and instance._meta.concrete_model is model else None


def key_columns(place: Place, alias: str) -> tuple[str, ...]:
    """Return the columns of a table's key, by all names that they had."""
    columns = present_key(place, alias)
    names = column_names(place, model_of(place))
    return (*columns, *(name for column in columns for name in names.own(column)[1:]))


def present_key(place: Place, alias: str) -> tuple[str, ...]:
    """Return the columns of a table's key: its primary key, or that of its model."""
    name = place.schema, place.table
    with row_session(alias) as cursor:
        table = read_catalog(cursor, json.dumps([name])).tables.get(name)
    model: Any = model_of(place)
    if table is not None and table.primary is not None:
        return table.primary.columns
    fields = getattr(model._meta, "pk_fields", [model._meta.pk]) if model else []
    return tuple(field.column for field in fields)
