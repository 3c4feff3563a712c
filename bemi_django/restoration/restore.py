"""Rebuild a table that was dropped or emptied, from the log, into a new table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import orjson
import psycopg2

from bemi_django.exceptions import BemiError, HistoryError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.connections import connect_destination, connect_source
from bemi_django.restoration.filling import NAMED, Filled, fill
from bemi_django.restoration.identities import continue_identities
from bemi_django.restoration.logged_table import LoggedFacts, LoggedTable
from bemi_django.restoration.new_table import Name, NewTable, create
from bemi_django.restoration.swap import swap
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.time_travel.moments import Moment
from bemi_django.verification.moment import take_moment, wait_for_log
from bemi_django.wire import CONTEXT_SETTING, SKIP_KEY
from bemi_django.wire.lsn import format_lsn, parse_lsn
from bemi_django.wire.slot_name import sink_of_queue

#: Seconds without any progress of the log after which it is considered to stand still.
PATIENCE_SECONDS = 30.0

_BEGUN = """
SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS+00:00'),
       system_identifier || '/' || start_lsn
FROM _bemi.checkpoint WHERE slot = %s
"""
# Tables of this name that were dropped before do not count. Where the table is partitioned, its partitions
# have the rows, and of these the ones without partitions.
_BASELINE = """
WITH named AS (
    SELECT relation, since, description -> 'name' = description -> 'root' AS is_root,
           description -> 'named_by' AS named_by
    FROM _bemi.relations
    WHERE description -> 'root' = jsonb_build_array(%(schema)s::text, %(name)s::text)
        AND system = (pg_control_system()).system_identifier
),
last AS (SELECT relation FROM named WHERE is_root ORDER BY since DESC LIMIT 1),
present AS (
    SELECT DISTINCT n.relation FROM named n
    WHERE n.since >= (SELECT min(o.since) FROM named o JOIN last USING (relation))
),
filled AS (
    SELECT p.relation FROM present p
    WHERE NOT EXISTS (
        SELECT FROM present o JOIN named n USING (relation)
        WHERE n.relation <> p.relation AND n.named_by @> to_jsonb(p.relation::bigint))
)
SELECT count(*) > 0 AND bool_and(EXISTS (
    SELECT FROM _bemi.baselines b
    WHERE b.relation = f.relation AND b.condition = ''
        AND (b.sink = '' OR starts_with(b.sink, %(queue)s))
        AND b.root = ARRAY[%(schema)s, %(name)s]::text[] AND b.history = %(history)s
        AND b.ended_at IS NOT NULL AND b.too_large = 0))
FROM filled f
"""


class RestoredTable(NamedTuple):
    """A table that was rebuilt.

    Attributes:
        report: Lines that say what it has, and what is not known.
        swap: SQL statements with which it takes the place of the old one.
    """

    report: list[str]
    swap: list[str]


def restore_table(
    config: WorkerConfig, old: Name, new: Name, moment: Moment | None, context: Mapping[str, Any]
) -> RestoredTable:
    """Create a table with the rows that another one had.

    Args:
        config: The worker that writes the log.
        old: The schema and the name of the table that was dropped or emptied.
        new: Those of the table to create.
        moment: When it had the rows; by default before it was last truncated, if it was, and otherwise at
            the end of the log.
        context: The context of the rows, which are counted in the log and not recorded one by one.

    Raises:
        BemiError: The log has no rows of the table, the new one cannot be created, or the moment is in the
            future.
    """
    with closing(connect_source(config)) as source, closing(connect_destination(config)) as destination:
        destination.set_session(autocommit=True)
        with source.cursor() as cursor, destination.cursor() as log:
            database = recorded_name(cursor, log, config.slot)
        at = take_moment(source)
        wait_for_log(source, destination, config.slot, at, PATIENCE_SECONDS)
        logged = LoggedTable(destination, config.slot, database, *old)
        if isinstance(moment, str) and parse_lsn(moment) > at.lsn:
            raise HistoryError(f"{moment} is in the future: the server's WAL ends at {format_lsn(at.lsn)}")
        bound, when = _bound(logged, moment)
        facts = logged.facts(bound)
        if not facts.has_rows:
            raise BemiError(f"the log has no rows of {'.'.join(old)}: name the table as schema.table")
        if facts.is_keyless:
            raise BemiError(f"{'.'.join(old)} has no primary key: rows of the log cannot be told apart")
        with source.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                cursor.execute(
                    "SELECT set_config(%s, %s, true)",
                    [CONTEXT_SETTING, orjson.dumps({**context, SKIP_KEY: True}).decode()],
                )
                table = create(cursor, old, new)
                if not table.key:
                    raise BemiError(
                        f"{'.'.join(old)} has no primary key: rows of the log cannot be told apart"
                    )
                filled = fill(cursor, table, logged.rows(bound))
                continue_identities(cursor, old, new)
                statements = swap(cursor, old, new)
                complete = _is_complete(cursor, destination, config.slot, old, facts)
                cursor.execute("COMMIT")
            except psycopg2.IntegrityError as error:
                cursor.execute("ROLLBACK")
                # The server's message holds values.
                raise BemiError(
                    f"a row of the log does not fit the table: {type(error).__name__} "
                    f"({error.diag.constraint_name or error.diag.column_name})"
                ) from None
            except BaseException:
                if not source.closed:
                    cursor.execute("ROLLBACK")
                raise
        report = list(_report(table, filled, when, facts))
        if not complete:
            report.append(_unknown(destination, config.slot))
        return RestoredTable(report, statements)


def _bound(logged: LoggedTable, moment: Moment | None) -> tuple[str, str]:
    if moment is not None:
        return logged.bound(moment), "at the moment given"
    if truncated := logged.last_truncate():
        change, time = truncated
        return logged.before(change), f"before it was truncated at {time.isoformat(timespec='seconds')}"
    return logged.end(), "at the end of the log"


def _is_complete(cursor: Any, destination: Any, slot: str, old: Name, facts: LoggedFacts) -> bool:
    """Tell whether the log knows all rows: since the table was empty, or from a baseline of all of them."""
    if facts.was_emptied:
        return True
    with destination.cursor() as log:
        log.execute(_BEGUN, [slot])
        _, history = log.fetchone()
    # Logs of a queue with this history have got the same rows, whichever of them a command has waited for.
    parameters = {"schema": old[0], "name": old[1], "history": history, "queue": sink_of_queue(slot)}
    cursor.execute(_BASELINE, parameters)
    return bool(cursor.fetchone()[0])


def _report(table: NewTable, filled: Filled, when: str, facts: LoggedFacts) -> Iterator[str]:
    yield f"{'.'.join(table.name)}: {filled.rows} rows as they were {when}"
    if filled.different:
        yield f"{filled.different} rows differ from the log in: {', '.join(sorted(filled.unlike))}"
    else:
        yield "compared with the log: equal"
    yield from table.notes
    if filled.left_out:
        yield f"columns of the log that the table does not have: {', '.join(sorted(filled.left_out))}"
    if filled.incomplete_rows:
        columns = "; ".join(
            f"{column} of {', '.join(keys)}{' ...' if len(keys) >= NAMED else ''}"
            for column, keys in sorted(filled.incomplete.items())
        )
        yield f"rows with values that the log does not know: {filled.incomplete_rows} ({columns})"
    if facts.skipped:
        yield f"changes that were excluded from the log, so that rows may differ: {facts.skipped}"
    if facts.removed:
        yield (
            f"changes up to {facts.removed} were removed from the log: rows that have not changed since are "
            "missing"
        )
    if facts.gaps:
        yield f"gaps in the log, in which changes of these rows may have been lost: {facts.gaps}"


def _unknown(destination: Any, slot: str) -> str:
    with destination.cursor() as log:
        log.execute(_BEGUN, [slot])
        begun, _ = log.fetchone()
    return (
        f"not known are rows that the table had before {begun}, when the log began, and that had not changed "
        "since: 'manage.py bemi baseline' was not completed for it before"
    )
