-- The past. For each table there is a view of the same name, in a schema for views, that derives the table at an
-- earlier moment from the table as it is and the changes since. Settings of the transaction, which
-- time_travel/past.py makes, say which moment:
--   bemi.as_of          the greatest id that a change up to the moment may have
--   bemi.as_of_late     changes that the tables show and the log does not yet: [{...}], as past_query_v1 reads them
--   bemi.as_of_unknown  {"schema.table": why its past at this moment is not known}
--   bemi.as_of_hidden   {"schema.table": [columns whose values at this moment are not known, because they were ignored]}

-- Return the name of the schema with the views of a schema's tables. A name that would be too long gets a digest, which
-- no other schema has: those whose name begins like it get one, too.
CREATE FUNCTION _bemi.past_schema_v1(schema text) RETURNS name
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(schema) <= 52 AND NOT starts_with(schema, '#') THEN ('_bemi_past_' || schema)::name
    ELSE ('_bemi_past_#' || md5(schema) || '_' || left(schema, 4))::name
END;

-- Return the text of a key as its type, or NULL if it is not of this type. These are single expressions, so that they
-- are inlined in the same way into the indexes below and into queries. That is how WHERE id = 42 finds an index of
-- the log.
CREATE FUNCTION _bemi.bigint_v1(key text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN key ~ '^-?[0-9]{1,18}$' THEN key::bigint
    WHEN key ~ '^-?[0-9]{19}$' THEN
        CASE WHEN key::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN key::bigint END
END;

CREATE FUNCTION _bemi.integer_v1(key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN key ~ '^-?[0-9]{1,9}$' THEN key::integer
    WHEN key ~ '^-?[0-9]{10}$' THEN
        CASE WHEN key::bigint BETWEEN -2147483648 AND 2147483647 THEN key::integer END
END;

CREATE FUNCTION _bemi.uuid_v1(key text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(key) = 36 AND key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN key::uuid END;

-- The indexes do not contain the table: this halves their cost for writers, and few changes of other tables have the
-- same key. The planner takes no statistics from partial indexes, and without statistics it expects many changes of
-- every key.
DO $block$
DECLARE
    log constant regclass := _bemi.log_v1();
    name constant text := (SELECT c.relname FROM pg_class c WHERE c.oid = log);
    type text;
    key text;
BEGIN
    FOREACH type IN ARRAY ARRAY['bigint', 'integer', 'uuid'] LOOP
        key := format('_bemi.%s_v1(coalesce(previous_primary_key, primary_key))', type);
        EXECUTE format(
            'CREATE INDEX %1$I ON %2$s (%3$s, id) WHERE operation IN (''UPDATE'', ''DELETE'') AND %3$s IS NOT NULL',
            (name || '_' || type)::name, log, key);
        EXECUTE format('CREATE STATISTICS _bemi.changes_%s_keys ON (%s) FROM %s', type, key, log);
    END LOOP;
    -- Events across which the past cannot be derived, and erasures.
    EXECUTE format(
        'CREATE INDEX %I ON %s (id) WHERE operation IN (''GAP'', ''SKIPPED'', ''TRUNCATE'', ''ERASED'')',
        (name || '_breaks')::name, log);
END
$block$;

-- The tables that have a view, or get one when it is needed.
--   since       from where on the table has been tracked under this name and key; NULL if its past cannot be derived
--   names       {number of the column: its names, the newest first}
--   layouts     what commands have changed, the oldest first: [[position, transaction, system, whether an event trigger
--               noticed it at once, {number of the column: its name from there on, null if it was dropped}], ...]
--   may_exchange  rows may exchange their keys, because the key is deferrable or was
--   hidden      columns that the view can show as NULL, because they are or were ignored
--   definition  a fingerprint of what the view is made from; '' if there is no view
--   is_due      the view is to be made or made anew, at the latest when somebody looks at the past
CREATE TABLE _bemi.past (
    relation oid PRIMARY KEY,
    schema text NOT NULL,
    name text NOT NULL,
    since pg_lsn,
    -- In a copy of the database on another server a position means something else.
    system bigint NOT NULL DEFAULT (pg_control_system()).system_identifier,
    since_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    key int2[] NOT NULL,
    names jsonb NOT NULL,
    layouts jsonb NOT NULL,
    may_exchange boolean NOT NULL,
    hidden text[] NOT NULL DEFAULT '{}',
    definition text NOT NULL DEFAULT '',
    is_due boolean NOT NULL
);
-- as_of() asks for them each time.
CREATE INDEX past_due ON _bemi.past (schema) WHERE is_due;
CREATE INDEX past_made ON _bemi.past (schema) WHERE definition <> '';

-- Return the sequence number of the last commit before the first one after a moment, 0 if there is none. It bisects
-- the log: commits are ordered by sequence number, and nearly ordered by time.
CREATE FUNCTION _bemi.sequence_at_v1(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    commits constant text := format(
        'SELECT _bemi.sequence_v1(id) AS sequence, committed_at FROM %s WHERE database = %L '
        -- The time of an event is what its writer says. The record of an erasure is later than the commit before it,
        -- whose number it has.
        'AND NOT diverged AND operation NOT IN (''EVENT'', ''ERASED'')', _bemi.log_v1(), _bemi.database_v1());
    low bigint;
    high bigint;
    middle bigint;
    seen record;
BEGIN
    EXECUTE commits || ' ORDER BY id LIMIT 1' INTO seen;
    IF seen IS NULL OR seen.committed_at > moment THEN
        RETURN 0;
    END IF;
    low := seen.sequence;
    EXECUTE commits || ' ORDER BY id DESC LIMIT 1' INTO seen;
    IF seen.committed_at <= moment THEN
        RETURN seen.sequence;
    END IF;
    high := seen.sequence;
    LOOP
        middle := low + (high - low) / 2;
        EXECUTE commits || ' AND id > $1 ORDER BY id LIMIT 1' INTO seen USING _bemi.bound_v1(middle);
        IF seen.sequence >= high THEN
            EXECUTE commits || ' AND id <= $1 ORDER BY id DESC LIMIT 1' INTO seen USING _bemi.bound_v1(middle);
            IF seen.committed_at <= moment THEN
                RETURN seen.sequence;
            END IF;
        END IF;
        IF seen.committed_at <= moment THEN
            low := seen.sequence;
        ELSE
            high := seen.sequence;
        END IF;
    END LOOP;
END
$function$;

-- Return true, or raise an error if the past of the table at the moment is not known. The snapshot of the transaction does
-- not show what the table was called before, nor whether its past under that name is known.
CREATE FUNCTION _bemi.past_gate_v1(name text, relation oid) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    reason text := nullif(current_setting('bemi.as_of_unknown'), '')::jsonb ->> name;
BEGIN
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI1', MESSAGE = reason;
    ELSIF NOT EXISTS (
        SELECT FROM _bemi.past k WHERE k.relation = past_gate_v1.relation AND k.schema || '.' || k.name = past_gate_v1.name)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI1', MESSAGE = format(
            '%s was created, renamed or moved after the block began to read the past: enter it again', name);
    END IF;
    RETURN true;
END
$function$;

CREATE FUNCTION _bemi.no_past_v1(reason text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'BEMI1', MESSAGE = reason;
END
$function$;

-- Tell whether the value of the column in the row before is masked, which reads as NULL. Raise an error if the log does
-- not know the value for another reason. The cost makes
-- the planner evaluate conditions that read a value last, after those that choose the rows: otherwise it would meet
-- values of other tables.
CREATE FUNCTION _bemi.is_unknown_v1(unavailable jsonb, name text, col text) RETURNS boolean
LANGUAGE plpgsql STABLE COST 20
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF unavailable -> 'before' ? col THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI1',
            MESSAGE = format('the log does not have the value that %s.%s had: leave the column out of the query', name, col);
    END IF;
    -- What a mask has left of a value is not the value.
    RETURN coalesce(unavailable -> 'masked' ? col, false);
END
$function$;

-- Return what a column was called and which columns the table had, from each position on, the newest first. Positions of
-- another server are before all changes that can be read.
CREATE FUNCTION _bemi.past_layouts_v1(target oid, number int2) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    here constant bigint := (SELECT s.system_identifier FROM pg_control_system() s);
    layout jsonb;
    columns jsonb := '{}';
    found jsonb := '[]';
BEGIN
    FOR layout IN
        SELECT l.value FROM _bemi.past k, jsonb_array_elements(k.layouts) WITH ORDINALITY l (value, place)
        WHERE k.relation = target ORDER BY l.place
    LOOP
        columns := jsonb_strip_nulls(columns || (layout -> 4));
        found := jsonb_build_array(jsonb_build_object(
            'position', CASE WHEN (layout ->> 2)::bigint = here AND found <> '[]' THEN (layout ->> 0)::bigint ELSE 0 END,
            'transaction', layout -> 1, 'is_noticed', layout -> 3, 'name', columns -> number::text,
            'columns', (SELECT jsonb_agg(c.value ORDER BY c.value) FROM jsonb_each_text(columns) c))) || found;
    END LOOP;
    RETURN found;
END
$function$;

-- Return the value in a row before that had a column of which the name was another column's at another time; NULL if it
-- is masked, and what rows from before the column was added have in it if it was not there. Raise an error if
-- the log does not know the value, or does not tell which column had the name.
CREATE FUNCTION _bemi.value_then_v1(
    layouts jsonb, id uuid, transaction bigint, before jsonb, unavailable jsonb, name text, col text, missing jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE COST 100
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    -- Without the number of the history.
    here constant bigint := _bemi.sequence_v1(id) & 2251799813685247;
    layout jsonb;
    later jsonb;
    called jsonb := '[]';
    fitting jsonb := '[]';
    known text;
BEGIN
    FOR layout IN SELECT l.value FROM jsonb_array_elements(layouts) WITH ORDINALITY l (value, place) ORDER BY l.place LOOP
        IF here <= (layout ->> 'position')::bigint THEN
            later := layout;
            CONTINUE;
        END IF;
        called := called || jsonb_build_array(layout -> 'name');
        IF layout -> 'columns' = (SELECT jsonb_agg(k.value ORDER BY k.value) FROM jsonb_object_keys(before) k (value)) THEN
            fitting := fitting || jsonb_build_array(layout -> 'name');
        END IF;
        -- What a transaction wrote before it altered the table has the names from before it.
        EXIT WHEN (layout ->> 'transaction')::bigint <> transaction;
    END LOOP;
    IF (SELECT count(DISTINCT c.value) FROM jsonb_array_elements(called) c) > 1 THEN
        called := fitting;
    END IF;
    IF (SELECT count(DISTINCT c.value) FROM jsonb_array_elements(called) c) <> 1
        -- Nobody knows when it was altered.
        OR NOT (later ->> 'is_noticed')::boolean AND later -> 'name' IS DISTINCT FROM called -> 0
    THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI1', MESSAGE = format(
            'columns of %s have exchanged their names, and the log does not tell which one a value of %s was of: '
            'leave the column out of the query', name, col);
    END IF;
    known := called ->> 0;
    IF known IS NULL THEN
        RETURN missing;
    ELSIF unavailable IS NOT NULL AND _bemi.is_unknown_v1(unavailable, name, known) THEN
        RETURN NULL;
    END IF;
    RETURN before -> known;
END
$function$;

-- Return whether the values of an ignored column at the moment are not known.
CREATE FUNCTION _bemi.is_hidden_v1(name text, col text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT coalesce(nullif(current_setting('bemi.as_of_hidden', true), '')::jsonb -> name ? col, false)
$function$;

-- Return a key of one column as the stream prints it, whatever the settings of the session are.
CREATE FUNCTION _bemi.key_v1(key anyelement) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET datestyle = 'ISO'
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET timezone = 'UTC'
SET extra_float_digits = 1
AS $function$ SELECT format('%s', key) $function$;

REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
