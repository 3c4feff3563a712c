"""The strings and limits that capture (web processes) and ingest (the worker) agree on."""

from __future__ import annotations

#: Prefix of the logical message that carries a context through the write-ahead log.
MESSAGE_PREFIX = "_bemi"

#: A context stands between these at the very start of a statement.
COMMENT_START = "/*Bemi "
COMMENT_END = " Bemi*/"

#: The key of a context that holds the statement. First in the object: there is no other context.
SQL_KEY = "SQL"

#: A message that begins with it holds a statement only, what stands behind :data:`STATEMENT`: the context is
#: that of the message before, up to there.
CONTINUED = "+"
STATEMENT = f',"{SQL_KEY}": '

#: Key that lists what a context lost because it was too large.
DROPPED_KEY = "_bemi_dropped"

#: Key under which a context that is not a JSON object is kept as text.
INVALID_KEY = "_bemi_invalid"

#: Key of a context whose rows are counted, not recorded.
SKIP_KEY = "_bemi_skip"

#: Transaction-local setting for statements that cannot carry a comment.
CONTEXT_SETTING = "bemi.context"

#: Characters of a recorded statement; the same number stands in ``sql/capture_v1_up.sql``.
MAX_SQL_CHARACTERS = 8192

#: Characters of an encoded context, the statement not counted.
MAX_CONTEXT_CHARACTERS = 16 * 1024 * 1024

#: A session in which rows are printed as the log has them: to_jsonb() depends on it.
ROW_SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
}
