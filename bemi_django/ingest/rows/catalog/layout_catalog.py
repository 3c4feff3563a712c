"""Ask the source's server for what only it knows: descriptions, generated columns, casts to json."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from bemi_django.encryption.column_ciphers import ciphers_of
from bemi_django.encryption.key_ring import KeyRing
from bemi_django.ingest.protocol.messages import Relation, Row
from bemi_django.ingest.rows import copy_format, description, values
from bemi_django.ingest.rows.canonical_json import canonical_context, canonical_encoder
from bemi_django.ingest.rows.catalog.calculator import Calculator
from bemi_django.ingest.rows.catalog.mask_catalog import MaskCatalog
from bemi_django.ingest.rows.catalog.shown_transactions import ShownTransactions
from bemi_django.ingest.rows.catalog.sized_cache import SizedCache
from bemi_django.ingest.rows.description import END, Chosen, Description, Generated, Version
from bemi_django.ingest.rows.large_rows import LARGE
from bemi_django.ingest.rows.rendering import unavailable_field
from bemi_django.ingest.rows.row_layout import (
    Computed,
    RowLayout,
    head,
    masked,
    template,
    unseen,
    with_reader,
)
from bemi_django.ingest.rows.values import Castable
from bemi_django.ingest.selection.rules import EVERYTHING, Selection
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched
from bemi_django.masking.rules import NOTHING, Rules
from bemi_django.masking.words import is_secret
from bemi_django.schema import installed
from bemi_django.schema.sql import quote

_VERSIONS = """
SELECT description, since_xid::text::bigint, (since - '0/0')::bigint FROM _bemi.relations
WHERE relation = %s AND system = (pg_control_system()).system_identifier ORDER BY since
"""
_IS_FOLLOWED = (
    "SELECT count(*) > 0 FROM pg_event_trigger WHERE evtname = '_bemi_follow_ddl' AND evtenabled <> 'D'"
)
_NAMES = "SELECT format_type(%s, -1), %s::regproc::text"
_TYPE_NAMES = "SELECT format_type(oid, -1) FROM unnest(%s::oid[]) WITH ORDINALITY t (oid, n) ORDER BY n"


class LayoutCatalog:
    """Finds layouts over one connection to the source, as ``connect_source()`` opens it.

    ``calculator`` evaluates what table owners have written, ``selection`` says what is left out, and
    ``masking`` what is masked.
    """

    def __init__(
        self,
        connection: Any,
        database: str,
        calculator: Calculator,
        selection: Selection = EVERYTHING,
        masking: Rules = NOTHING,
    ) -> None:
        #: Whether values and contexts have to be as jsonb prints them.
        self.is_canonical = False
        #: Finds the keys with which values are encrypted. Without it, nothing is kept of them.
        self.keys: KeyRing | None = None
        self._is_unicode = connection.get_parameter_status("server_encoding") == "UTF8"
        #: Knows which columns are masked.
        self.masks = MaskCatalog(self._rows, self._descriptions, masking)
        #: Knows what the source shows of transactions.
        self.transactions = ShownTransactions(self._rows)
        self._connection = connection
        self._calculator = calculator
        self._database = database
        self._selection = selection
        with connection.cursor() as cursor:
            installed.require(cursor, "describe_v1")
        self._cast = SizedCache(self._ask_cast)
        self._names = lru_cache(maxsize=64)(self._ask_names)
        self._start = END
        self._commits: dict[int, int] = {}

    def render_context(self, context: bytes) -> bytes:
        """Return a context as the log is to have it."""
        return canonical_context(context) if self.is_canonical else context

    def stream_from(self, lsn: int) -> None:
        """Expect all transactions that commit after ``lsn``: those with DDL will be noted."""
        self._start = lsn

    def note_ddl(self, xid: int, commit_lsn: int) -> None:
        """Note that descriptions made by a transaction are valid for others from its commit on."""
        self._commits[xid] = commit_lsn
        self.masks.forget()

    def layouts(self, change: ChangeHeader | Stitched) -> Iterator[RowLayout]:
        """Yield the layouts by which a change may be written, the most likely first."""
        relation = change.relation
        lsn = change.lsn or change.begin.commit_lsn
        chosen = description.choose(self._versions(relation), relation, lsn, change.begin.xid)
        known = chosen.descriptions
        is_noticed = bool(known) and known[0].matches(relation)
        if not is_noticed:
            # The DDL was not noticed, but the present description may still be the right one.
            known = description.best_first([*known, *self._live(relation)], relation)
        # Without any description the table no longer exists, and its columns are all that is known.
        for described in known or [description.of_columns(relation)]:
            yield self._layout(relation, described, chosen)
        if is_noticed:
            for described in self._live(relation):
                yield self._layout(relation, described, chosen)

    def _versions(self, relation: Relation) -> Iterator[Version]:
        for stored, xid, since in self._rows(_VERSIONS, [relation.oid]):
            elsewhere = self._commits.get(xid, END if since >= self._start else since)
            yield Version(description.parse(stored), xid & 0xFFFFFFFF, since, elsewhere)

    def _live(self, relation: Relation) -> list[Description]:
        query = "SELECT description FROM _bemi.describe_v1(ARRAY[%s]::oid[])"
        return [description.parse(stored) for (stored,) in self._rows(query, [relation.oid])]

    def _layout(self, relation: Relation, described: Description, chosen: Chosen) -> RowLayout:
        columns = {column.name: column.type_oid for column in relation.columns}
        left_out = [column for column in described.generated if column.name not in columns]
        key = described.key if columns.keys() | {one.name for one in left_out} >= set(described.key) else ()
        root, partition = self._root(relation, described)
        names = (*columns, *(column.name for column in left_out))
        selection = self._selection.of_table(root, (relation.schema, relation.name), names, described.key)
        ignored = () if selection is None else selection.ignored
        left_out = [column for column in left_out if column.name not in ignored]
        columns.update((column.name, described.columns[column.name]) for column in left_out)
        types = self._types(described, columns)
        names = tuple(columns)
        tables = {root, (relation.schema, relation.name), described.name, described.root}
        recorded = {name: oid for name, oid in columns.items() if name not in ignored}
        masks = self.masks.of_table(relation.oid, tables, recorded, described)
        made, parted = values.Encoders(types, self._cast), values.Encoders(types, self._cast, is_secret)
        encoders = tuple(
            None
            if name in ignored
            else parted.of(oid)
            if (mask := masks.get(name)) is not None and mask.is_of_fields
            else masked(made.of(oid), mask)
            for name, oid in columns.items()
        )
        if self.is_canonical:
            encoders = tuple(canonical_encoder(one, is_unicode=self._is_unicode) for one in encoders)
        layout = RowLayout(
            head(self._database, *root),
            names,
            template(None if encode is None else name for name, encode in zip(names, encoders, strict=True)),
            encoders,
            tuple(names.index(name) for name in key),
            copy_format.NULL if partition is None else copy_format.field(partition.encode()),
            described.named_by,
            self._computed(relation, left_out),
            chosen.since,
            chosen.until,
            selection=selection,
            unavailable=unavailable_field((), (), ignored, tuple(masks)),
            masked=tuple(masks),
            unseen=unseen(names, masks),
            hides_key=len(key) == 1 and key[0] in masks,
            root=root,
            ciphers=ciphers_of(masks, names, self._database, root, self.keys),
        )
        return with_reader(layout)

    def _descriptions(self, oid: int) -> list[Description]:
        """Return what was noted of a table."""
        return [version.description for version in self._versions(Relation(oid, "", "", ()))]

    def _root(self, relation: Relation, described: Description) -> tuple[tuple[str, str], str | None]:
        name = (relation.schema, relation.name)
        if name != described.name and described.matches(relation) and self._rows(_IS_FOLLOWED, [])[0][0]:
            # Before PostgreSQL 16 the stream goes on with the old name of a schema.
            name = described.name
        root = described.root if described.root != described.name else name
        return root, f"{name[0]}.{name[1]}" if root != name else None

    def _types(self, described: Description, columns: dict[str, int]) -> dict[int, values.Type]:
        """Return the columns' types, and ask for those that the description does not know."""
        unknown = set(columns.values()) - set(described.columns.values())
        if not unknown:
            return described.types
        query = "SELECT _bemi.types_v1(%s::oid[])"
        return {**description.parse_types(self._rows(query, [list(unknown)])[0][0]), **described.types}

    def _computed(self, relation: Relation, left_out: list[Generated]) -> Computed | None:
        if not left_out:
            return None
        # An expression may have the name of a column that it does not use, but none without its name.
        used = {
            number
            for number, column in enumerate(relation.columns)
            if any(quote(column.name)[1:-1] in each.expression for each in left_out)
        }
        types = self._rows(_TYPE_NAMES, [[column.type_oid for column in relation.columns]])
        sources = ", ".join(
            f"($1)[{number}]::{type_} AS {quote(column.name)}"
            for number, (column, (type_,)) in enumerate(zip(relation.columns, types, strict=True), 1)
            if number - 1 in used
        )
        targets = ", ".join(f"(({column.expression})::{column.type})::text" for column in left_out)
        # Names and expressions as the catalog has printed them: they have no values in them.
        query = f"SELECT ARRAY[{targets}]::text[] FROM (SELECT {sources}) sent"  # noqa: S608 - printed
        return Computed(len(left_out), lambda row: self._compute(query, _only(used, row), len(left_out)))

    def _compute(self, query: str, row: Row, count: int) -> Row:
        if any(value is not None and len(value) > LARGE for value in row):
            return self._calculator.compute_in_pieces(query, row, count)
        sent = [None if value is None else str(value, "utf-8") for value in row]
        computed = self._calculator.compute(query, sent)
        return [None if value is None else value.encode() for value in computed]

    def _ask_cast(self, type_: Castable, value: bytes) -> bytes:
        name, function = self._names(type_)
        query = f"SELECT ARRAY[{function}(($1)[1]::{name})::jsonb::text]"
        try:
            return self._compute(query, [value], 1)[0] or b"null"
        except ValueError:
            # They may have been renamed.
            self._names.cache_clear()
            raise

    def _ask_names(self, type_: Castable) -> tuple[str, str]:
        ((name, function),) = self._rows(_NAMES, [type_.oid, type_.function])
        return name, function

    def _rows(self, query: Any, parameters: list[Any]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return list(cursor.fetchall())


def _only(used: Collection[int], row: Row) -> Row:
    return [value if number in used else None for number, value in enumerate(row)]
