"""The message of an event, and the statement that writes it to the WAL. Neither needs Django."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bemi_django.capture.context_encoding import context_json, json_string
from bemi_django.capture.signing import is_signing, signed
from bemi_django.masking.rules import ColumnMask
from bemi_django.wire.signature import EVENT_FORM

#: What the event of a view is called. It is never a part of a transaction.
VIEWED = "viewed"
#: Bytes of the name of an event.
_MAX_NAME = 100
#: PostgreSQL 17 can make sure that such a message is on disk; before, that takes some seconds.
_CAN_FLUSH = 17
# Each name has its schema, because the search path is the user's. Views of the past are named as tables.
_EMIT = """
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN false WHEN pg_catalog.pg_logical_emit_message(
    {transactional}, CAST({prefix} AS pg_catalog.text), pg_catalog.concat(
        pg_catalog.trunc(EXTRACT(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)
            ::pg_catalog.int8 OPERATOR(pg_catalog.-) 946684800000000,
        '{{"schema": ', coalesce(pg_catalog.to_json(coalesce(CAST({schema} AS pg_catalog.text), (
            SELECT n.nspname::pg_catalog.text
            FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY path (name, place)
            JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) path.name
            JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
            WHERE c.relname OPERATOR(pg_catalog.=) CAST({table} AS pg_catalog.name)
                AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, '_bemi_past_')
            ORDER BY path.place LIMIT 1)))::pg_catalog.text, '"public"'), ', ',
        CAST({rest} AS pg_catalog.text))
    {flush}) IS NULL THEN false WHEN {transactional} THEN {after} ELSE true END
"""
_IN_WRITING = "pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL"
# The server queues a message at its end and a row at its beginning. A row that follows an event in another
# savepoint would be at the same place, and could come first. So something else follows.
_AFTER = "pg_catalog.pg_logical_emit_message(true, '_bemi_event_end', '') IS NOT NULL"


def require_name(event: str) -> None:
    """Raise ValueError if an event cannot have this name: it is empty or too long."""
    if not event or len(event.encode("utf-8", "replace")) > _MAX_NAME:
        raise ValueError(f"the name of an event has 1 to {_MAX_NAME} bytes: put the rest into its details")


def message(
    event: str,
    context: Mapping[str, Any],
    details: Mapping[str, Any] | None,
    table: str | None = None,
    key: str | None = None,
    schema: str | None = None,
) -> str:
    """Return the message of an event, but for what the statement begins it with: the time and the schema.

    Args:
        event: The name of the event.
        context: The present context.
        details: What else is known.
        table: The table of the object, if there is one.
        key: The key of the object's row as the log has it, or None if nothing is kept of it.
        schema: The schema of the table, if it is known. It is repeated where it can be signed.
    """
    pairs = [f'"event": {json_string(event)}', f'"context": {context_json(context)}']
    if table is not None:
        pairs += [f'"table": {json_string(table)}', f'"key": {"null" if key is None else json_string(key)}']
    if details:
        pairs.append(f'"details": {context_json(details)}')
    if schema is not None and is_signing():
        pairs.append(f'"schema": {json_string(schema)}')
    return f"{signed(', '.join(pairs), EVENT_FORM)}}}"


def statement(placeholder: Callable[[str], str], *, is_alone: bool, version: int) -> str:
    """Return the statement, which selects whether the server is no standby.

    Args:
        placeholder: Returns how the driver writes a parameter. They are ``prefix``, ``schema``, ``table`` and
            ``rest``, in this order.
        is_alone: Whether the event is never a part of a transaction.
        version: The major version of the server.
    """
    return _EMIT.format(
        transactional="false" if is_alone else _IN_WRITING,
        after=_AFTER,
        flush=", true" if version >= _CAN_FLUSH else "",
        **{name: placeholder(name) for name in ("prefix", "schema", "table", "rest")},
    )


def key_with_masks(masks: list[ColumnMask | None], key: str, json: Callable[[], str]) -> str | None:
    """Return the key of a row as the log has it, or None if nothing is kept of it.

    Args:
        masks: The masks of its columns.
        key: The key as it is without them.
        json: Returns the value of a single column as JSON.
    """
    if not any(masks):
        return key
    if masks[1:] or masks[0] is None or masks[0].mask is None:
        return None
    # The worker keeps the same of it: a hash.
    return masks[0].mask(json().encode()).decode().strip('"')
