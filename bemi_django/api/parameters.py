"""The parameters of the API: declared once, parsed and described from that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import override

from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.search.filters.filter_fields import DayField, ExcludedField
from bemi_django.api.problems import refused

#: How often a parameter that is a list can be given.
_MOST = 20
#: What was given, by the names of the parameters.
Given = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query, or of the path.

    Attributes:
        name: Its name.
        description: What it means, for people.
        schema: Its JSON schema.
        parse: Returns the value of a text, or raises ValueError with what is expected.
        is_in_path: Whether it is a part of the path.
        is_list: Whether it can be given several times.
        default: The value if it is not given.
        is_required: Whether it must be given.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    parse: Callable[[str], Any]
    is_in_path: bool = False
    is_list: bool = False
    default: Any = None
    is_required: bool = False

    def described(self) -> dict[str, Any]:
        """Return the parameter as OpenAPI describes it."""
        found: dict[str, Any] = {
            "name": self.name,
            "in": "path" if self.is_in_path else "query",
            "description": self.description,
            "required": self.is_in_path or self.is_required,
            "schema": dict(self.schema),
        }
        if self.is_list:
            found["schema"] = {"type": "array", "items": dict(self.schema), "maxItems": _MOST}
        return found


def text(name: str, description: str, *, longest: int = 2000, **more: Any) -> Parameter:
    """Return a parameter that is a text of so many characters."""

    def parse(given: str) -> str:
        if len(given) > longest or "\0" in given:
            raise ValueError(_("Give a text of at most %d characters without NUL.") % longest)
        return given

    return Parameter(name, description, {"type": "string", "maxLength": longest}, parse, **more)


def choice(name: str, description: str, choices: Sequence[str], **more: Any) -> Parameter:
    """Return a parameter that is one of some words."""

    def parse(given: str) -> str:
        if given not in choices:
            raise ValueError(_("Give one of %s.") % comma_list(choices))
        return given

    schema: dict[str, Any] = {"type": "string", "enum": list(choices)}
    if more.get("default"):
        schema["default"] = more["default"]
    return Parameter(name, description, schema, parse, **more)


def identifier(name: str, description: str, **more: Any) -> Parameter:
    """Return a parameter that is the id of a change."""

    def parse(given: str) -> UUID:
        if not _UUID.fullmatch(given):
            raise ValueError(
                _("Give the id of a change, such as %s.") % "0198b0c0-0000-8000-8000-000000000000"
            )
        return UUID(given)

    return Parameter(name, description, {"type": "string", "format": "uuid"}, parse, **more)


def number(name: str, description: str, least: int, most: int, default: int) -> Parameter:
    """Return a parameter that is a whole number."""

    def parse(given: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", given) or not least <= int(given) <= most:
            raise ValueError(
                _("Give a whole number from %(least)d to %(most)d.") % {"least": least, "most": most}
            )
        return int(given)

    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, description, schema, parse, default=default)


def moment(name: str, description: str) -> Parameter:
    """Return a parameter that is a past moment; without an offset, it is in the site's time zone."""

    def parse(given: str) -> Any:
        found = parse_datetime(given) if "T" in given.upper() else None
        if found is None:
            raise ValueError(_("Give a moment, such as %s.") % "2026-01-31T12:00:00+00:00")
        if timezone.is_naive(found):
            found = timezone.make_aware(found)
        try:
            # PostgreSQL does not take all offsets that ISO 8601 has.
            found = found.astimezone(timezone.get_fixed_timezone(0))
        except OverflowError:
            raise ValueError(_("Give a moment between the years 1 and 9999.")) from None
        if found > datetime.now(found.tzinfo):
            raise ValueError(_("This moment is in the future."))
        return found

    return Parameter(name, description, {"type": "string", "format": "date-time"}, parse)


def of_form(form: type[forms.Form], descriptions: Mapping[str, str]) -> tuple[Parameter, ...]:
    """Return the parameters that a form has as fields.

    Args:
        form: The form of an admin page.
        descriptions: What fields mean whose labels say too little.
    """
    with override("en"):
        return tuple(
            _of_field(name, field, descriptions.get(name, str(field.label or name)))
            for name, field in form.base_fields.items()
        )


def _of_field(name: str, field: Any, description: str) -> Parameter:
    if isinstance(field, DayField):
        return Parameter(name, description, {"type": "string", "format": "date"}, _day)
    if isinstance(field, forms.TimeField):
        return Parameter(name, description, {"type": "string", "pattern": _TIME.pattern}, _time_of_day)
    if isinstance(field, forms.BooleanField):
        return Parameter(name, description, {"type": "boolean"}, _flag)
    if isinstance(field, ExcludedField):
        return text(name, description, is_list=True)
    if choices := list(getattr(field, "choices", ())):
        return choice(name, description, [str(key) for key, _label in choices])
    return text(name, description, longest=getattr(field, "max_length", None) or 200)


_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile("^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$")


def _day(given: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", given):
        raise ValueError(_("Give a day, such as %s.") % "2026-01-31")
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise ValueError(_("Give a day that the calendar has, such as %s.") % "2026-01-31") from None


def _time_of_day(given: str) -> str:
    if not _TIME.fullmatch(given):
        raise ValueError(_("Give a time of day, such as %s.") % "17:30")
    return given


def _flag(given: str) -> bool:
    if given not in ("true", "false"):
        raise ValueError(_("Give one of %s.") % comma_list(("true", "false")))
    return given == "true"


def parsed(parameters: Sequence[Parameter], query: QueryDict, path: Mapping[str, str]) -> Given:
    """Return the values of the parameters of a request.

    Raises:
        ApiProblem: Some are not valid, are not known, are missing, or are given twice.
    """
    wrong: dict[str, list[str]] = {}
    found: Given = {}
    for parameter in parameters:
        texts = [path[parameter.name]] if parameter.is_in_path else query.getlist(parameter.name)
        problems = list(_problems(parameter, texts, found))
        if problems:
            wrong[parameter.name] = problems
    known = {parameter.name for parameter in parameters if not parameter.is_in_path}
    for name in query.keys() - known:
        options = comma_list(sorted(known)) or "–"
        wrong[name] = [_("There is no such parameter. Those that there are: %s.") % options]
    if wrong:
        raise refused(wrong)
    return found


def _problems(parameter: Parameter, texts: Sequence[str], found: Given) -> Iterator[str]:
    """Yield what is wrong about a parameter, or add its value to what was found."""
    if not texts:
        found[parameter.name] = [] if parameter.is_list else parameter.default
        if parameter.is_required:
            yield _("It is missing.")
        return
    if len(texts) > (_MOST if parameter.is_list else 1):
        yield _("Give it at most %d times.") % _MOST if parameter.is_list else _("Give it once.")
        return
    try:
        values = [parameter.parse(one) for one in texts]
    except ValueError as error:
        yield str(error)
        return
    found[parameter.name] = values if parameter.is_list else values[0]
