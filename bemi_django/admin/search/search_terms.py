"""Parse the text of the search box into conditions, and tell which of them an index answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import and_, or_
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from bemi_django import conf
from bemi_django.admin.search import query_timeouts
from bemi_django.patterns import possessive

_BIGGEST = 2**63 - 1
_CONTEXT = re.compile(r"[^\W\d]\w*=")
# What words consist of as they are typed. A quotation begins where a word or its value does: elsewhere, as in
# O'Brien or 24", a mark is a character like others.
_PARTS = possessive.compiled(
    r"""(?P<blank>[ \t\r\n]+)|(?<![^ \t\r\n:=])"""
    r"""(?:"(?P<double>[^"\\]*+(?:\\.[^"\\]*+)*+)"|'(?P<single>[^']*+)'|(?P<open>["']))|[^ \t\r\n:="']+|.""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"""\\(["\\])""")
_NAMED = re.compile(r"[^\W\d]\w*[=:].")


class SearchTerms(NamedTuple):
    """A parsed search.

    Attributes:
        condition: The condition on changes.
        timeout: Time limit (ms) for the index that answers it; see ``query_timeouts``.
        columns: The columns whose values the search compares.
        context_parts: What the search compares with the context.
        readings: What each word was taken for, for people.
        free_words: The words that name no field, key or context.
    """

    condition: Q
    timeout: int
    columns: tuple[str, ...] = ()
    context_parts: tuple[dict[str, Any], ...] = ()
    readings: tuple[str, ...] = ()
    free_words: tuple[str, ...] = ()


def parse(text: str, tables: Iterable[str], *, has_request_ids: bool = True) -> SearchTerms:
    """Parse a search; all of its words must match.

    Args:
        text: The text of the search box.
        tables: The tables whose primary keys are compared with words.
        has_request_ids: Whether the ids of requests are compared with words, too.

    Returns:
        The parsed search.

    Raises:
        ValidationError: If the text cannot be parsed.
    """
    text = text.strip()
    if text.startswith("{"):
        wanted = _json_object(text)
        reading = _("%(value)s is a part of the context") % {"value": text}
        return SearchTerms(
            Q(context__contains=wanted), query_timeouts.FILTER, (), (wanted,), readings=(reading,)
        )
    found = [_word(word, tables, has_request_ids) for word in _words(text)]
    if not found:
        return SearchTerms(Q(), query_timeouts.NO_INDEX)
    return SearchTerms(
        reduce(and_, (search.condition for search in found)),
        max(search.timeout for search in found),
        tuple(column for search in found for column in search.columns),
        tuple(part for search in found for part in search.context_parts),
        tuple(reading for search in found for reading in search.readings),
        tuple(word for search in found for word in search.free_words),
    )


def _words(text: str) -> list[str]:
    """Return the words of a search; a value of the context goes on up to the next ``name=`` or ``name:``."""
    found: list[str] = []
    is_open = False
    for raw, word in _typed(text):
        if is_open and not _NAMED.match(raw):
            found[-1] += f" {word}"
            continue
        found.append(word)
        # A value in quotation marks ends with them.
        named = _CONTEXT.match(raw)
        is_open = named is not None and raw[named.end() : named.end() + 1] not in {"'", '"'}
    return found


def _typed(text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a search as they are typed, and what they are without quotation marks."""
    raw = word = ""
    for part in _PARTS.finditer(text):
        if part["open"]:
            raise ValidationError(_("A quotation mark is missing."))
        if part["blank"] and raw:
            yield raw, word
            raw = word = ""
        elif not part["blank"]:
            quoted = part["single"] if part["double"] is None else _ESCAPED.sub(r"\1", part["double"])
            raw, word = raw + part[0], word + (part[0] if quoted is None else quoted)
    if raw:
        yield raw, word


def _word(word: str, tables: Iterable[str], has_request_ids: bool) -> SearchTerms:
    name, colon, value = word.partition(":")
    key, equals, wanted = word.partition("=")
    if equals and key.isidentifier():
        parts = tuple({key: literal} for literal in literals(wanted))
        return SearchTerms(
            _any(Q(context__contains=part) for part in parts),
            query_timeouts.FILTER,
            context_parts=parts,
            readings=(_("%(name)s in the context is “%(value)s”") % {"name": key, "value": wanted},),
        )
    if not colon or not name or not value:
        reading = _("“%(value)s” is a primary key, a request id, a transaction id or the id of a change")
        return SearchTerms(
            _any(_anywhere(word, tables, has_request_ids)),
            query_timeouts.LOOKUP,
            readings=(reading % {"value": word},),
            free_words=(word,),
        )
    if name in _IDS:
        condition = {
            "pk": lambda: Q(table__in=list(tables), primary_key=value),
            "request": lambda: Q(context__contains={"request_id": value}),
            "transaction": lambda: Q(transaction_id=_number(value)),
        }[name]()
        reading = _("the %(name)s is “%(value)s”") % {"name": _(_IDS[name]), "value": value}
        compared: tuple[dict[str, Any], ...] = ({"request_id": value},) if name == "request" else ()
        return SearchTerms(condition, query_timeouts.LOOKUP, context_parts=compared, readings=(reading,))
    column, colon, new = value.partition(":")
    return _became(column, new) if name == "became" and column and new else _field(name, value)


def _field(name: str, value: str) -> SearchTerms:
    condition = _has("before", name, value) | _has("after", name, value)
    reading = _("the field %(name)s was or became “%(value)s”") % {"name": name, "value": value}
    return SearchTerms(condition, _timeout(), (name,), readings=(reading,))


def _became(name: str, value: str) -> SearchTerms:
    condition = _has("after", name, value) & ~_has("before", name, value)
    reading = _("the field %(name)s became “%(value)s”") % {"name": name, "value": value}
    return SearchTerms(condition, _timeout(), (name,), readings=(reading,))


def _has(side: str, name: str, value: str) -> Q:
    return _any(Q(**{f"{side}__contains": {name: literal}}) for literal in literals(value))


def _timeout() -> int:
    return query_timeouts.FILTER if conf.index_values() else query_timeouts.NO_INDEX


_IDS = {
    "pk": gettext_noop("primary key"),
    "request": gettext_noop("request id"),
    "transaction": gettext_noop("transaction id"),
}


def _anywhere(word: str, tables: Iterable[str], has_request_ids: bool) -> Iterator[Q]:
    yield Q(table__in=list(tables), primary_key=word)
    if has_request_ids:
        yield Q(context__contains={"request_id": word})
    if word.isdecimal() and int(word) <= _BIGGEST:
        yield Q(transaction_id=int(word))
    try:
        yield Q(id=UUID(word))
    except ValueError:
        return


def literals(text: str) -> list[Any]:
    """Return the JSON values that a text may stand for: the string, and the value that it spells."""
    try:
        return [text, _read(text)]
    except (ValueError, RecursionError):
        return [text]


def _read(text: str) -> Any:
    """Parse JSON that PostgreSQL accepts: no NaN, no infinite number, no NUL, no half of a character."""
    value = json.loads(text)
    printed = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if "\\u0000" in printed:
        raise ValueError
    # Half of a surrogate pair raises UnicodeEncodeError, which is a ValueError.
    printed.encode()
    return value


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) > _BIGGEST:
        raise ValidationError(_("A transaction id is a number, as in transaction:12345."))
    return int(text)


def _json_object(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _read(text)
    except (ValueError, RecursionError) as error:
        raise ValidationError(
            _('A context is searched for with JSON, as in {"reason": "import"}.')
        ) from error
    return found


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions)
