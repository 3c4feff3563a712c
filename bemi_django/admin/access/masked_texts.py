"""Mask what the log has of changes as the server prints it: only what is masked is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from bemi_django.admin.access.masks import MASK, Masks
from bemi_django.log.lossless_json import dumps, end_of, is_flat, loads, span, spans
from bemi_django.log.places import Place
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.wire import INVALID_KEY, SQL_KEY

_MASKED = dumps(MASK)
_NULL = "null"
#: Contexts, statements and tables whose answers are remembered.
_REMEMBERED = 1024

#: Where a value begins and ends in a text.
_Span = tuple[int, int]

#: What can be masked in a change beside its context: both keys, and the row before and after as JSON.
TextRow = tuple["str | None", "str | None", str, str]
#: The columns of it.
ROW_COLUMNS = ("primary_key", "previous_primary_key", "before", "after")


class MaskedTexts:
    """Masks texts by the masks of a viewer.

    What can be masked is decided once for each table, and a context is masked once for all of its changes.

    Args:
        masks: The masks.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        #: Returns what is masked in a table, given by database, schema and name.
        self.table = lru_cache(_REMEMBERED)(self._table)
        #: Returns a context, given as JSON, without what is masked in it.
        self.context = lru_cache(_REMEMBERED)(self._visible_context)

    def _table(self, database: str, schema: str, table: str) -> TableMasks:
        return TableMasks(self._masks, Place(database, schema, table))

    def _visible_context(self, text: str) -> str:
        if not self._masks:
            return text
        try:
            text = self._masks.of_context_text(text)
            for name, redact in ((SQL_KEY, _redacted), (INVALID_KEY, _starred)):
                if at := span(text, name):
                    text = f"{text[: at[0]]}{redact(text[slice(*at)])}{text[at[1] :]}"
        except RecursionError:
            return _NULL
        return text


class TableMasks:
    """Masks the rows of one table.

    Args:
        masks: The masks of a viewer.
        place: The table.
    """

    def __init__(self, masks: Masks, place: Place) -> None:
        self._masks = masks
        self._place = place
        names = masks.maskable_columns(place)
        self._is_open = names is None
        self._names = self._hidden = re.compile("(?!)")
        if names:
            self._names = re.compile(f'(?:{"|".join(names)})":')
            hidden = [name for name in names if self._hide(name)]
            self._hidden = re.compile(f'"(?:{"|".join(hidden)})": ?' if hidden else "(?!)")

    def visible(self, row: TextRow) -> TextRow:
        """Return the keys and the row of a change with the masked values hidden.

        Args:
            row: The keys and the row; it has no encrypted values.

        Raises:
            RecursionError: A value is nested too deeply.
        """
        key, previous, before, after = row
        old, new = self._spans(before), self._spans(after)
        values = [_value(before[begin:end]) for begin, end in old]
        values += [_value(after[begin:end]) for begin, end in new]
        if self._masks.hide_keys(self._place, (key, previous), values):
            key, previous = key and MASK, previous and MASK
        return key, previous, _starred_at(before, old), _starred_at(after, new)

    def _hide(self, column: str) -> bool:
        return self._masks.hide_column(self._place.schema, self._place.table, column)

    def _spans(self, text: str) -> list[_Span]:
        """Return where the values of masked columns are in a row."""
        found = () if self._is_open else self._names.findall(text)
        if found or self._is_open:
            exact = list(self._hidden.finditer(text)) if found and is_flat(text) else []
            # A name can have a dot or a quote in front of what looks like the whole of it.
            if len(exact) == len(found) > 0 and all(text[match.start() - 1] != "\\" for match in exact):
                return [(match.end(), end_of(text, match.end())) for match in exact]
            return [at for name, at in spans(text).items() if self._hide(name)]
        return []


@lru_cache(_REMEMBERED)
def _redacted(statement: str) -> str:
    return dumps(redact_literals(str(loads(statement)), MASK))


def _starred(_value: str) -> str:
    return _MASKED


def _value(text: str) -> Any:
    is_plain = text[0] == '"' and "\\" not in text
    return text[1:-1] if is_plain else loads(text)


def _starred_at(text: str, hidden: Iterable[_Span]) -> str:
    for begin, end in sorted(hidden, reverse=True):
        if text[begin:end] != _NULL:
            text = f"{text[:begin]}{_MASKED}{text[end:]}"
    return text
