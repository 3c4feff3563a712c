-- Capture: a statement-level trigger that carries a statement's context into the WAL, the plan of what
-- tracked tables lack, what the stream leaves out of tables, and an event trigger's function that keeps up
-- with DDL.

-- Called by every statement that writes. SET search_path would take a third of its time, so each name has its schema
-- here; PL/pgSQL prepares each expression anew in every transaction, so the usual way has few.
CREATE FUNCTION _bemi.capture_v1() RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    -- What the last message stands for. It goes back with a savepoint exactly as the message does.
    last pg_catalog.text := pg_catalog.current_setting('_bemi.last', true);
    -- Only here, at the very start, stands what the application's hook wrote: a value never can.
    content pg_catalog.text := CASE WHEN pg_catalog.starts_with(pg_catalog.current_query(), '/*Bemi {')
        THEN pg_catalog.substr(pg_catalog.split_part(pg_catalog.current_query(), ' Bemi*/', 1), 8) END;
    statement pg_catalog.text;
    -- Transaction-local: for statements that cannot carry a comment.
    context pg_catalog.text;
    shared pg_catalog.text;
    sent pg_catalog.text;
    sent_at pg_catalog.pg_lsn;
BEGIN
    -- All but the first write of a transaction whose application says who writes.
    IF content IS NULL OR last OPERATOR(pg_catalog.<>) '' OR pg_catalog.starts_with(content, '{"SQL"') THEN
        IF content IS NULL OR pg_catalog.starts_with(content, '{"SQL"') THEN
            IF content IS NULL THEN
                statement := pg_catalog.current_query();
                -- Deferred triggers write when their transaction ends: with the last context that it had.
                IF last OPERATOR(pg_catalog.<>) '' AND pg_catalog.left(statement, 64)
                    OPERATOR(pg_catalog.~*) E'^\\s*(commit|end|prepare\\s+transaction)\\M' THEN
                    RETURN NULL;
                END IF;
                IF pg_catalog.length(statement) OPERATOR(pg_catalog.>) 8192 THEN
                    statement := pg_catalog.concat(pg_catalog.left(statement, 8192), '... (cut)');
                END IF;
                content := pg_catalog.concat('{"SQL": ', pg_catalog.to_json(statement), '}');
                context := pg_catalog.btrim(pg_catalog.current_setting('bemi.context', true));
            END IF;
            IF pg_catalog.starts_with(context, '{')
                AND pg_catalog.ltrim(pg_catalog.substr(context, 2)) OPERATOR(pg_catalog.<>) '}' THEN
                content := pg_catalog.concat(pg_catalog.left(context, -1), ',', pg_catalog.substr(content, 2));
            ELSE
                -- No application context: what the database itself knows of the writer.
                content := pg_catalog.concat(
                    '{"db_user": ', pg_catalog.to_json(session_user::pg_catalog.text), ', "application_name": ',
                    pg_catalog.to_json(pg_catalog.current_setting('application_name')), ',',
                    pg_catalog.substr(content, 2));
            END IF;
        END IF;
        -- A message holds for all rows until the next one, so an equal one need not be repeated.
        IF content OPERATOR(pg_catalog.=) last THEN
            RETURN NULL;
        END IF;
        -- The context of the message before and another statement: that is all that is sent.
        shared := pg_catalog.split_part(content, ',"SQL": ', 1) OPERATOR(pg_catalog.||) ',"SQL": ';
        sent := CASE WHEN pg_catalog.starts_with(last, shared) AND pg_catalog.starts_with(content, shared)
            THEN '+' OPERATOR(pg_catalog.||) pg_catalog.substr(
                content, pg_catalog.length(shared) OPERATOR(pg_catalog.+) 1) END;
    END IF;
    -- What a comment must not hold, WAL may: quotes around each name, placeholders. Of two backslashes one could seem
    -- to begin an escape. Assigned, not performed: an expression takes a tenth of a query's time.
    sent_at := pg_catalog.pg_logical_emit_message(true, '_bemi', pg_catalog.convert_to(
        pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            coalesce(sent, content), E'\\\\', E'\\u005c'), E'\\u0022', E'\\"'), E'\\u0025', '%'), 'UTF8'));
    last := pg_catalog.set_config('_bemi.last', content, true);
    RETURN NULL;
END
$function$;

-- What sync last chose; the event trigger reads it. One row.
CREATE TABLE _bemi.tracking (
    publication text NOT NULL,
    include text[] NOT NULL,
    exclude text[] NOT NULL,
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton)
);

-- What the stream leaves out of a table, from a position on: at once in the transaction that made it so, in
-- others when that one has committed. Rows stay when the table is altered or dropped: changes from before may
-- still be on their way to the worker.
CREATE TABLE _bemi.relations (
    relation oid NOT NULL,
    since pg_lsn NOT NULL DEFAULT pg_current_wal_insert_lsn(),
    since_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- In a copy of the database on another server positions and oids mean something else.
    system bigint NOT NULL DEFAULT (pg_control_system()).system_identifier,
    description jsonb NOT NULL,
    PRIMARY KEY (relation, since, system)
);

-- Types and their parts: {oid: definition}, all but the plain ones of PostgreSQL. A definition is {"base": oid},
-- {"element": oid, "delimiter": text}, {"fields": [[name, oid], ...]}, {"cast": oid of the function that renders
-- the type as json} or, for a plain type that somebody made, {}.
CREATE FUNCTION _bemi.types_v1(wanted oid[]) RETURNS jsonb
LANGUAGE sql STABLE
-- Compiled, they would take ten times as long.
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
                SELECT jsonb_build_object('cast', c.castfunc::bigint) FROM pg_cast c
                WHERE c.castsource = t.oid AND c.casttarget = 'json'::regtype AND c.castmethod = 'f'), '{}')
            END AS definition
        FROM used JOIN pg_type t USING (oid)
    )
    SELECT coalesce(jsonb_object_agg(oid::text, definition) FILTER (WHERE definition IS NOT NULL), '{}') FROM defined
$function$;

-- name: [schema, table]. root: the same of the table under which rows are recorded. columns: {name: type}.
-- key: columns of the primary key in its order. types: what _bemi.types_v1 says of the columns' types. generated:
-- [column, type as SQL, expression] of those that are computed; expressions: a fingerprint of each, because the
-- server takes a lock on the table to print it.
CREATE FUNCTION _bemi.describe_v1(target oid, is_whole boolean DEFAULT true) RETURNS jsonb
LANGUAGE sql STABLE
SET jit = off
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT jsonb_build_object(
        'name', jsonb_build_array(n.nspname, c.relname),
        'root', (
            SELECT jsonb_build_array(rn.nspname, r.relname)
            FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
            WHERE r.oid = coalesce(pg_partition_root(target), target)),
        'columns', (
            SELECT coalesce(jsonb_object_agg(attname, atttypid::bigint), '{}')
            FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped),
        'key', (
            SELECT coalesce(jsonb_agg(a.attname ORDER BY k.place), '[]')
            FROM pg_index i
            CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indrelid = target AND i.indisprimary AND k.place <= i.indnkeyatts),
        'types', _bemi.types_v1(ARRAY(
            SELECT atttypid FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped)))
        || (
            SELECT jsonb_build_object(
                'expressions', coalesce(jsonb_object_agg(a.attname, md5(a.atttypmod || d.adbin::text)), '{}'))
                || CASE WHEN is_whole THEN jsonb_build_object('generated', coalesce(jsonb_agg(jsonb_build_array(
                    a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid))
                    ORDER BY a.attnum) FILTER (WHERE is_whole), '[]')) ELSE '{}' END
            FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = target AND a.attgenerated <> '' AND NOT a.attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = target
$function$;

-- The description of a table that holds since the last DDL that was noticed; NULL for a new table.
CREATE FUNCTION _bemi.known_v1(target oid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT description FROM _bemi.relations
    WHERE relation = target AND system = (pg_control_system()).system_identifier
    ORDER BY since DESC LIMIT 1
$function$;

-- Every statement that brings the tables in line with the arguments, table by table; an empty one says that a
-- table cannot be tracked, and why. restores: what it mends may have been taken off on purpose. Patterns are
-- LIKE's on schema.table; a partition counts under the name of its root.
CREATE FUNCTION _bemi.plan_v1(publication name, include text[], exclude text[], targets oid[] DEFAULT NULL)
RETURNS TABLE (relation oid, name text, what text, statement text, restores boolean)
LANGUAGE sql STABLE
SET jit = off
SET search_path = pg_catalog, pg_temp
AS $function$
    WITH relations AS (
        SELECT c.oid, c.relkind, c.relreplident, c.relispartition, virtual.is_there AS has_virtual,
               n.nspname || '.' || c.relname AS name,
               format('%I.%I', n.nspname, c.relname) AS quoted,
               c.relpersistence <> 't'
                   AND root.name LIKE ANY (include) AND NOT root.name LIKE ANY (exclude)
                   AND root.oid NOT IN (SELECT _bemi.ours_v1())
                   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                   AND d.objid = c.oid AND d.deptype = 'e') AS is_wanted,
               CASE
                   WHEN c.relpersistence = 'u' THEN 'unlogged'
                   WHEN virtual.is_there AND NOT EXISTS (
                       SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate)
                       THEN 'virtual columns and no primary key'
               END AS obstacle,
               EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                       WHERE r.prrelid = c.oid AND p.pubname = publication) AS is_published,
               EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                       WHERE r.prrelid = c.oid AND p.pubname <> publication) AS is_published_elsewhere,
               (SELECT count(*) FROM pg_trigger t
                WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')) AS triggers,
               (SELECT count(*) FROM pg_trigger t
                WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
                  AND t.tgenabled <> 'D' AND t.tgfoid = '_bemi.capture_v1()'::regprocedure) AS current_triggers,
               _bemi.known_v1(c.oid) AS known
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT rc.oid, rn.nspname || '.' || rc.relname AS name
            FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
            WHERE rc.oid = coalesce(pg_partition_root(c.oid), c.oid)) root
        -- PostgreSQL 18 refuses UPDATE and DELETE of a published table that has virtual generated columns
        -- and the identity FULL: there only the key is known of the row before.
        CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM pg_attribute a
                           WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped) AS is_there
        ) virtual
        WHERE c.relkind IN ('r', 'p') AND (targets IS NULL OR c.oid = ANY (targets))
    ),
    decided AS (
        SELECT *, is_wanted AND obstacle IS NULL AS is_chosen,
               -- A partition was tracked with its root; it is a table of its own once it is detached.
               known IS NULL OR NOT relispartition AND known -> 'root' <> known -> 'name' AS is_new
        FROM relations
    )
    SELECT r.oid, r.name, step.what, step.statement,
           NOT r.is_new AND step.what IN ('triggers', 'replica identity full', 'published')
    FROM decided r
    CROSS JOIN LATERAL (VALUES
        (0, r.is_wanted AND r.obstacle IS NOT NULL, r.obstacle, ''),
        -- First: where sync does the other steps, the event trigger must not take the table for a new one.
        (1, r.is_chosen AND _bemi.describe_v1(r.oid, false) IS DISTINCT FROM known - 'generated', 'described', format(
            'INSERT INTO _bemi.relations (relation, description) VALUES (%1$s, _bemi.describe_v1(%1$s)); '
            'SELECT pg_catalog.pg_logical_emit_message(true, ''_bemi_ddl'', '''')', r.oid)),
        (2, r.is_chosen AND r.current_triggers < 2, 'triggers', format(
            'CREATE OR REPLACE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON %1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1(); '
            'CREATE OR REPLACE TRIGGER _bemi_capture_truncate BEFORE TRUNCATE ON %1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1(); '
            'ALTER TABLE %1$s ENABLE TRIGGER _bemi_capture, ENABLE TRIGGER _bemi_capture_truncate',
            r.quoted)),
        (3, r.is_chosen AND r.relkind = 'r' AND NOT r.has_virtual AND r.relreplident <> 'f',
            'replica identity full', format('ALTER TABLE %s REPLICA IDENTITY FULL', r.quoted)),
        (3, r.is_chosen AND r.relkind = 'r' AND r.has_virtual AND r.relreplident = 'f',
            'replica identity default', format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', r.quoted)),
        -- A partition is published with its root.
        (4, r.is_chosen AND NOT r.relispartition AND NOT r.is_published, 'published',
            format('ALTER PUBLICATION %I ADD TABLE ONLY %s', publication, r.quoted)),
        (5, NOT r.is_chosen AND r.is_published, 'no longer published',
            format('ALTER PUBLICATION %I DROP TABLE ONLY %s', publication, r.quoted)),
        (6, NOT r.is_chosen AND r.triggers > 0, 'no triggers', format(
            'DROP TRIGGER IF EXISTS _bemi_capture ON %1$s; '
            'DROP TRIGGER IF EXISTS _bemi_capture_truncate ON %1$s', r.quoted)),
        -- Nobody else reads the old rows: FULL would only cost WAL.
        (7, NOT r.is_chosen AND r.triggers > 0 AND r.relkind = 'r' AND r.relreplident = 'f'
            AND NOT r.is_published_elsewhere, 'replica identity default',
            format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', r.quoted))
    ) step (number, is_due, what, statement)
    WHERE step.is_due
    ORDER BY r.name, r.oid, step.number
$function$;

-- For the event triggers: tracks a new table at once, remembers how an altered one is described from now on,
-- and never makes the user's command fail.
CREATE FUNCTION _bemi.follow_ddl_v1() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Two open transactions with new tables meet at the publication: the second must not wait for the first.
SET lock_timeout = '200ms'
AS $function$
DECLARE
    tables oid[];
    schemas oid[];
    types oid[];
    touched oid[];
    chosen _bemi.tracking;
    due record;
    step text;
    is_gone boolean := false;
BEGIN
    -- What is done below sets off event triggers too.
    IF current_setting('_bemi.is_following', true) = 'yes' THEN
        RETURN;
    END IF;
    IF TG_EVENT = 'sql_drop' THEN
        -- A type takes its columns with it, a cast the look of its type.
        SELECT coalesce(bool_or(classid = 'pg_class'::regclass AND objsubid = 0), false),
               array_agg(objid) FILTER (WHERE object_type = 'table column'),
               CASE WHEN bool_or(object_type = 'cast') THEN ARRAY(
                   SELECT DISTINCT type.key::oid FROM _bemi.relations k, jsonb_each(k.description -> 'types') type
                   WHERE type.value ? 'cast') END
        FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary
        INTO is_gone, tables, types;
    ELSE
        SELECT array_agg(c.oid), array_agg(n.oid), array_agg(coalesce(c.reltype, t.oid, k.castsource))
        FROM pg_event_trigger_ddl_commands() done
        LEFT JOIN pg_class c ON done.classid = 'pg_class'::regclass AND c.oid = done.objid
        LEFT JOIN pg_namespace n ON done.classid = 'pg_namespace'::regclass AND n.oid = done.objid
        LEFT JOIN pg_type t ON done.classid = 'pg_type'::regclass AND t.oid = done.objid
        LEFT JOIN pg_cast k ON done.classid = 'pg_cast'::regclass AND k.oid = done.objid
        WHERE done.schema_name IS DISTINCT FROM 'pg_temp'
        INTO tables, schemas, types;
    END IF;
    touched := ARRAY(
        WITH RECURSIVE family (oid) AS (
            (
                SELECT unnest(tables)
                UNION
                SELECT c.oid FROM pg_class c WHERE c.relnamespace = ANY (schemas) OR c.reloftype = ANY (types)
                UNION
                SELECT k.relation FROM _bemi.relations k WHERE k.description -> 'types' ?| types::text[]
                UNION
                -- Which partition was detached the command does not say.
                SELECT c.oid FROM pg_class c
                WHERE TG_TAG = 'ALTER TABLE' AND NOT c.relispartition AND c.oid IN (
                    SELECT k.relation FROM _bemi.relations k WHERE k.description -> 'root' <> k.description -> 'name')
            )
            UNION
            SELECT i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
        )
        SELECT oid FROM family WHERE oid IS NOT NULL);
    IF touched = '{}' AND NOT is_gone THEN
        RETURN;
    END IF;
    SELECT * FROM _bemi.tracking INTO chosen;
    PERFORM set_config('_bemi.is_following', 'yes', true);
    FOR due IN
        SELECT plan.relation, min(plan.name) AS name, array_agg(plan.statement ORDER BY plan.number) AS steps
        FROM _bemi.plan_v1(chosen.publication::name, chosen.include, chosen.exclude, touched)
            WITH ORDINALITY plan (relation, name, what, statement, restores, number)
        -- What an administrator takes off a table stays off until the next sync.
        WHERE NOT plan.restores AND plan.statement <> ''
        GROUP BY plan.relation
    LOOP
        BEGIN
            FOREACH step IN ARRAY due.steps LOOP
                EXECUTE step;
            END LOOP;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'table % is not tracked yet: run manage.py bemi sync (%)', due.name, SQLERRM;
        END;
    END LOOP;
    -- Where the log lives here, too.
    BEGIN
        IF to_regprocedure('_bemi.past_refresh_v1(oid[])') IS NOT NULL THEN
            EXECUTE 'SELECT count(*) FROM _bemi.past_refresh_v1($1)' USING touched;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'as_of() does not know the tables as they are now: run manage.py bemi sync (%)', SQLERRM;
    END;
    PERFORM set_config('_bemi.is_following', 'no', true);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'tables may not be tracked as they are now: run manage.py bemi sync (%)', SQLERRM;
END
$function$;

-- Makes the event triggers that are missing or of another form, and returns their names. Providers let more roles than
-- superusers make some; where the role may not, sync and migrate are the only notice of DDL.
CREATE FUNCTION _bemi.event_triggers_v1(dry_run boolean DEFAULT false) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    wanted record;
    is_made boolean;
BEGIN
    FOR wanted IN
        SELECT v.name, v.event, v.tags FROM (VALUES
            ('_bemi_follow_ddl', 'ddl_command_end', ARRAY[
                'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA', 'CREATE CAST',
                'ALTER TABLE', 'ALTER TYPE', 'ALTER SCHEMA']),
            -- Without tags: what drops a type or a function may drop columns.
            ('_bemi_follow_drop', 'sql_drop', '{}')
        ) v (name, event, tags)
        WHERE NOT EXISTS (
            SELECT FROM pg_event_trigger e
            WHERE e.evtname = v.name AND e.evtevent = v.event AND e.evtfoid = '_bemi.follow_ddl_v1()'::regprocedure
                AND coalesce(e.evttags, '{}') <@ v.tags AND coalesce(e.evttags, '{}') @> v.tags)
    LOOP
        is_made := true;
        BEGIN
            IF EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtname = wanted.name) THEN
                EXECUTE format('DROP EVENT TRIGGER %I', wanted.name);
            END IF;
            EXECUTE format('CREATE EVENT TRIGGER %I ON %I %s EXECUTE FUNCTION _bemi.follow_ddl_v1()', wanted.name, wanted.event,
                (SELECT 'WHEN TAG IN (' || string_agg(quote_literal(tag), ', ') || ')' FROM unnest(wanted.tags) tag));
            IF dry_run THEN
                RAISE EXCEPTION USING ERRCODE = 'BEMI0';
            END IF;
        EXCEPTION
            WHEN SQLSTATE 'BEMI0' THEN
                NULL;
            WHEN insufficient_privilege THEN
                is_made := false;
        END;
        IF is_made THEN
            RETURN NEXT wanted.name;
        END IF;
    END LOOP;
END
$function$;
REVOKE ALL ON FUNCTION _bemi.follow_ddl_v1() FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
