"""The transaction that the server is sending."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class OpenTransaction:
    """What the worker knows of it; ``xid`` has 64 bits, ``committed_at`` is in microseconds since 2000.

    ``is_logged``: the log has it, and the server sends it again because it had not heard of that.
    ``is_notable``: its end is worth a checkpoint even if it has no rows.
    ``is_altering``: it has executed DDL, so others were written with other tables.
    """

    xid: int
    committed_at: int
    is_logged: bool
    is_notable: bool = False
    is_altering: bool = False
