"""How the rows of one table are written, for a stretch of the WAL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from bemi_django.encryption.column_ciphers import ColumnCipher
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Row
from bemi_django.ingest.rows.copy_format import NULL, field
from bemi_django.ingest.rows.row_codegen import RowReader, make_reader
from bemi_django.ingest.rows.values import Encoder, text
from bemi_django.ingest.selection.rules import TableSelection
from bemi_django.masking.rules import ColumnMask


class Computed(NamedTuple):
    """The last columns, which the stream omits.

    Attributes:
        width: Their number.
        compute: Derives their values from the others, some of which may be views.
    """

    width: int
    compute: Callable[[Row], Row]


class RowTemplate(NamedTuple):
    """The JSON object of a row as jsonb prints it, which sorts keys by their length first.

    Attributes:
        text: The object, with a placeholder for each value, for the operator ``%``.
        order: The columns of the values, as indexes.
    """

    text: bytes
    order: tuple[int, ...]


class RowLayout(NamedTuple):
    """How the rows of one relation are written.

    Attributes:
        head: The fields that all rows of the table share, as :func:`head` makes them.
        names: The columns in their order.
        template: The JSON object of a row.
        encoders: The encoder of each column; None for one whose values are not recorded.
        key: The columns of the primary key, as indexes into ``names``.
        partition: A field that holds the partition's name, or NULL.
        named_by: The tables, by oid, whose message gives a context to the rows.
        computed: The columns that the stream omits.
        since: The layout is valid for rows from this LSN on ...
        until: ... and before this one.
        reader: Reads a whole row from a message, or None if the rows of the table need the long path.
        selection: What is left out of the table; None if nothing is.
        unavailable: The field that names the columns without a value that all rows lack.
        masked: The columns whose values are masked.
        unseen: Those of them, as indexes, of which what is stored need not show that a value was changed.
        hides_key: Whether the key has one column, which is masked.
        root: Schema and name under which the rows are recorded.
        ciphers: How columns are encrypted, after their encoders.
    """

    head: bytes
    names: tuple[str, ...]
    template: RowTemplate
    encoders: tuple[Encoder | None, ...]
    key: tuple[int, ...]
    partition: bytes = NULL
    named_by: frozenset[int] = frozenset()
    computed: Computed | None = None
    since: int = 0
    until: int = 1 << 64
    reader: RowReader | None = None
    selection: TableSelection | None = None
    unavailable: bytes = NULL
    masked: tuple[str, ...] = ()
    unseen: tuple[int, ...] = ()
    hides_key: bool = False
    root: tuple[str, str] = ("", "")
    ciphers: tuple[ColumnCipher, ...] = ()

    @property
    def keeps_of_masked(self) -> bool:
        """Whether something is kept of masked columns, such as a hash."""
        columns = zip(self.names, self.encoders, strict=True)
        return any(name in self.masked and encode is not None for name, encode in columns)

    def unseen_changes(self, old: Row | None, new: Row | None) -> list[str]:
        """Return the columns of ``unseen`` in which two complete rows differ."""
        if old is None or new is None:
            return []
        pairs = ((self.names[number], old[number], new[number]) for number in self.unseen)
        return [
            name
            for name, before, after in pairs
            if before != after and before is not UNAVAILABLE and after is not UNAVAILABLE
        ]

    def differs_in_masked(self, old: Row | None, new: Row | None) -> bool:
        """Return whether two rows differ in columns whose values are masked."""
        pairs = zip(self.names, old or (), new or (), strict=False)
        return any(before != after and name in self.masked for name, before, after in pairs)


def masked(encode: Encoder, mask: ColumnMask | None) -> Encoder | None:
    """Return what renders the values of a column that may have a mask; None if nothing is kept of them."""
    if mask is None or mask.encryption is not None:
        return encode
    if (keep := mask.mask) is None:
        return None
    if encode is text and mask.of_text is not None:
        return mask.of_text
    return lambda value: keep(encode(value))


def unseen(names: Iterable[str], masks: Mapping[str, ColumnMask]) -> tuple[int, ...]:
    """Return the columns, as indexes, whose masks may be alike for different values: hashes are not."""
    return tuple(
        number
        for number, name in enumerate(names)
        if (mask := masks.get(name)) is not None and mask.encryption is None and mask.of_text is None
    )


def with_reader(layout: RowLayout) -> RowLayout:
    """Return the layout with a reader, where its rows can be read by one."""
    if layout.computed is not None or len(layout.key) > 1:
        return layout
    key = layout.key[0] if layout.key else None
    return layout._replace(
        reader=make_reader(
            *layout.template,
            layout.encoders,
            key,
            hides_key=layout.hides_key,
            ciphers=layout.ciphers,
            unseen=layout.unseen,
        )
    )


def head(database: str, schema: str, table: str) -> bytes:
    """Return the fields of COPY that all rows of a table share."""
    return b"".join(field(name.encode()) for name in (database, schema, table))


def template(columns: Iterable[str | None]) -> RowTemplate:
    """Return the JSON object of columns, given by name; None stands for one that is not in it."""
    named = [(column.encode(), number) for number, column in enumerate(columns) if column is not None]
    ordered = sorted(named, key=lambda each: (len(each[0]), each[0]))
    pairs = (label(name.decode()).replace(b"%", b"%%") + b"%b" for name, _ in ordered)
    return RowTemplate(b"{" + b", ".join(pairs) + b"}", tuple(number for _, number in ordered))


def label(column: str) -> bytes:
    """Return a column's name as a key of a JSON object, up to where its value begins."""
    return text(column.encode()) + b": "
