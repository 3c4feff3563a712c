"""A value as people know it: choices by their labels, moments in their zone, none and empty told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from django.db import models
from django.utils.formats import get_format
from django.utils.translation import gettext as _

from bemi_django.admin.access.masks import MASK
from bemi_django.admin.display.text_diff import common_beginning
from bemi_django.admin.display.value_diff import as_text
from bemi_django.admin.display.values.moments import fraction_of, stored_day_text, stored_moment_text
from bemi_django.admin.display.values.stored_files import StoredFile
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.log.lossless_json import dumps

Kind = Literal[
    "none", "empty", "mask", "flag", "number", "moment", "choice", "reference", "file", "json", "text"
]

#: What a field takes, with the labels.
Choices = Sequence[tuple[Any, Any]]
#: The number of characters of a value that fit beside others.
CHARACTERS = 80
#: How many times as long JSON may be before its indentation is removed.
_INDENTED = 40
#: The number of characters before a difference that tell where it is, and that a word before it may add.
_BEFORE, _WORD = 10, 20
_DECIMAL = re.compile(r"-?\d+\.\d+")
#: A moment in a range, as the server prints it.
_IN_RANGE = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d(?::\d\d){0,2})")
_LINE = re.compile(r"\n *")


class ShownValue(NamedTuple):
    """A value as a page shows it.

    Attributes:
        kind: What it is.
        text: The value in words; moments in the reader's time zone and language.
        key: The stored value, where it differs from the words: a foreign key, a choice, an exact moment.
        page: The page that the words lead to, or None.
        file: The file that the value names, if the reader may have it.
    """

    kind: Kind
    text: str
    key: str = ""
    page: str | None = None
    file: StoredFile | None = None

    @property
    def url(self) -> str | None:
        """The page or the file that the words lead to, or None."""
        return self.file.url if self.file is not None else self.page

    @property
    def is_picture(self) -> bool:
        """Whether the value is a file that browsers show as a picture."""
        return self.file is not None and self.file.is_picture

    @property
    def exact(self) -> str:
        """The stored moment, or an empty string for other values."""
        return self.key if self.kind == "moment" else ""

    @property
    def is_long(self) -> bool:
        """Whether the value is a text or JSON that is compared by its parts."""
        return self.kind in ("text", "json") and (len(self.text) > CHARACTERS or "\n" in self.text)

    @property
    def brief(self) -> str:
        """The value in a few characters, in one line."""
        return self.within(CHARACTERS)

    def within(self, characters: int) -> str:
        """Return the value in one line of at most so many characters."""
        # Between the lines of JSON is nothing but indentation.
        head = self.text[: characters * _INDENTED if self.kind == "json" else characters + 1]
        text = _LINE.sub(" ", head) if self.kind == "json" else head.replace("\n", "↵")
        is_cut = len(text) > characters or len(head) < len(self.text)
        return in_order(f"{text[:characters]}…" if is_cut else text)


def choices_of(field: models.Field[Any, Any] | None) -> Choices:
    """Return the choices of a field, or those of the items of an array.

    None if the code of the project that computes them fails. It may query: ask once for many values.
    """
    try:
        items = choices_of(getattr(field, "base_field", None)) if field is not None else []
        return items or list(getattr(field, "flatchoices", None) or ())
    except Exception:
        return []


def shown(
    field: models.Field[Any, Any] | None,
    value: Any,
    *,
    choices: Choices | None = None,
    may_open: bool = False,
) -> ShownValue:
    """Return a value that refers to no other row.

    Args:
        field: The field of the value, or None for a column that the model does not know.
        value: The value as JSON has it, or the mask.
        choices: ``choices_of()`` the field, if they are known.
        may_open: Whether the reader may have the file that a value names.
    """
    if value == MASK:
        return ShownValue("mask", MASK)
    choices = choices_of(field) if choices is None else choices
    label = _choice(field, value, choices)
    if label is not None:
        return ShownValue("choice", label, as_text(value))
    if value is None:
        return ShownValue("none", _("none"))
    if isinstance(value, bool):
        return ShownValue("flag", _("yes") if value else _("no"))
    if isinstance(value, (int, float)):
        return ShownValue("number", _number(dumps(value)))
    if isinstance(value, (dict, list)):
        return ShownValue("json", as_text(labelled(field, value, choices)))
    return _text(field, str(value), may_open=may_open)


def labelled(field: Any, value: Any, choices: Choices) -> Any:
    """Return a value of a field; items of an array are labels, and moments of the reader's zone.

    Args:
        field: The field.
        value: The value as JSON has it.
        choices: ``choices_of()`` the field.
    """
    base = getattr(field, "base_field", None)
    if base is None or not isinstance(value, list):
        return value
    return [
        labelled(base, item, choices) if isinstance(item, list) else _item(base, item, choices)
        for item in value
    ]


def _item(field: Any, value: Any, choices: Choices) -> Any:
    found = shown(field, value, choices=choices)
    text = f"{found.text}{fraction_of(value)}" if found.kind == "moment" else found.text
    return text if found.kind in ("choice", "moment") else value


def _number(text: str) -> str:
    """Return a number with all of its digits and the decimal separator of the reader's language."""
    return text.replace(".", get_format("DECIMAL_SEPARATOR")) if _DECIMAL.fullmatch(text) else text


def _text(field: models.Field[Any, Any] | None, value: str, *, may_open: bool) -> ShownValue:
    if not value:
        return ShownValue("empty", _("empty text"))
    if isinstance(getattr(field, "base_field", None), models.DateTimeField):
        between = _IN_RANGE.sub(_moment_in_range, value)
        return ShownValue("text", value) if between == value else ShownValue("choice", between, value)
    moment = None
    if field is None or isinstance(field, models.DateTimeField):
        moment = stored_moment_text(value)
    elif isinstance(field, models.DateField):
        moment = stored_day_text(value)
    if moment is not None:
        return ShownValue("moment", moment, value)
    if isinstance(field, models.FileField):
        return ShownValue("file", value, file=StoredFile(field, value) if may_open else None)
    return ShownValue("text", value)


def _moment_in_range(found: re.Match[str]) -> str:
    offset = found[3] if ":" in found[3] else f"{found[3]}:00"
    return stored_moment_text(f"{found[1]}T{found[2]}{offset}") or found[0]


def stored(value: Any) -> ShownValue:
    """Return a value as the log has it, for developers: no labels, no names, no zone of the reader."""
    if isinstance(value, (dict, list)):
        return ShownValue("json", as_text(value))
    if value is None:
        return ShownValue("none", "null")
    if value == MASK:
        return ShownValue("mask", MASK)
    kind: Kind = "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else "text"
    return ShownValue(kind, dumps(value))


def _choice(field: models.Field[Any, Any] | None, value: Any, choices: Choices) -> str | None:
    if field is None or not choices or isinstance(value, (dict, list)):
        return None
    try:
        return next((str(label) for key, label in choices if key in (value, field.to_python(value))), None)
    except Exception:
        # A value of another time, at which a field of the project may fail in any way.
        return None


def told_apart(before: ShownValue, after: ShownValue) -> tuple[ShownValue, ShownValue]:
    """Return two values with the fractions of their seconds, if they are moments of one second."""
    if before.kind != "moment" or before.text != after.text or before.key == after.key:
        return before, after
    one, other = (value._replace(text=f"{value.text}{fraction_of(value.key)}") for value in (before, after))
    return one, other


def from_difference(before: ShownValue, after: ShownValue, characters: int) -> tuple[ShownValue, ShownValue]:
    """Return two texts from a word before their first difference on, if so many characters hide it."""
    common = common_beginning(before.text, after.text)
    if not {before.kind, after.kind} <= {"text", "json"} or common < characters // 2:
        return before, after
    end = common - _BEFORE
    begin = before.text.rfind(" ", max(end - _WORD, 0), end) + 1 or end
    one, other = (value._replace(text=f"…{value.text[begin:]}") for value in (before, after))
    return one, other
