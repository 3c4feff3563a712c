"""Mask what the log has of changes as the server prints it: only what is masked is parsed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from bemi_django.admin.access.masks import MASK, Masks
from bemi_django.log.lossless_json import dumps, end_of, loads, spans, with_value
from bemi_django.log.places import Place
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.wire import INVALID_KEY, SQL_KEY

_MASKED = dumps(MASK)
_NULL = "null"
#: Statements whose answers are remembered.
_REMEMBERED = 1024

#: Where a value begins and ends in a text.
_Span = tuple[int, int]

#: What can be masked in a change beside its context: both keys, and the row before and after as JSON.
TextRow = tuple["str | None", "str | None", str, str]
#: The columns of it.
ROW_COLUMNS = ("primary_key", "previous_primary_key", "before", "after")


class MaskedTexts:
    """Masks texts by the masks of a viewer.

    What can be masked is decided once for each table, and a context is masked once for each page.

    Args:
        masks: The masks.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._tables: dict[tuple[str, str, str], TableMasks] = {}

    def rows(self, places: Sequence[tuple[str, str, str]], rows: Iterable[TextRow]) -> list[TextRow | None]:
        """Return rows with the masked values hidden, None for what is nested too deeply.

        Args:
            places: Database, schema and name of the table of each.
            rows: The rows.
        """
        for place in {*places} - self._tables.keys():
            self._tables[place] = TableMasks(self._masks, Place(*place))
        tables = map(self._tables.__getitem__, places)
        return [table.visible(row) for table, row in zip(tables, rows, strict=True)]

    def contexts(self, texts: Sequence[str]) -> list[str]:
        """Return contexts, given as JSON, without what is masked in them."""
        if not self._masks:
            return [*texts]
        known = {text: self._visible_context(text) for text in set(texts)}
        return [*map(known.__getitem__, texts)]

    def _visible_context(self, text: str) -> str:
        try:
            text = self._masks.of_context_text(text)
            for name, redact in ((SQL_KEY, _redacted), (INVALID_KEY, _starred)):
                text = with_value(text, name, redact)
            return text
        except RecursionError:
            return _NULL


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
        self._has_hidden_key = masks.hides_key_of(place)
        #: How the keys of columns that can be masked end, and whether one that is only this name is.
        self._ends = [(f'{name}":', self._hide(name)) for name in sorted(names or ())]
        self._is_plain = not (self._is_open or self._ends or self._has_hidden_key)

    def visible(self, row: TextRow) -> TextRow | None:
        """Return the keys and the row of a change with the masked values hidden.

        Args:
            row: The keys and the row; it has no encrypted values.

        Returns:
            The same, or None if a value is nested too deeply.
        """
        if self._is_plain:
            return row
        key, previous, before, after = row
        values: list[str] = []
        try:
            before = self._masked(before, values)
            after = self._masked(after, values)
        except RecursionError:
            return None
        if (values or self._has_hidden_key) and self._hide_keys(key, previous, values):
            key, previous = key and MASK, previous and MASK
        return key, previous, before, after

    def _hide_keys(self, key: str | None, previous: str | None, values: list[str]) -> bool:
        """Tell whether the keys of a change are masked, which has some masked values as JSON."""
        if (
            self._has_hidden_key is False
            and previous is None
            and key is not None
            and key.isascii()
            and key.isdigit()
        ):
            # JSON prints digits as they are.
            return key in values or f'"{key}"' in values
        return self._masks.hide_keys(self._place, (key, previous), list(map(_value, values)))

    def _hide(self, column: str) -> bool:
        return self._masks.hide_column(self._place.schema, self._place.table, column)

    def _masked(self, text: str, values: list[str]) -> str:
        """Return a row without the values of masked columns, which are added to ``values``."""
        if self._is_open:
            return self._parsed(text, values)
        masked, count = text, len(values)
        for end, is_hidden in self._ends:
            head, found, rest = masked.partition(end)
            if not found:
                continue
            # A name can have a dot or a quote in front of what looks like the whole of it.
            if end in rest or head[-1] != '"' or head[-2] == "\\" or text.find("{", 1) != -1:
                del values[count:]
                return self._parsed(text, values)
            if is_hidden:
                begin = 1 if rest[0] == " " else 0
                stop = end_of(rest, begin)
                values.append(value := rest[begin:stop])
                if value != _NULL:
                    masked = f"{head}{end}{rest[:begin]}{_MASKED}{rest[stop:]}"
        return masked

    def _parsed(self, text: str, values: list[str]) -> str:
        """Do the same with a row whose columns are told apart one by one."""
        hidden = [at for name, at in spans(text).items() if self._hide(name)]
        values += [text[begin:end] for begin, end in hidden]
        return _starred_at(text, hidden)


@lru_cache(_REMEMBERED)
def _redacted(statement: str) -> str:
    return dumps(redact_literals(str(loads(statement)), MASK))


def _starred(_value: str) -> str:
    return _MASKED


def _value(text: str) -> Any:
    is_plain = text[0] == '"' and "\\" not in text
    return text[1:-1] if is_plain else loads(text)


def _starred_at(text: str, hidden: Sequence[_Span]) -> str:
    for begin, end in sorted(hidden, reverse=True) if len(hidden) > 1 else hidden:
        if text[begin:end] != _NULL:
            text = f"{text[:begin]}{_MASKED}{text[end:]}"
    return text
