"""The strings and limits on which capture (in web processes) and ingest (in the worker) agree."""

from __future__ import annotations

from collections.abc import Container

#: Prefix of the logical messages that carry contexts through the write-ahead log.
MESSAGE_PREFIX = "_bemi"

#: Prefix of the logical messages that are recorded as events.
EVENT_PREFIX = "_bemi_event"

#: Schema and table of events that belong to no row.
EVENT_PLACE = ("_bemi", "events")

#: Keys of an event's context; those of the application's context are recorded under ``app_`` and the key.
EVENT_KEY, DETAILS_KEY = "event", "details"

#: A context stands between these two, at the very start of a statement.
COMMENT_START = "/*Bemi "
COMMENT_END = " Bemi*/"

#: Key of a context that holds the text of the statement. An object that begins with it has no other key.
SQL_KEY = "SQL"

#: Key of what the database knows of the connection that has written: an object.
CONNECTION_KEY = "connection"
#: Key in it of the address of the client.
ADDRESS_KEY = "address"

#: Key that marks a context that no application has signed, where there are keys to verify it.
UNVERIFIED_KEY = "unverified"

#: Keys that the package and the database fill. A context's own value under one of them is recorded under
#: ``app_`` and the key.
RESERVED_KEYS = frozenset((SQL_KEY, "db_user", "application_name", CONNECTION_KEY, UNVERIFIED_KEY))

#: A message with this sign after its table holds only the text of a statement: the JSON that follows
#: :data:`STATEMENT`. Everything before comes from the previous message.
CONTINUED = "+"
STATEMENT = f',"{SQL_KEY}": '

#: Key that lists the values dropped from a context because it was too large.
DROPPED_KEY = "_bemi_dropped"

#: Key under which a context that is not a JSON object is kept as text.
INVALID_KEY = "_bemi_invalid"

#: Key that marks a context whose rows are counted but not recorded.
SKIP_KEY = "_bemi_skip"

#: Transaction-local setting that holds the context of statements that cannot carry a comment.
CONTEXT_SETTING = "bemi.context"

#: Maximum length of a recorded statement, in characters. ``capture_v1_up.sql`` repeats the number.
MAX_SQL_CHARACTERS = 8192

#: Maximum length of an encoded context without its statement, in characters.
MAX_CONTEXT_CHARACTERS = 16 * 1024 * 1024

#: Session settings under which ``to_jsonb()`` prints a row as the log does.
ROW_SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
}


def free_key(key: str, keys: Container[str]) -> str:
    """Return a key of ours as an application's is recorded: with ``app_`` until no other has the name.

    ``capture_v1_up.sql`` does the same.

    Args:
        key: A key that an application may not use.
        keys: The keys of its context.
    """
    name = f"app_{key}"
    while name in keys:
        name = f"app_{name}"
    return name
