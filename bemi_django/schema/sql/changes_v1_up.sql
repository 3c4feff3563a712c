-- The log, the checkpoint, the dead letters, and the function that creates the monthly partitions of the log.

DO $block$
DECLARE
    home constant text := current_setting('_bemi.home');
    name constant text := current_setting('_bemi.table');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = home) THEN
        IF NOT has_database_privilege(current_database(), 'CREATE') THEN
            RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
                'The role %I may not create the schema of BEMI_TABLE. Run this as an administrator, then migrate again: '
                'CREATE SCHEMA %I AUTHORIZATION %1$I', current_user, home);
        END IF;
        EXECUTE format('CREATE SCHEMA %I', home);
        -- The mark says that uninstalling may drop it.
        EXECUTE format('COMMENT ON SCHEMA %I IS ''Made for the log of bemi_django''', home);
    ELSIF NOT has_schema_privilege(home, 'CREATE') THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
            'The role %I may not create the log in the schema %I. Run this as an administrator, then migrate again: '
            'GRANT CREATE, USAGE ON SCHEMA %2$I TO %1$I', current_user, home);
    END IF;
    IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = home AND c.relname = name) THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
            'The name %s is taken, and the log needs it. Rename what has it, give the log another name with the setting '
            'BEMI_TABLE, or migrate with a search_path that begins with another schema.', format('%I.%I', home, name));
    END IF;
END
$block$;

CREATE TABLE _bemi._bemi_new_log (
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
    -- The previous key, if an UPDATE changed it.
    previous_primary_key text,
    -- schema.name of the partition, if "table" is the root of a partitioned table.
    partition text,
    -- {"before": [columns], "after": [columns]} whose values are not known. NULL if all values are known.
    unavailable jsonb,
    -- Whether the database lost the transaction in a failover.
    diverged boolean NOT NULL DEFAULT false,
    -- id comes first: it contains the commit order, so one index serves look-ups by id and lists in commit
    -- order.
    PRIMARY KEY (id, committed_at)
) PARTITION BY RANGE (committed_at);

-- Move the log to its place, which is by default where a plain FROM changes finds it. There it has no rights that others
-- are given by default to tables of the schema.
DO $block$
DECLARE
    home constant text := current_setting('_bemi.home');
    name constant text := current_setting('_bemi.table');
    log constant text := format('%I.%I', home, name);
    made record;
BEGIN
    EXECUTE format('ALTER TABLE _bemi._bemi_new_log SET SCHEMA %I', home);
    EXECUTE format('ALTER TABLE %I._bemi_new_log RENAME TO %I', home, name);
    FOR made IN SELECT k.conname FROM pg_constraint k WHERE k.conrelid = log::regclass LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', log, made.conname,
                       replace(made.conname::text, '_bemi_new_log', name)::name);
    END LOOP;
    FOR made IN
        SELECT * FROM (VALUES
            ('_object', '("table", primary_key, id)'),
            ('_previous_object', '("table", previous_primary_key, id) WHERE previous_primary_key IS NOT NULL'),
            -- For deleted objects of a model. Deletions are few.
            ('_deleted', '("table", id) WHERE operation = ''DELETE'''),
            -- Both are nearly in order. The transaction ids of several databases are several ranges of numbers.
            ('_committed_at', 'USING brin (committed_at, transaction_id int8_minmax_multi_ops) '
                              'WITH (autosummarize = on, pages_per_range = 32)'),
            ('_context', 'USING gin (context jsonb_path_ops)'),
            -- For changes from outside the application: the capture trigger adds db_user if there is no context.
            ('_outside', '(id) WHERE context ? ''db_user'' OR context = ''{}''')
        ) i (suffix, definition)
    LOOP
        -- A name as long as the log's may be keeps eight bytes of a suffix, which differ.
        EXECUTE format('CREATE INDEX %I ON %s %s', (name || made.suffix)::name, log, made.definition);
    END LOOP;
    EXECUTE format('CREATE OR REPLACE FUNCTION _bemi.log_v1() RETURNS regclass LANGUAGE sql STABLE RETURN %L::regclass',
                   log);
END
$block$;

CREATE TABLE _bemi.checkpoint (
    slot text PRIMARY KEY,
    -- Every change committed at or before this position is in the log.
    lsn pg_lsn NOT NULL,
    committed_at timestamptz NOT NULL,
    -- Where this history begins, with the first start or after a gap: transaction id, position and time.
    start_xid bigint NOT NULL,
    start_lsn pg_lsn NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The server, the timeline and the publication to which the LSN belongs.
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    publication oid NOT NULL,
    -- The database whose changes these are, which keeps its oid when it is renamed, and whether it holds this log.
    database oid NOT NULL DEFAULT 0,
    is_local boolean NOT NULL DEFAULT false,
    -- The name that the log has for it: the one that it had when recording began.
    recorded_as text NOT NULL DEFAULT '',
    -- Transactions that are in the log but were not visible in the tables yet: the server sends a commit a moment
    -- before it shows it.
    unseen bigint[] NOT NULL DEFAULT '{}',
    -- Why the worker does not get on, if it does not; cleared when it does.
    trouble text,
    -- What the worker has counted since it was started, by a plural noun.
    counters jsonb NOT NULL DEFAULT '{}',
    -- Where the changes go if not to the log, without secrets; and up to which sequence number that place has them by
    -- its own account, NULL if it keeps none.
    sink text NOT NULL DEFAULT '',
    written bigint,
    -- The rows of the last gaps as COPY takes them: what is published tells other destinations of them.
    gaps bytea[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Return the name under which this log has the changes of a database: that of the slot, or else of the database, which is
-- known by its server and its oid, or else the present name, if no other one of its server is known by it.
CREATE FUNCTION _bemi.database_v1(slot text, system text, source oid, name text, present oid[]) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT k.recorded_as FROM _bemi.checkpoint k WHERE k.slot = database_v1.slot AND k.recorded_as <> ''),
        (SELECT k.recorded_as FROM _bemi.checkpoint k
         WHERE k.system_identifier = database_v1.system AND k.database = database_v1.source AND k.recorded_as <> ''
         ORDER BY k.sink = '' DESC, k.updated_at DESC LIMIT 1),
        -- It was restored with its log, under another name. The slot of one that it is a copy of says that it was not.
        (SELECT k.recorded_as FROM _bemi.checkpoint k
         WHERE h.is_here AND k.is_local AND k.sink = '' AND k.recorded_as <> '' AND NOT EXISTS (
             SELECT FROM pg_replication_slots r WHERE r.slot_name = k.slot AND r.database <> current_database())
         ORDER BY k.updated_at DESC LIMIT 1),
        (SELECT format('%s (%s)', database_v1.name, database_v1.source) FROM _bemi.checkpoint k
         WHERE k.recorded_as = database_v1.name AND k.system_identifier = database_v1.system
             AND k.database = ANY (database_v1.present) AND NOT (h.is_here AND k.is_local) LIMIT 1),
        database_v1.name)
    FROM (
        SELECT s.system_identifier::text = database_v1.system AND d.oid = database_v1.source AS is_here
        FROM pg_control_system() s CROSS JOIN pg_database d WHERE d.datname = current_database()
    ) h;
END;

-- Do the same for this database.
CREATE FUNCTION _bemi.database_v1() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
BEGIN ATOMIC
    SELECT _bemi.database_v1(NULL, s.system_identifier::text, d.oid, d.datname::text, ARRAY(SELECT o.oid FROM pg_database o))
    FROM pg_control_system() s CROSS JOIN pg_database d WHERE d.datname = current_database();
END;

-- How far the log of a slot has come in each lane of a queue. It is written in the transaction that writes the changes.

CREATE TABLE _bemi.lanes (
    slot text NOT NULL,
    lane integer NOT NULL CHECK (lane >= 0),
    -- Every change of the lane before the one with this number in the transaction with this sequence number is in the log.
    sequence bigint NOT NULL,
    ordinal bigint NOT NULL DEFAULT 0,
    -- The message of the queue that was written last, and the commit time of the last change of all lanes by then.
    message bigint NOT NULL DEFAULT 0,
    -- The stream in which that message has its number; another one has other messages with the same numbers.
    stream text NOT NULL DEFAULT '',
    committed_at bigint,
    -- How changes were divided among several destinations when that message was published; empty for one destination.
    division text NOT NULL DEFAULT '',
    -- As which destination the lane is written: how changes are divided, and its name; empty for one destination.
    destination text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot, lane)
);

-- Messages of the stream that could not be stored completely.
CREATE TABLE _bemi.dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot text NOT NULL,
    -- The LSN of the commit, as in the log.
    position bigint NOT NULL,
    -- The row of the log with what is known. NULL if nothing is known.
    change_id uuid,
    -- The bytes as the server sent them, and what is needed to read them again.
    message bytea NOT NULL,
    origin jsonb NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the worker has left out of the log, because settings say so. It is written with the checkpoint. Positions are
-- sequence numbers.

-- Columns whose values were left out of changes, up to the last such change.
CREATE TABLE _bemi.omitted_columns (
    slot text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    "column" text NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (slot, schema, "table", "column")
);

-- How many changes were left out, and the last one of them.
CREATE TABLE _bemi.omitted_changes (
    slot text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    -- "ignored columns", "unchanged" or "condition".
    reason text NOT NULL,
    changes bigint NOT NULL,
    last bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot, schema, "table", reason)
);

-- Return the partitions of the log, with the first moment of the month that each of them has.
CREATE FUNCTION _bemi.months_v1() RETURNS TABLE (partition oid, first timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
-- Bounds are printed as the session prints moments. An abbreviation of a time zone may be that of several.
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $function$
    SELECT c.oid, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM [(]''([^'']+)''')::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    -- Queries do not see one that is detached by half.
    WHERE i.inhparent = _bemi.log_v1() AND NOT i.inhdetachpending
$function$;

-- Create the partition for the month (UTC) of a moment, and return whether it was missing. It waits for no reader and
-- no writer, and none waits for it: the log has no default partition, which would have to be locked. A month that is
-- there takes no lock.
-- The function has the rights of its owner, because the worker has no right to create tables. Therefore it takes no
-- argument that names an object, and touches no table of another owner.
CREATE FUNCTION _bemi.partition_v1(moment timestamptz) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    first constant timestamptz := date_trunc('month', moment);
    next constant timestamptz := first + interval '1 month';
    bounds constant text := format('FOR VALUES FROM (%L) TO (%L)', first, next);
    place record;
    -- In milliseconds; 0 is for ever.
    patience constant integer := (SELECT s.setting FROM pg_settings s WHERE s.name = 'lock_timeout')::integer;
    month text;
    made text;
    tries integer := 0;
    failures integer := 0;
BEGIN
    SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
           -- Where the log was moved to, as a partition would be made there that is not attached afterwards.
           concat((SELECT format(' USING %I', a.amname) FROM pg_am a WHERE a.oid = c.relam),
                  (SELECT format(' TABLESPACE %I', t.spcname) FROM pg_tablespace t
                   WHERE t.oid = c.reltablespace AND has_tablespace_privilege(t.oid, 'CREATE'))) AS storage
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = log INTO place;
    IF place.owner IS DISTINCT FROM current_user THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format(
            'The log belongs to the role %I, its functions to %I. Give both to one role: ALTER TABLE %s OWNER TO %2$I',
            place.owner, current_user, log);
    END IF;
    IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = log AND NOT i.inhdetachpending AND pg_get_expr(c.relpartbound, c.oid) = bounds) THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', log);
    -- Another session may have created it in the meantime.
    IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = log AND NOT i.inhdetachpending AND pg_get_expr(c.relpartbound, c.oid) = bounds) THEN
        RETURN false;
    END IF;
    made := (SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = log AND i.inhdetachpending AND pg_get_expr(c.relpartbound, c.oid) = bounds);
    IF made IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format(
            'The partition %s is detached by half, as by an interrupted DETACH CONCURRENTLY. Run ALTER TABLE %s DETACH '
            'PARTITION %1$s FINALIZE; ALTER TABLE %2$s ATTACH PARTITION %1$s %3$s', made, log, bounds);
    END IF;
    -- The changes of a month that was detached or dropped by hand do not come back with another partition of it.
    IF to_regproc('_bemi.note_lost_v1') IS NOT NULL THEN
        PERFORM _bemi.note_lost_v1(first, false);
    END IF;
    month := place.name || to_char(first, '_YYYY_MM');
    LOOP
        -- The name may belong to a table or a type of somebody else.
        WHILE to_regclass(format('%I.%I', place.schema, month)) IS NOT NULL OR EXISTS (
            SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
            WHERE n.nspname = place.schema AND t.typname = month::name)
        LOOP
            tries := tries + 1;
            month := place.name || to_char(first, '_YYYY_MM_') || tries;
            -- A longer name would be cut to one that is taken.
            IF octet_length(month) > 63 THEN
                RAISE EXCEPTION USING ERRCODE = 'duplicate_table', MESSAGE = format(
                    'The name %I.%I is taken, and the log needs it for a partition. Rename what has it.', place.schema,
                    place.name || to_char(first, '_YYYY_MM'));
            END IF;
        END LOOP;
        made := format('%I.%I', place.schema, month);
        BEGIN
            -- Somebody may take it in a transaction that does not end.
            PERFORM set_config('lock_timeout', least(nullif(patience, 0), 1000)::text, true);
            EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)%s', made, log, place.storage);
            PERFORM set_config('lock_timeout', patience::text, true);
            EXIT;
        EXCEPTION WHEN lock_not_available OR duplicate_table OR duplicate_object OR unique_violation THEN
            failures := failures + 1;
            IF failures = 5 OR octet_length(place.name) > 47 THEN
                RAISE;
            END IF;
            -- One that nobody expects.
            tries := tries + 1 + floor(random() * 1000000)::integer;
            month := place.name || to_char(first, '_YYYY_MM_') || tries;
        END;
    END LOOP;
    IF EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = log AND g.tgname = '_bemi_append_only') THEN
        PERFORM _bemi.protect_v1(made::regclass);
    END IF;
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s %s', log, made, bounds);
    RETURN true;
END
$function$;
REVOKE ALL ON FUNCTION _bemi.partition_v1(timestamptz) FROM PUBLIC;
DO $block$
BEGIN
    PERFORM _bemi.partition_v1(now()), _bemi.partition_v1(now() + interval '1 month');
END
$block$;
REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
