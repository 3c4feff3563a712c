-- Descriptions of tables: what the stream does not say about them.

-- What the stream does not say about a table, from a position on. In the transaction that made it so it is valid at
-- once, in others when that one has committed. Rows stay when a table is altered or dropped, because the worker may
-- not have read all of its changes yet.
CREATE TABLE _bemi.relations (
    relation oid NOT NULL,
    since pg_lsn NOT NULL DEFAULT pg_current_wal_insert_lsn(),
    since_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- In a copy of the database on another server, positions and oids mean something else.
    system bigint NOT NULL DEFAULT (pg_control_system()).system_identifier,
    description jsonb NOT NULL,
    -- Where the table was dropped, or was tracked no longer. Its rows from before may still be on their way to the worker.
    ended pg_lsn,
    PRIMARY KEY (relation, since, system)
);
-- The event triggers look for these descriptions after each command.
CREATE INDEX relations_types ON _bemi.relations USING gin ((description -> 'types')) WITH (fastupdate = off);
CREATE INDEX relations_partitions ON _bemi.relations (relation) WHERE description -> 'root' <> description -> 'name';
-- The worker asks whether a transaction has made any: anybody may send a message that says so.
CREATE INDEX relations_transactions ON _bemi.relations (since_xid);
CREATE INDEX relations_ended ON _bemi.relations (ended) WHERE ended IS NOT NULL;

-- Return the definitions of types and of their parts as {oid: definition}, without PostgreSQL's own scalar types. A
-- definition is {"base": oid} of a domain, {"element": oid, "delimiter": text} of an array, {"fields": [[name, oid],
-- ...]} of a composite type, {"cast": oid of the function that renders it as json} of a type with a cast, or {} of
-- another type.
CREATE FUNCTION _bemi.types_v1(wanted oid[]) RETURNS jsonb
LANGUAGE sql STABLE
-- JIT compilation would take ten times as long as the query.
SET jit = off
SET search_path = pg_catalog, pg_temp
AS $function$
    WITH RECURSIVE used (oid) AS (
        SELECT unnest(wanted)
        UNION
        SELECT part.oid
        FROM used JOIN pg_type t USING (oid)
        CROSS JOIN LATERAL (
            SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
            UNION ALL
            SELECT t.typelem WHERE t.typsubscript = 'array_subscript_handler'::regproc
            UNION ALL
            SELECT a.atttypid FROM pg_attribute a
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        ) part
    ),
    defined AS MATERIALIZED (
        SELECT t.oid, CASE
            WHEN t.typtype = 'd' THEN jsonb_build_object('base', t.typbasetype::bigint)
            WHEN t.typsubscript = 'array_subscript_handler'::regproc THEN jsonb_build_object(
                'element', t.typelem::bigint,
                'delimiter', (SELECT e.typdelim FROM pg_type e WHERE e.oid = t.typelem))
            WHEN t.typtype = 'c' THEN jsonb_build_object('fields', (
                SELECT coalesce(jsonb_agg(jsonb_build_array(a.attname, a.atttypid::bigint) ORDER BY a.attnum), '[]')
                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
            WHEN t.oid >= 16384 THEN coalesce((
                SELECT jsonb_build_object('cast', c.castfunc::bigint, 'source', md5(concat(p.prosrc, p.probin, p.prosqlbody)))
                FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc
                WHERE c.castsource = t.oid AND c.casttarget = 'json'::regtype AND c.castmethod = 'f'), '{}')
            END AS definition
        FROM used JOIN pg_type t USING (oid)
    )
    SELECT coalesce(jsonb_object_agg(oid::text, definition) FILTER (WHERE definition IS NOT NULL), '{}') FROM defined
$function$;

-- Return what a description says of the tables whose message gives a context to the rows of a table that has others
-- above it. This and the next function are called for the few tables that need them, because a recursive query allocates
-- its hash table for each.
CREATE FUNCTION _bemi.named_by_v1(relation oid) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    RETURN (
        WITH RECURSIVE above (oid) AS (
            SELECT relation
            UNION
            SELECT i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.oid
        )
        SELECT CASE WHEN bool_or(EXISTS (
                SELECT FROM pg_trigger t
                WHERE t.tgrelid = a.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
                    AND t.tgenabled IN ('D', 'R')))
            THEN '[]' ELSE jsonb_agg(a.oid::bigint ORDER BY a.oid) END
        FROM above a);
END
$function$;

-- Return those definitions among some, as _bemi.types_v1 returns them, that a table needs.
CREATE FUNCTION _bemi.types_of_v1(relation oid, known jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    RETURN (
        WITH RECURSIVE used (oid) AS (
            SELECT a.atttypid::text FROM pg_attribute a
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND known ? a.atttypid::text
            UNION
            SELECT part.oid
            FROM used u
            CROSS JOIN LATERAL (
                SELECT known -> u.oid ->> 'base'
                UNION ALL
                SELECT known -> u.oid ->> 'element'
                UNION ALL
                SELECT field ->> 1 FROM jsonb_array_elements(known -> u.oid -> 'fields') field
            ) part (oid)
            WHERE known ? part.oid
        )
        SELECT jsonb_object_agg(u.oid, known -> u.oid) FROM used u);
END
$function$;

-- Describe tables, each as:
--   name         [schema, table]
--   root         the same of the table under whose name its rows are recorded
--   named_by     oids of the tables whose message gives a context to the rows: this one and those above it; none if
--                the trigger of one of them is off, because a row could be of a statement that sent no message, after
--                another one that did
--   columns      {name: oid of the type}
--   numbers      {name: number of the column}, because another column of the same type may get the name
--   key          names of the columns of the primary key, in its order
--   types        what _bemi.types_v1 returns for the columns' types
--   generated    [column, type as SQL, expression] of each generated column
--   expressions  a fingerprint of each expression, because the server takes a lock on the table to print one
CREATE FUNCTION _bemi.describe_v1(targets oid[], is_whole boolean DEFAULT true)
RETURNS TABLE (relation oid, description jsonb)
LANGUAGE plpgsql STABLE
SET jit = off
-- Planning takes much longer than running, and the plan is the same for all tables.
SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    scalars constant oid[] := '{bool,int2,int4,int8,numeric,float8,text,varchar,date,timestamptz,jsonb,uuid}'::regtype[];
    asked oid[];
    known jsonb := '{}';
BEGIN
    IF targets = '{}' THEN
        RETURN;
    END IF;
    asked := ARRAY(
        SELECT DISTINCT a.atttypid FROM pg_attribute a
        WHERE a.attrelid = ANY (targets) AND a.attnum > 0 AND NOT a.attisdropped
            -- PostgreSQL's own scalar types have no definition. Most columns have one of these.
            AND a.atttypid <> ALL (scalars) AND (SELECT t.oid >= 16384 OR t.typelem <> 0 OR t.typtype <> 'b' FROM pg_type t WHERE t.oid = a.atttypid));
    IF asked <> '{}' THEN
        known := _bemi.types_v1(asked);
    END IF;
    -- Each part is asked for table by table, by index: a plan that joins them depends on the number of tables.
    RETURN QUERY
    SELECT c.oid, jsonb_build_object(
            'name', jsonb_build_array(n.nspname, c.relname),
            'root', CASE WHEN c.relispartition THEN (
                SELECT jsonb_build_array(rn.nspname, r.relname)
                FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
                WHERE r.oid = coalesce(pg_partition_root(c.oid), c.oid))
                ELSE jsonb_build_array(n.nspname, c.relname) END,
            'named_by', CASE
                WHEN EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) THEN _bemi.named_by_v1(c.oid)
                WHEN (
                    SELECT count(*) = 0 FROM pg_trigger t
                    WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
                        AND t.tgenabled IN ('D', 'R'))
                    THEN jsonb_build_array(c.oid::bigint)
                ELSE '[]' END,
            'columns', coalesce(columns.types, '{}'),
            'numbers', coalesce(columns.numbers, '{}'),
            'key', coalesce(keys.columns, '[]'),
            'types', CASE WHEN columns.are_defined THEN _bemi.types_of_v1(c.oid, known) ELSE '{}' END,
            'expressions', coalesce(generated.fingerprints, '{}'))
        || CASE WHEN is_whole THEN jsonb_build_object('generated', coalesce(generated.expressions, '[]')) ELSE '{}' END
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(a.attname, a.atttypid::bigint) AS types,
               jsonb_object_agg(a.attname, a.attnum) AS numbers,
               count(*) FILTER (WHERE a.attgenerated <> '') > 0 AS are_generated,
               bool_or(known ? a.atttypid::text) AS are_defined
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) columns
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(a.attname ORDER BY k.place) AS columns
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
    ) keys
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(a.attname, md5(a.atttypmod || d.adbin::text)) AS fingerprints,
               jsonb_agg(jsonb_build_array(
                   a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid))
                   ORDER BY a.attnum) FILTER (WHERE is_whole) AS expressions
        FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE columns.are_generated AND a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped
    ) generated
    WHERE c.oid = ANY (targets);
END
$function$;

REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
