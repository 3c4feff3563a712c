-- The past: for each table a view of the same name, in a schema of its own, that derives the table as it was from
-- the table as it is and the changes since. The moment and what must not be asked are settings of the transaction
-- (time_travel/past.py sets them):
--   bemi.as_of          the last id that a change up to the moment may have
--   bemi.as_of_late     changes that the tables show already and the log does not: [{...}], as in _bemi.past_query_v1
--   bemi.as_of_unknown  {"schema.table": why its past at this moment is not known}

-- The last id that a change which was committed at a position can have.
CREATE FUNCTION _bemi.bound_v1(lsn bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(lsn >> 15), 12, '0') || '8' || lpad(to_hex((lsn >> 3) & 4095), 3, '0') || 'ffffffffffffffff')::uuid;

-- A key's text as its type; NULL for what is none. Plain expressions, so that they are inlined alike into the
-- indexes below and into queries: that is what brings `WHERE id = 42` to the log.
CREATE FUNCTION _bemi.bigint_v1(key text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN key ~ '^-?\d{1,18}$' THEN key::bigint
    WHEN key ~ '^-?\d{19}$' THEN
        CASE WHEN key::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN key::bigint END
END;

CREATE FUNCTION _bemi.integer_v1(key text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN key ~ '^-?\d{1,9}$' THEN key::integer
    WHEN key ~ '^-?\d{10}$' THEN
        CASE WHEN key::bigint BETWEEN -2147483648 AND 2147483647 THEN key::integer END
END;

CREATE FUNCTION _bemi.uuid_v1(key text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(key) = 36 AND key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN key::uuid END;

-- Without the table: half the cost for whoever writes, and other tables' changes of a key number are few.
-- The planner takes no statistics from partial indexes; without any it expects every key to have changed often.
DO $block$
DECLARE
    log constant regclass := _bemi.log_v1();
    type text;
    key text;
BEGIN
    FOREACH type IN ARRAY ARRAY['bigint', 'integer', 'uuid'] LOOP
        key := format('_bemi.%s_v1(coalesce(previous_primary_key, primary_key))', type);
        EXECUTE format(
            'CREATE INDEX changes_%1$s ON %2$s (%3$s, id) WHERE operation IN (''UPDATE'', ''DELETE'') AND %3$s IS NOT NULL',
            type, log, key);
        EXECUTE format('CREATE STATISTICS _bemi.changes_%s_keys ON (%s) FROM %s', type, key, log);
    END LOOP;
    -- What the past cannot be derived across.
    EXECUTE format(
        'CREATE INDEX changes_breaks ON %s (id) WHERE operation IN (''GAP'', ''SKIPPED'', ''TRUNCATE'')', log);
END
$block$;

-- The tables that have a view. since: from where on the table was tracked under this name and key, without a break;
-- NULL: its past cannot be derived, the view says why. definition: a fingerprint of the view. names: {attnum: names
-- of the column, the newest first}.
CREATE TABLE _bemi.past (
    relation oid PRIMARY KEY,
    schema text NOT NULL,
    name text NOT NULL,
    since pg_lsn,
    since_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    key int2[] NOT NULL,
    names jsonb NOT NULL,
    definition text NOT NULL
);

-- Where the log stands at a moment: the position of the last commit before the first one after it; 0 when there is
-- none. By halves: commits are in the order of their positions, and nearly in that of their times.
CREATE FUNCTION _bemi.position_v1(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    commits constant text := format(
        'SELECT position, committed_at FROM %s WHERE database = current_database()', _bemi.log_v1());
    low bigint;
    high bigint;
    middle bigint;
    seen record;
BEGIN
    EXECUTE commits || ' ORDER BY id LIMIT 1' INTO seen;
    IF seen IS NULL OR seen.committed_at > moment THEN
        RETURN 0;
    END IF;
    low := seen.position;
    EXECUTE commits || ' ORDER BY id DESC LIMIT 1' INTO seen;
    IF seen.committed_at <= moment THEN
        RETURN seen.position;
    END IF;
    high := seen.position;
    LOOP
        middle := low + (high - low) / 2;
        EXECUTE commits || ' AND id > $1 ORDER BY id LIMIT 1' INTO seen USING _bemi.bound_v1(middle);
        IF seen.position >= high THEN
            EXECUTE commits || ' AND id <= $1 ORDER BY id DESC LIMIT 1' INTO seen USING _bemi.bound_v1(middle);
            IF seen.committed_at <= moment THEN
                RETURN seen.position;
            END IF;
        END IF;
        IF seen.committed_at <= moment THEN
            low := seen.position;
        ELSE
            high := seen.position;
        END IF;
    END LOOP;
END
$function$;

-- True, unless the past of the table at the moment is not known: then it is an error that says why.
CREATE FUNCTION _bemi.past_gate_v1(name text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    reason text := nullif(current_setting('bemi.as_of_unknown'), '')::jsonb ->> name;
BEGIN
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI1', MESSAGE = reason;
    END IF;
    RETURN true;
END
$function$;

CREATE FUNCTION _bemi.no_past_v1(reason text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'BEMI1', MESSAGE = reason;
END
$function$;

-- False, unless the value of the column in the row before is among those that the log does not have. Dear: a
-- condition that reads a value comes last, behind those that choose the rows, else it would meet other tables' values.
CREATE FUNCTION _bemi.is_unknown_v1(unavailable jsonb, name text, col text) RETURNS boolean
LANGUAGE plpgsql STABLE COST 20
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF unavailable -> 'before' ? col THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI1',
            MESSAGE = format('the log does not have the value that %s.%s had: leave the column out of the query', name, col);
    END IF;
    RETURN false;
END
$function$;

-- A single key as the stream prints it, whatever the session's settings.
CREATE FUNCTION _bemi.key_v1(key anyelement) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO'
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET timezone = 'UTC'
SET extra_float_digits = 1
AS $function$ SELECT format('%s', key) $function$;

-- hstore is an object in JSON, which its input function does not take.
CREATE FUNCTION _bemi.hstore_text_v1(pairs jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE WHEN jsonb_typeof(pairs) = 'object' THEN coalesce((
        SELECT string_agg(
            '"' || replace(replace(key, '\', '\\'), '"', '\"') || '"=>'
            || coalesce('"' || replace(replace(value, '\', '\\'), '"', '\"') || '"', 'NULL'), ', ')
        FROM jsonb_each_text(pairs)), '') END
$function$;

-- A type's name, with its schema.
CREATE FUNCTION _bemi.type_v1(type oid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$ SELECT format_type(type, -1) $function$;

-- The type that a view shows a column as. A view holds the types of its columns: one that somebody made could not be
-- dropped after its table, unless an event trigger drops the view together with the table. Without one, such a type is
-- shown as what it is made of, or as text. A key is text rather than varchar: so a join finds the index of the log.
CREATE FUNCTION _bemi.past_type_v1(type oid, is_key boolean) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    found record;
BEGIN
    IF is_key AND type = 'varchar'::regtype THEN
        RETURN 'text';
    END IF;
    LOOP
        SELECT t.*, coalesce(nullif(t.typelem, 0), t.oid) AS made FROM pg_type t WHERE t.oid = type INTO found;
        IF type < 16384
            OR EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '_bemi_follow_drop' AND evtenabled <> 'D')
            OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = found.made
                       AND d.deptype = 'e') THEN
            RETURN _bemi.type_v1(type);
        END IF;
        IF found.typtype <> 'd' THEN
            RETURN 'text';
        END IF;
        type := found.typbasetype;
    END LOOP;
END
$function$;

-- The expression of one column of the row before, for an arm whose rows are called c.
CREATE FUNCTION _bemi.past_column_v1(target oid, number int2, names jsonb) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    owner record;
    col record;
    base record;
    json text;
    value text;
    known text;
BEGIN
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = target INTO owner;
    SELECT a.attname, a.atttypid, _bemi.type_v1(a.atttypid) AS type, a.attmissingval, a.atthasmissing
    FROM pg_attribute a WHERE a.attrelid = target AND a.attnum = number INTO col;
    SELECT t.* FROM pg_type t WHERE t.oid = col.atttypid INTO base;
    WHILE base.typtype = 'd' LOOP
        SELECT t.* FROM pg_type t WHERE t.oid = base.typbasetype INTO base;
    END LOOP;
    -- Rows from before the column was added have what they got then, those from before it was renamed its old name.
    IF col.atthasmissing THEN
        json := format('to_jsonb(%L::%s)', (col.attmissingval::text::text[])[1], col.type);
    END IF;
    FOR known IN SELECT e.name FROM jsonb_array_elements_text(names -> number::text) WITH ORDINALITY e (name, place)
                 ORDER BY e.place DESC LOOP
        json := CASE WHEN json IS NULL THEN format('(c.before -> %L)', known)
            ELSE format('CASE WHEN c.before ? %1$L THEN c.before -> %1$L ELSE %2$s END', known, json) END;
    END LOOP;
    value := CASE
        WHEN base.oid IN ('json'::regtype, 'jsonb'::regtype) THEN
            format('nullif(%s, ''null'')::%s', json, col.type)
        -- Where text has a cast to the type, that is not what its input function does.
        WHEN base.typtype = 'c' OR EXISTS (SELECT FROM pg_type e WHERE e.typarray = base.oid)
            OR EXISTS (SELECT FROM pg_cast k WHERE k.castsource = 'text'::regtype AND k.casttarget = base.oid
                       AND k.castmethod = 'f') THEN
            format('(jsonb_populate_record(NULL::%1$I.%2$I, jsonb_build_object(%3$L, %4$s))).%3$I',
                   owner.nspname, owner.relname, col.attname, json)
        WHEN base.oid IN ('int2vector'::regtype, 'oidvector'::regtype) THEN
            format('translate((%s) #>> ''{}'', ''[],"'', '''')::%s', json, col.type)
        WHEN base.typname = 'hstore' THEN format('_bemi.hstore_text_v1(%s)::%s', json, col.type)
        WHEN json = format('(c.before -> %L)', col.attname) THEN format('(c.before ->> %L)::%s', col.attname, col.type)
        ELSE format('((%s) #>> ''{}'')::%s', json, col.type)
    END;
    RETURN format('CASE WHEN c.unavailable IS NOT NULL AND _bemi.is_unknown_v1(c.unavailable, %L, %L) '
                  'THEN NULL ELSE (%s)::%s END', owner.nspname || '.' || owner.relname, col.attname, value,
                  _bemi.past_type_v1(col.atttypid, false));
END
$function$;

-- The key of a row of the table, called t, as the log has it.
CREATE FUNCTION _bemi.past_key_v1(target oid, key int2[]) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE
        WHEN cardinality(key) > 1 THEN
            format('jsonb_build_array(%s)::text', string_agg(
                format(CASE
                    WHEN a.atttypid = 'timestamptz'::regtype
                        THEN '(to_jsonb(t.%1$I AT TIME ZONE ''UTC'') #>> ''{}'') || ''+00:00'''
                    WHEN a.atttypid IN ('interval'::regtype, 'bytea'::regtype, 'tstzrange'::regtype)
                        THEN '_bemi.key_v1(t.%1$I)'
                    ELSE 't.%1$I' END, a.attname), ', ' ORDER BY k.place))
        WHEN min(a.atttypid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype,
                                 'varchar'::regtype, 'numeric'::regtype) THEN format('t.%I::text', min(a.attname))
        ELSE format('_bemi.key_v1(t.%I)', min(a.attname)) END
    FROM unnest(key) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = target AND a.attnum = k.attnum
$function$;

-- The query behind a view. One flat UNION ALL whose arms have one relation each and no condition: only so does the
-- planner take conditions and joins on the view down to the indexes of its arms. (The last arm is another kind of
-- relation, a subquery, because the planner can join nothing to one row after the other of a function.) What is to hold of an arm's rows is
-- a column, _bemi_is_due: subqueries in it the planner hashes or looks up, as there are many rows or few; joins in
-- their place it would do before a join of the query. A row before in the log is the past of its key when no earlier
-- change since the moment left a row under that key; a row of the table is its own past when none did.
CREATE FUNCTION _bemi.past_query_v1(target oid, key int2[], names jsonb) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    moment constant text := 'pg_catalog.current_setting(''bemi.as_of'')::uuid';
    late constant text := 'pg_catalog.current_setting(''bemi.as_of_late'')::jsonb';
    key_type constant oid := (SELECT atttypid FROM pg_attribute WHERE attrelid = target AND attnum = key[1]);
    -- The key as a typed column of the log's arms: as an index has it, where one does.
    typed text := CASE WHEN cardinality(key) = 1 THEN CASE key_type
        WHEN 'int8'::regtype THEN '_bemi.bigint_v1(<key>)'
        WHEN 'int4'::regtype THEN '_bemi.integer_v1(<key>)'
        WHEN 'uuid'::regtype THEN '_bemi.uuid_v1(<key>)'
        WHEN 'text'::regtype THEN '<key>'
        WHEN 'varchar'::regtype THEN '<key>' END END;
    is_text constant boolean := typed IS NOT NULL AND key_type IN ('text'::regtype, 'varchar'::regtype);
    target_name text;
    rows text;
    of_log text;
    of_late text;
    shown text;
    live text;
    live_key constant text := _bemi.past_key_v1(target, key);
    logged text;
    touched text;
    arms text;
    arm record;
BEGIN
    SELECT n.nspname || '.' || c.relname,
           CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname),
           format('e.schema = %L AND e."table" = %L AND e.database = pg_catalog.current_database()', n.nspname, c.relname),
           format('e.schema = %L AND e."table" = %L', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = target INTO target_name, rows, of_log, of_late;
    SELECT string_agg(format('u.%I', attname), ', ' ORDER BY attnum),
           string_agg(format('t.%I::%s', attname, _bemi.past_type_v1(atttypid, key = ARRAY[attnum])), ', ' ORDER BY attnum),
           string_agg(CASE WHEN attnum = key[1] AND typed IS NOT NULL THEN chr(1)
                           ELSE _bemi.past_column_v1(target, attnum, names) END, E',\n        ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
    INTO shown, live, logged;
    -- Whether no change since the moment left a row under a key, as far as the log goes; before another change.
    touched := format('NOT EXISTS (SELECT FROM %s e WHERE %s AND e.primary_key = <key> AND e.id > %s',
                      log, of_log, moment);
    arms := format($arm$
    SELECT %s,
        %s)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.jsonb_to_recordset(%s) AS e (schema text, "table" text, key text)
            WHERE %s AND e.key = %s) AS _bemi_is_due
    FROM %s t$arm$, live, replace(touched, '<key>', live_key), late, of_late, live_key, rows);
    FOR arm IN
        SELECT * FROM (VALUES
            ('coalesce(c.previous_primary_key, c.primary_key)', '', NOT is_text),
            -- Text keys have the indexes that the log has anyway.
            ('c.primary_key', ' AND c.previous_primary_key IS NULL', is_text),
            ('c.previous_primary_key', ' AND c.previous_primary_key IS NOT NULL', is_text)
        ) form (key, condition, is_wanted) WHERE form.is_wanted
    LOOP
        arms := arms || format($arm$
    UNION ALL
    SELECT %s,
        %s AND c.operation IN ('UPDATE', 'DELETE') AND c.id > %s%s
        AND %s AND e.id < c.id
            -- Rows that exchange their keys in one transaction: what came there is not what was there.
            AND NOT ((e.operation = 'CREATE' OR e.previous_primary_key IS NOT NULL)
                     AND e.position = c.position AND e.after <> c.before))
    FROM %s c$arm$, coalesce(replace(logged, chr(1), replace(typed, '<key>', arm.key)), logged),
            regexp_replace(of_log, '\me\.', 'c.', 'g'), moment, arm.condition, replace(touched, '<key>', arm.key), log);
    END LOOP;
    arms := arms || format($arm$
    UNION ALL
    SELECT %s, true
    FROM pg_catalog.jsonb_to_recordset(%s) AS c (schema text, "table" text, key text, before jsonb,
        unavailable jsonb, is_row boolean)
    WHERE c.is_row AND %s AND %s)$arm$,
        coalesce(replace(logged, chr(1), replace(typed, '<key>', 'c.key')), logged), late,
        regexp_replace(of_late, '\me\.', 'c.', 'g'), replace(touched, '<key>', 'c.key'));
    RETURN format(E'\nSELECT %s FROM (%s\n) u\nWHERE u._bemi_is_due AND _bemi.past_gate_v1(%L)\n',
                  shown, arms, target_name);
END
$function$;

-- Every table, view and partition that queries may name, why its past cannot be derived, and the columns of its key.
CREATE FUNCTION _bemi.past_plan_v1(publication name, targets oid[] DEFAULT NULL)
RETURNS TABLE (relation oid, schema text, name text, reason text, key int2[])
LANGUAGE sql STABLE
SET jit = off
SET search_path = pg_catalog, pg_temp
AS $function$
    WITH published AS (
        SELECT c.oid, c.relnamespace
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        JOIN pg_class c ON c.oid = r.prrelid
        WHERE p.pubname = publication
    )
    SELECT c.oid, n.nspname::text, c.relname::text, CASE
        WHEN c.relkind NOT IN ('r', 'p') THEN
            'is a view: it is bound to the tables as they are; query the tables that it is made of'
        WHEN c.relispartition THEN
            format('is a partition: query %s', (SELECT relname FROM pg_class WHERE oid = pg_partition_root(c.oid)))
        WHEN c.oid NOT IN (SELECT oid FROM published) THEN
            'is not tracked: nothing is known of its past (BEMI_INCLUDE, BEMI_EXCLUDE)'
        WHEN keys.columns IS NULL THEN
            'has no primary key: which of its rows a change was of, the log does not know'
        WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) THEN
            'has children by inheritance: their rows have logs of their own'
        END, coalesce(keys.columns, '{}')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT (SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] FROM pg_index i
                WHERE i.indrelid = c.oid AND i.indisprimary) AS columns) keys
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
        AND n.oid IN (SELECT relnamespace FROM published)
        AND c.oid NOT IN (SELECT _bemi.ours_v1())
        AND (targets IS NULL OR c.oid = ANY (targets))
$function$;

-- Brings the views in line with the tables, all or some, and returns what it did. Views depend on no table, only on
-- types: a table can be altered and dropped without them.
CREATE FUNCTION _bemi.past_refresh_v1(targets oid[] DEFAULT NULL) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    chosen constant name := (SELECT t.publication FROM _bemi.tracking t);
    following constant text := current_setting('_bemi.is_following', true);
    due record;
    known _bemi.past;
    columns text;
    nulls text;
    called jsonb;
    body text;
    past name;
    owner name;
    here pg_lsn;
BEGIN
    -- Two migrations at a time would make the same view.
    PERFORM pg_advisory_xact_lock(hashtext('_bemi_past'));
    -- What is done below sets off event triggers.
    PERFORM set_config('_bemi.is_following', 'yes', true);
    here := pg_current_wal_insert_lsn();
    FOR known IN
        SELECT k.* FROM _bemi.past k
        LEFT JOIN _bemi.past_plan_v1(chosen, targets) p ON p.relation = k.relation
        LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) ON c.oid = k.relation
        WHERE k.definition <> '' AND (
            (n.nspname, c.relname) IS DISTINCT FROM (k.schema, k.name)
            OR p.relation IS NULL AND (targets IS NULL OR k.relation = ANY (targets)))
    LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %I.%I() CASCADE', left('_bemi_past_' || known.schema, 63), known.name);
        -- A table that was renamed keeps what its columns were called.
        UPDATE _bemi.past k SET since = NULL, definition = '' WHERE k.relation = known.relation;
        DELETE FROM _bemi.past k
        WHERE k.relation = known.relation AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = known.relation);
        RETURN NEXT format('no past: %s.%s', known.schema, known.name);
    END LOOP;
    FOR due IN SELECT p.* FROM _bemi.past_plan_v1(chosen, targets) p ORDER BY p.schema, p.name LOOP
        SELECT k.* FROM _bemi.past k WHERE k.relation = due.relation INTO known;
        SELECT string_agg(format('%I %s', a.attname, shown.type), ', ' ORDER BY a.attnum),
               string_agg(format('NULL::%s', shown.type), ', ' ORDER BY a.attnum),
               jsonb_object_agg(a.attnum::text, CASE
                   WHEN known.names -> a.attnum::text ->> 0 = a.attname THEN known.names -> a.attnum::text
                   ELSE jsonb_build_array(a.attname) || coalesce(known.names -> a.attnum::text, '[]') END)
        FROM pg_attribute a
        CROSS JOIN LATERAL _bemi.past_type_v1(a.atttypid, due.key = ARRAY[a.attnum]) shown (type)
        WHERE a.attrelid = due.relation AND a.attnum > 0 AND NOT a.attisdropped
        INTO columns, nulls, called;
        CONTINUE WHEN columns IS NULL;
        body := CASE WHEN due.reason IS NULL THEN _bemi.past_query_v1(due.relation, due.key, called)
            ELSE format('SELECT %s WHERE _bemi.no_past_v1(%L)', nulls,
                        format('%s.%s %s', due.schema, due.name, due.reason)) END;
        past := left('_bemi_past_' || due.schema, 63);
        CONTINUE WHEN known.definition = md5(columns || body)
            AND to_regclass(format('%I.%I', past, due.name)) IS NOT NULL;
        owner := (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = past);
        IF owner NOT IN (current_user, (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = '_bemi')) THEN
            RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
                'The schema %I belongs to the role %I, not to %I. Drop or rename it, then run manage.py bemi sync.',
                past, owner, current_user);
        ELSIF owner IS NULL THEN
            EXECUTE format('CREATE SCHEMA %I', past);
            -- What is in it runs with the rights of who asks.
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO PUBLIC', past);
        END IF;
        EXECUTE format('DROP FUNCTION IF EXISTS %I.%I() CASCADE', past, due.name);
        EXECUTE format('CREATE FUNCTION %I.%I() RETURNS TABLE (%s) LANGUAGE sql STABLE AS %L', past, due.name, columns, body);
        EXECUTE format('CREATE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%2$I()', past, due.name);
        EXECUTE format('GRANT SELECT ON %I.%I TO PUBLIC', past, due.name);
        INSERT INTO _bemi.past AS k (relation, schema, name, since, key, names, definition)
        VALUES (due.relation, due.schema, due.name, CASE WHEN due.reason IS NULL THEN here END, due.key, called,
                md5(columns || body))
        ON CONFLICT (relation) DO UPDATE SET
            -- The log knows older changes under the name and the key of then.
            (since, since_time) = (
                SELECT k.since, k.since_time
                WHERE k.since IS NOT NULL AND excluded.since IS NOT NULL
                    AND (k.schema, k.name, k.key) = (excluded.schema, excluded.name, excluded.key)
                UNION ALL SELECT excluded.since, excluded.since_time LIMIT 1),
            schema = excluded.schema, name = excluded.name, key = excluded.key, names = excluded.names,
            definition = excluded.definition;
        RETURN NEXT format('past: %s.%s', due.schema, due.name);
    END LOOP;
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
END
$function$;
REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
