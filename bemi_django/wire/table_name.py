"""The names of tables, as ``BEMI_TABLE`` and Django's models give them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from bemi_django.wire.defaults import TABLE

#: Bytes of an identifier of PostgreSQL, and of the suffix of a partition: ``_2026_01``.
LONGEST = 63
_SUFFIX = 8

# A part in double quotes, as in SQL, or whatever is before the next dot.
_PART = r'"(?:[^"]|"")+"|[^".][^.]*'
_NAME = re.compile(rf"(?:({_PART})\.)?({_PART})", re.DOTALL)
#: Schemas of the server, and our own.
RESERVED = re.compile(r"pg_.*|information_schema|_bemi(_past_.*)?", re.DOTALL)


class TableName(NamedTuple):
    """The name of a table. Without a schema it is found through ``search_path``."""

    schema: str | None
    name: str

    @property
    def quoted(self) -> str:
        """The name for SQL."""
        return ".".join(f'"{part}"' for part in (part.replace('"', '""') for part in self if part))

    @property
    def in_query(self) -> str:
        """The name for SQL that is executed with parameters."""
        return self.quoted.replace("%", "%%")

    @property
    def db_table(self) -> str:
        """The name for the ``db_table`` of a model."""
        if self.schema is None and not re.search('["%]', self.name):
            return self.name
        # Django does not quote what begins and ends with a quote, and executes all queries with parameters.
        return self.in_query


def beside(name: str, suffix: str) -> str:
    """Return the name of another table: this one with a suffix, shortened to what PostgreSQL allows."""
    room = LONGEST - _size(suffix)
    return name.encode("utf-8", "surrogatepass")[:room].decode("utf-8", "ignore") + suffix


def split(text: str) -> TableName | None:
    """Return the parts of ``name`` or ``schema.name``, or None if the text is neither.

    Args:
        text: A name in which each part may be in double quotes, as in SQL. Other parts are taken as they
            are, without folding their case.
    """
    found = _NAME.fullmatch(text)
    return TableName(found[1] and _unquoted(found[1]), _unquoted(found[2])) if found else None


@lru_cache(maxsize=4096)
def of_db_table(db_table: str) -> TableName:
    """Return the name that PostgreSQL has for the table of a Django model.

    Args:
        db_table: ``db_table`` of the model. Django puts it into double quotes, unless it begins and ends with
            one: ``schema"."table`` is a table in a schema, with the outer quotes or without.
    """
    inner = db_table[1:-1] if db_table[:1] == db_table[-1:] == '"' else db_table
    found = split(f'"{inner}"') or TableName(None, db_table)
    return TableName(found.schema and _kept(found.schema), _kept(found.name))


def parse(value: object) -> TableName:
    """Return the name that a setting gives.

    Args:
        value: The value of the setting.

    Raises:
        ValueError: The log cannot have such a name; the message says what to do.
    """
    if not isinstance(value, str):
        raise ValueError(f"it must be a string, such as {TABLE!r} or 'audit.{TABLE}'")
    found = split(value)
    if found is None or not all(part is None or part.strip() for part in found):
        raise ValueError(
            "use 'name' or 'schema.name', and put a part that has a dot into double quotes: 'audit.\"a.b\"'"
        )
    if "\0" in value or "$" in value:
        # Django refuses to query a table with a dollar sign.
        raise ValueError("use other characters than the dollar sign and NUL")
    if _size(found.name) > LONGEST - _SUFFIX:
        raise ValueError(
            f"shorten {found.name!r} to {LONGEST - _SUFFIX} bytes: its partitions need {_SUFFIX} more, and "
            f"PostgreSQL allows {LONGEST}"
        )
    if found.schema is not None and _size(found.schema) > LONGEST:
        raise ValueError(f"shorten {found.schema!r} to {LONGEST} bytes, which is what PostgreSQL allows")
    if found.schema is not None and RESERVED.fullmatch(found.schema):
        raise ValueError(f"choose another schema: {found.schema!r} is reserved")
    return found


def _kept(name: str) -> str:
    """Return what PostgreSQL keeps of a name: the beginning of a longer one."""
    return name.encode("utf-8", "surrogatepass")[:LONGEST].decode("utf-8", "ignore")


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _size(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))
