"""What the stream leaves out of a table: its root, its key, its generated columns, its types."""

from __future__ import annotations

from typing import Any, NamedTuple

from bemi_django.wal.messages import Relation
from bemi_django.wal.values import Array, Castable, Composite, Domain, Type


class Generated(NamedTuple):
    """A column that the server computes and does not send."""

    name: str
    expression: str


class Description(NamedTuple):
    """A table between two DDL statements; its rows are recorded under ``root``, a schema and a name."""

    root: tuple[str, str] | None
    key: tuple[str, ...]
    generated: tuple[Generated, ...]
    types: dict[int, Type]

    def fits(self, relation: Relation) -> bool:
        """Whether the table, as the stream describes it, has the columns of the key."""
        return set(self.key) <= {column.name for column in relation.columns}


def parse(stored: dict[str, Any]) -> Description:
    """Read what ``_bemi_describe_v1`` made."""
    root = stored["root"]
    return Description(
        (root[0], root[1]) if root else None,
        tuple(stored["key"]),
        tuple(Generated(name, expression) for name, _, expression in stored["generated"]),
        {int(oid): _type(definition) for oid, definition in stored["types"].items()},
    )


def choose(versions: list[tuple[int, Description]], relation: Relation, lsn: int) -> Description | None:
    """The description of a table that held at ``lsn``, from versions sorted by the LSN they hold from.

    When none of that time fits what the stream says (the rows and the DDL were of one transaction, or
    nobody noticed the DDL), the nearest one does.
    """
    past = [description for since, description in reversed(versions) if since <= lsn]
    future = [description for since, description in versions if since > lsn]
    return next((description for description in past + future if description.fits(relation)), None)


def _type(definition: dict[str, Any]) -> Type:
    if "base" in definition:
        return Domain(definition["base"])
    if "element" in definition:
        return Array(definition["element"], definition["delimiter"])
    if "fields" in definition:
        return Composite(tuple((name, oid) for name, oid in definition["fields"]))
    return Castable(definition["cast"])
