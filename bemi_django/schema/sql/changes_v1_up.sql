-- The log, its place in the WAL, and the function that makes its monthly partitions.

CREATE TABLE changes (
    id uuid NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    primary_key text,
    operation text NOT NULL,
    before jsonb NOT NULL DEFAULT '{}',
    after jsonb NOT NULL DEFAULT '{}',
    context jsonb NOT NULL DEFAULT '{}',
    committed_at timestamptz NOT NULL,
    queued_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction_id bigint NOT NULL,
    position bigint NOT NULL,
    -- An UPDATE that changed the key: what it was.
    previous_primary_key text,
    -- schema.name, where "table" is the root of a partitioned table.
    partition text,
    -- {"before": [columns], "after": [columns]}: values that are not known. NULL: all are.
    unavailable jsonb,
    -- id first: it holds the commit order, so look-ups by id and lists in order use one index.
    PRIMARY KEY (id, committed_at)
) PARTITION BY RANGE (committed_at);

-- Only a safety net: the worker makes the partition of a month before it writes to it.
CREATE TABLE changes_default PARTITION OF changes DEFAULT;

CREATE INDEX changes_object ON changes ("table", primary_key, id);
CREATE INDEX changes_previous_object ON changes ("table", previous_primary_key, id)
    WHERE previous_primary_key IS NOT NULL;
-- Of deleted objects, by model. Deletions are few.
CREATE INDEX changes_deleted ON changes ("table", id) WHERE operation = 'DELETE';
-- Both come nearly in order; ids of several databases are several ranges of numbers.
CREATE INDEX changes_committed_at ON changes
    USING brin (committed_at, transaction_id int8_minmax_multi_ops) WITH (autosummarize = on, pages_per_range = 32);
CREATE INDEX changes_context ON changes USING gin (context jsonb_path_ops);
-- Made outside the application: what the capture trigger adds where there is no context.
CREATE INDEX changes_outside ON changes (id) WHERE context ? 'db_user' OR context = '{}';

CREATE TABLE _bemi_checkpoint (
    slot text PRIMARY KEY,
    -- Every change committed at or below it is in the log.
    lsn pg_lsn NOT NULL,
    committed_at timestamptz NOT NULL,
    -- Where this history begins, with the first start or behind a gap: transactions, position, time.
    start_xid bigint NOT NULL,
    start_lsn pg_lsn NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the LSN belongs to.
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    publication oid NOT NULL,
    -- Transactions that are in the log and were not visible yet: the server sends them a moment before.
    unseen bigint[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Messages of the stream that could not be stored as they are.
CREATE TABLE bemi_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot text NOT NULL,
    -- The LSN of the commit, as in changes.
    position bigint NOT NULL,
    -- The row of changes that holds what is known; NULL: nothing is.
    change_id uuid,
    -- The bytes as the server sent them, and what it takes to read them again.
    message bytea NOT NULL,
    origin jsonb NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Makes the partition of a moment's month (UTC) and tells whether it was missing. Readers and writers of
-- other months go on meanwhile. Runs with its owner's rights: the worker needs no right to create.
CREATE FUNCTION _bemi_partition_v1(parent regclass, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog
SET timezone = 'UTC'
AS $function$
DECLARE
    first timestamptz := date_trunc('month', moment);
    next timestamptz := date_trunc('month', moment) + interval '1 month';
    home name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = parent);
    name name := to_char(first, '"changes_"YYYY_MM');
    bounds text := format('FOR VALUES FROM (%L) TO (%L)', first, next);
BEGIN
    EXECUTE format('LOCK TABLE ONLY %I.changes IN SHARE UPDATE EXCLUSIVE MODE', home);
    IF to_regclass(format('%I.%I', home, name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.changes INCLUDING ALL)', home, name);
    -- Rows that came before the partition. Without any, nothing is locked but the default partition.
    EXECUTE format(
        'WITH late AS (DELETE FROM %1$I.changes_default WHERE committed_at >= $1 AND committed_at < $2 RETURNING *) '
        'INSERT INTO %1$I.%2$I SELECT * FROM late', home, name) USING first, next;
    EXECUTE format('ALTER TABLE %1$I.changes ATTACH PARTITION %1$I.%2$I %3$s', home, name, bounds);
    RETURN true;
END
$function$;
REVOKE ALL ON FUNCTION _bemi_partition_v1(regclass, timestamptz) FROM PUBLIC;
