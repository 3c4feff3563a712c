"""Decide which columns, keys and tables have masked values (``BEMI_MASKED_FIELDS``)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from django.db import models

from bemi_django.admin.access.context_keys import ContextKeys
from bemi_django.admin.access.logged_models import LoggedModels
from bemi_django.admin.access.rows.field_sources import field_sources
from bemi_django.disclosure.keys_in_rows import holds_value
from bemi_django.log.keys import key_fields
from bemi_django.log.live.key_columns import key_columns
from bemi_django.log.places import Place
from bemi_django.masking.patterns import Pattern, may_name, parse
from bemi_django.models import Change
from bemi_django.wire import INVALID_KEY, SQL_KEY

MASK = "••••••"

_WILDCARDS = re.compile(r"[*?\[]")
#: A column of a table: schema, table, column.
_Column = tuple[str, str, str]


class Masks:
    """The masks that apply to a viewer.

    A foreign key to a masked column holds the same values, and a generated column others that tell them, so
    they are masked, too. A column is masked under all names that it has had if one of them is masked.

    Args:
        patterns: ``BEMI_MASKED_FIELDS``, or nothing for a viewer who may see all values.
        logged_models: The models of the project.
    """

    def __init__(self, patterns: Sequence[str], logged_models: LoggedModels) -> None:
        # A pattern of keys inside a column hides the whole column.
        parsed = [_parsed(pattern) for pattern in patterns]
        self._patterns = [pattern.name for pattern in parsed if not pattern.is_of_context]
        self._context = ContextKeys([pattern for pattern in parsed if pattern.is_of_context])
        self._logged_models = logged_models
        self._known: dict[_Column, bool] = {}
        self._keys: dict[Place, bool | None] = {}
        self._maskable: dict[Place, Collection[str] | None] = {}
        self._fields: dict[type[models.Model], frozenset[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._patterns or self._context)

    def of_context(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return a context without the values under masked keys."""
        return self._context.visible(context)

    def of_context_text(self, text: str) -> str:
        """Return a context, given as JSON, without the values under masked keys."""
        return self._context.visible_text(text)

    def hidden_in_context(self, part: dict[str, Any]) -> list[str]:
        """Return the outermost keys of a part of a context that contexts must not be searched for."""
        texts = [name for name in (SQL_KEY, INVALID_KEY) if self and name in part]
        return texts + self._context.hidden_in(part)

    def hide_context_key(self, name: str) -> bool:
        """Tell whether the values of contexts under a key, or values in them, are masked."""
        return bool(self.hidden_in_context({name: None}))

    def hide_column(self, schema: str, table: str, column: str) -> bool:
        """Tell whether the values of a column are masked."""
        if not self._patterns:
            return False
        name = (schema, table, column)
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._matches(*name) or name in self._derived
        return found

    def hidden(self, schema: str, table: str, columns: Iterable[str]) -> set[str]:
        """Return those of a table's columns whose values are masked."""
        return {column for column in columns if self.hide_column(schema, table, column)}

    def hidden_fields(self, model: type[models.Model]) -> frozenset[str]:
        """Return the columns of a model, its parents' included, whose values are masked."""
        if not self._patterns:
            return frozenset()
        if model not in self._fields:
            self._fields[model] = frozenset(
                str(field.column) for field in model._meta.concrete_fields if self._hide_field(field)
            )
        return self._fields[model]

    def hide_model_key(self, model: type[models.Model]) -> bool:
        """Tell whether the primary key of a model is masked."""
        return any(field.column in self.hidden_fields(model) for field in key_fields(model))

    def hide_key(self, change: Change) -> bool:
        """Tell whether the keys of a change are masked.

        They are if a column of the key is, now or, as the values of the change show, at that time.
        """
        if not self._patterns:
            return False
        hidden = self.hidden(change.schema, change.table, {*change.before, *change.after})
        values = [row[name] for row in (change.before, change.after) for name in hidden if name in row]
        return self.hide_keys(change.place, (change.primary_key, change.previous_primary_key), values)

    def hide_keys(self, place: Place, keys: Iterable[str | None], values: Sequence[Any]) -> bool:
        """Tell whether the keys of a change are masked.

        Args:
            place: The table of the change.
            keys: The keys.
            values: The values of masked columns in its row, before and after.
        """
        is_hidden = self.hides_key_of(place)
        # The key of a table that is gone is unknown.
        return bool(values) if is_hidden is None else is_hidden or bool(values and holds_value(keys, values))

    def hides_key_of(self, place: Place) -> bool | None:
        """Return whether a column of a table's primary key is masked, or None if the key is not known."""
        if not self._patterns:
            return False
        self.learn_keys([place])
        return self._keys[place]

    def learn_keys(self, places: Iterable[Place]) -> None:
        """Find out for several tables at once whether their primary keys are masked."""
        new = set(places).difference(self._keys) if self._patterns else ()
        found = {place: self._logged_models.model_at(*place) for place in new}
        columns = key_columns(place for place, logged in found.items() if logged is None)
        for place, logged in found.items():
            if logged is not None:
                self._keys[place] = self.hide_model_key(logged.model)
            else:
                names = columns.get(place)
                self._keys[place] = bool(self.hidden(place.schema, place.table, names)) if names else None

    def maskable_columns(self, place: Place) -> Collection[str] | None:
        """Return the names that masked columns of a table can have, or None if they can be any.

        Args:
            place: The table.

        Returns:
            The names, none if nothing of the table is masked. A masked column has one of them, or ends with
            a dot and one of them.
        """
        if place not in self._maskable:
            self._maskable[place] = self._maskable_of(place)
        return self._maskable[place]

    def _maskable_of(self, place: Place) -> Collection[str] | None:
        tables = (f"{place.table}.", f"{place.schema}.{place.table}.")
        # With a wildcard, it can be a pattern of any table.
        patterns = [name for name in self._patterns if _WILDCARDS.search(name) or name.startswith(tables)]
        names = {name.rpartition(".")[2] for name in patterns}
        names |= {column for schema, table, column in self._derived if (schema, table) == place[1:]}
        is_literal = all(re.fullmatch(r"\w+", name, re.ASCII) for name in names)
        has_column = all("." in name for name in patterns)
        return frozenset(names) if is_literal and has_column else None

    def hide_search(self, column: str) -> bool:
        """Tell whether values of a column must not be searched for, because some table's are masked."""
        return any(may_name(mask, column) for mask in self._patterns) or any(
            column == derived for _, _, derived in self._derived
        )

    def searchable_keys(self) -> list[str]:
        """Return the tables whose primary keys may be searched for."""
        tables = set(self._logged_models.names())
        if self._patterns:
            tables -= {
                place.table
                for model, place in self._logged_models.places().items()
                if self.hide_model_key(model)
            }
        return sorted(tables)

    def mentions_hidden_table(self, statement: str) -> bool:
        """Tell whether an SQL statement names a table that has masked columns."""
        names = self._table_names if self._patterns else None
        return bool(names and names.search(statement))

    @cached_property
    def _table_names(self) -> re.Pattern[str] | None:
        places = self._logged_models.places()
        names = {places[model].table for model in places if self.hidden_fields(model)}
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(names)))})(?!\w)") if names else None

    def _hide_field(self, field: Any) -> bool:
        place = self._logged_models.places().get(field.model)
        return place is not None and self.hide_column(place.schema, place.table, field.column)

    def _matches(self, schema: str, table: str, column: str) -> bool:
        names = (f"{table}.{column}", f"{schema}.{table}.{column}")
        return any(fnmatchcase(name, mask) for mask in self._patterns for name in names)

    @cached_property
    def _derived(self) -> frozenset[_Column]:
        """Columns that no pattern names but that hold values of masked columns."""
        places = self._logged_models.places()
        sources = field_sources(places)
        asked = {name.rpartition(".")[2] for name in self._patterns}
        columns = [
            {(schema, table, name) for name in names}
            for schema, table, names in self._logged_models.renamed_columns(asked)
        ]
        found: set[_Column] = set()
        referring: set[_Column] = set()
        size = -1
        while len(found) > size:
            size = len(found)
            referring |= {
                _column_of(places[field.model], field)
                for field, of in sources.items()
                if any(self._is_hidden(source, found) for source in of)
            }
            found |= referring
            for names in columns:
                if names & referring or any(self._matches(*name) for name in names):
                    found |= names
        return frozenset(found)

    def _is_hidden(self, field: Any, derived: set[_Column]) -> bool:
        place = self._logged_models.places().get(field.model)
        if place is None:
            return False
        column = _column_of(place, field)
        return column in derived or self._matches(*column)


def _parsed(text: str) -> Pattern:
    try:
        return parse(text)
    except ValueError:
        # A check reports it. What it hides, it hides until it is corrected.
        return Pattern(text)


def _column_of(place: Place, field: Any) -> _Column:
    return (place.schema, place.table, field.column)
