-- 'bemi baseline': how far it has come, and the rows on their way to the log. The command reads a range of rows in one
-- transaction, which leaves them here and writes a message to the WAL. When the worker comes to the message, it takes the
-- rows of that transaction from here. Anybody may send such a message, but only the owner may leave rows.

CREATE TABLE _bemi.baselines (
    -- A table or a partition, and the condition on its rows as SQL; empty for all of them.
    relation oid NOT NULL,
    condition text NOT NULL DEFAULT '',
    -- The slot of the sink that gets the rows; empty for the log.
    sink text NOT NULL DEFAULT '',
    -- The schema and the name under which its rows are recorded. It stays when the table is dropped.
    root text[] NOT NULL,
    -- The server and the position with which the history of the log begins. In another history all is read again.
    history text NOT NULL,
    -- The key of the last row that was read, a text for each column. NULL before the first one.
    upto text[],
    -- The numbers of rows that were read, that were recorded, and that are too large for the server to print.
    rows bigint NOT NULL DEFAULT 0,
    recorded bigint NOT NULL DEFAULT 0,
    too_large bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    -- The range that is on its way: its transaction, where it begins, the number of its rows, a position in the WAL
    -- before its snapshot, that snapshot, and what the worker has to know of the table and of who runs the command.
    range_xid xid8,
    range_from text[],
    range_rows bigint,
    low pg_lsn,
    snapshot pg_snapshot,
    description jsonb,
    context jsonb,
    PRIMARY KEY (relation, condition, sink)
);

CREATE TABLE _bemi.baseline_rows (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    number integer NOT NULL,
    -- The key as the log prints it, and a text for each of its columns.
    key text NOT NULL,
    place text[] NOT NULL,
    -- The columns as the stream prints them.
    columns bytea[] NOT NULL,
    PRIMARY KEY (xid, number)
);
REVOKE ALL ON _bemi.baselines, _bemi.baseline_rows FROM PUBLIC;
