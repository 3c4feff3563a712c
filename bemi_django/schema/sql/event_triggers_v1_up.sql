-- The event triggers, which follow DDL.

-- What the event triggers saw of a table when they last brought everything in line with it: most commands change
-- nothing of that, and need no more than a look; most others change columns only.
CREATE TABLE _bemi.followed (
    relation oid PRIMARY KEY,
    -- Of all on which depends whether and how the table is tracked.
    standing text NOT NULL,
    -- Of the columns and the key.
    signature text NOT NULL
);
REVOKE ALL ON _bemi.followed FROM PUBLIC;

-- Return a signature for each table of all that its tracking, its description and its view of the past depend on, other
-- than the definitions of types. Tables with parents, children or generated columns have none. "is_tracked" is true of
-- tables with a trigger of ours. The indexes return all parts in order. Columns are named: the server stores all that * stands
-- for, and another version, into which this is restored, does not have all of them.
CREATE FUNCTION _bemi.signatures_v1(targets oid[], chosen text)
RETURNS TABLE (relation oid, standing text, signature text, is_tracked boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.oid,
        md5(concat_ws(' ', chosen, c.reltype, c.relnamespace::regnamespace, quote_ident(c.relname), c.relpersistence,
            c.relreplident, triggers.shown, ARRAY(
                SELECT r.prpubid FROM pg_publication_rel r WHERE r.prrelid = c.oid ORDER BY r.prpubid))),
        md5(concat_ws(' ', attributes.shown,
            (SELECT concat_ws(',', i.indkey, i.indnkeyatts, i.indimmediate) FROM pg_index i
             WHERE i.indrelid = c.oid AND i.indisprimary))),
        triggers.shown IS NOT NULL
    FROM pg_class c
    CROSS JOIN LATERAL (
        SELECT string_agg(concat_ws(
                   ',', a.attnum, quote_ident(a.attname), a.atttypid, quote_nullable(a.attmissingval::text)), ' ') AS shown,
               count(*) FILTER (WHERE a.attgenerated <> '') AS generated
        FROM (
            SELECT a.attnum, a.attname, a.atttypid, a.attmissingval, a.attgenerated
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum) a) attributes
    CROSS JOIN LATERAL (
        SELECT string_agg(concat(t.tgname, t.tgenabled, t.tgfoid), ' ') AS shown
        FROM (
            SELECT t.tgname, t.tgenabled, t.tgfoid FROM pg_trigger t
            WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
            ORDER BY t.tgname) t) triggers
    WHERE c.oid = ANY (targets) AND c.relkind = 'r' AND NOT c.relispartition AND NOT c.relhassubclass
        AND attributes.generated = 0 AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid);
END;

-- Called by the event triggers. It tracks new tables, remembers the description of altered ones, and never makes the
-- user's command fail.
CREATE FUNCTION _bemi.follow_ddl_v1() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Two open transactions that create tables meet at the publication. The second must not wait for the first.
SET lock_timeout = '200ms'
-- Whoever alters a table need not know of ours.
SET client_min_messages = warning
-- Planning takes much longer than running, and the plan is the same for all tables.
SET plan_cache_mode = force_generic_plan
-- In a database that is new, the plans are made while the catalogs are small.
SET enable_seqscan = off
SET jit = off
AS $function$
DECLARE
    -- A command that makes or drops them for a table names the table as well.
    parts constant text[] := '{index,sequence,toast table}';
    is_new constant boolean := TG_TAG = ANY ('{CREATE TABLE,CREATE TABLE AS,SELECT INTO}');
    seen record;
    schemas oid[];
    types oid[];
    touched oid[];
    relatives record;
    due record;
    spare record;
    is_gone boolean := false;
    is_done boolean := true;
    are_tracked boolean;
    needed pg_lsn;
BEGIN
    -- The statements below fire event triggers, too.
    IF current_setting('_bemi.is_following', true) = 'yes' THEN
        RETURN;
    END IF;
    IF TG_EVENT = 'sql_drop' THEN
        -- Dropping a type drops its columns. Dropping a cast changes how its type is rendered.
        SELECT t.publication::name, t.include, t.exclude, t::text AS shown, false AS are_tracked, gone.*
        FROM _bemi.tracking t, (
            SELECT bool_or(classid = 'pg_class'::regclass AND objsubid = 0 AND object_type <> ALL (parts)) AS is_gone,
                   array_agg(objid) FILTER (WHERE classid = 'pg_class'::regclass AND object_type <> ALL (parts)) AS tables,
                   CASE WHEN bool_or(object_type = 'cast') THEN ARRAY(
                       SELECT DISTINCT type.key::oid FROM _bemi.relations k, jsonb_each(k.description -> 'types') type
                       WHERE type.value ? 'cast') END AS types,
                   coalesce(bool_or(classid = 'pg_proc'::regclass), false) AS is_wide
            FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary) gone
        INTO seen;
        is_gone := coalesce(seen.is_gone, false);
        types := seen.types;
        -- At the end of the command, the other event trigger looks at the tables that it has altered. With a function
        -- that reads a column, casts and columns of other tables go.
        IF NOT is_gone AND (TG_TAG = 'ALTER TABLE' AND NOT seen.is_wide OR num_nonnulls(seen.tables, types) = 0) THEN
            RETURN;
        END IF;
    ELSIF is_new THEN
        SELECT t.publication::name, t.include, t.exclude, t::text AS shown, false AS are_tracked, ARRAY(
            SELECT objid FROM pg_event_trigger_ddl_commands()
            WHERE classid = 'pg_class'::regclass AND object_type <> ALL (parts)
                AND schema_name IS DISTINCT FROM 'pg_temp') AS tables
        FROM _bemi.tracking t INTO seen;
        -- A temporary one.
        IF seen.tables = '{}' THEN
            RETURN;
        END IF;
    ELSE
        -- A table with the same signature needs nothing, and neither do the tables that depend on its type. If only its
        -- columns or its key have changed, it is tracked as before.
        SELECT t.publication::name, t.include, t.exclude, t::text AS shown, changed.*, made.*
        FROM _bemi.tracking t
        CROSS JOIN (
            SELECT array_agg(objid) FILTER (WHERE classid = 'pg_class'::regclass AND object_type <> ALL (parts)) AS named,
                   array_agg(objid) FILTER (WHERE classid = 'pg_namespace'::regclass) AS schemas,
                   array_agg(objid) FILTER (WHERE classid = 'pg_type'::regclass) AS types,
                   array_agg(objid) FILTER (WHERE classid = 'pg_cast'::regclass) AS casts,
                   array_agg(objid) FILTER (WHERE classid = 'pg_proc'::regclass) AS functions
            FROM pg_event_trigger_ddl_commands() WHERE schema_name IS DISTINCT FROM 'pg_temp') made
        CROSS JOIN LATERAL (
            SELECT array_agg(c.oid) AS tables,
                   bool_and(coalesce(s.is_tracked AND s.standing = k.standing, false)) AS are_tracked
            FROM unnest(made.named) c (oid)
            LEFT JOIN _bemi.followed k ON k.relation = c.oid
            LEFT JOIN LATERAL _bemi.signatures_v1(ARRAY[c.oid], t::text) s ON k.relation IS NOT NULL
            WHERE k.relation IS NULL OR (k.standing, k.signature) IS DISTINCT FROM (s.standing, s.signature)) changed
        INTO seen;
        types := seen.types;
        IF seen.tables IS NULL AND num_nonnulls(seen.schemas, types, seen.casts, seen.functions) = 0 THEN
            RETURN;
        END IF;
        -- An index has no type.
        types := coalesce(types, '{}') || ARRAY(
            SELECT c.reltype FROM pg_class c WHERE c.oid = ANY (seen.tables) AND c.reltype <> 0);
        IF num_nonnulls(seen.casts, seen.functions) > 0 THEN
            types := types || ARRAY(
                SELECT k.castsource FROM pg_cast k
                WHERE k.oid = ANY (seen.casts)
                    -- A function that is replaced keeps its oid, and a cast by it renders another JSON.
                    OR k.castfunc = ANY (seen.functions) AND k.casttarget = 'json'::regtype);
        END IF;
        schemas := seen.schemas;
    END IF;
    touched := coalesce(seen.tables, '{}');
    -- Nothing depends on a table that is new.
    IF NOT is_new THEN
        touched := ARRAY(
            SELECT unnest(touched)
            UNION ALL
            SELECT c.oid FROM pg_class c WHERE schemas IS NOT NULL AND c.relnamespace = ANY (schemas)
            UNION ALL
            -- Tables of the type depend on it.
            SELECT d.objid FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY (types)
            UNION ALL
            SELECT k.relation FROM _bemi.relations k WHERE k.description -> 'types' ?| types::text[]
            UNION ALL
            -- The command does not say which partition was detached.
            SELECT c.oid FROM pg_class c
            WHERE TG_TAG = 'ALTER TABLE' AND NOT c.relispartition AND c.oid IN (
                SELECT k.relation FROM _bemi.relations k WHERE k.description -> 'root' <> k.description -> 'name'));
    END IF;
    are_tracked := coalesce(seen.are_tracked AND touched <@ seen.tables, false);
    IF NOT are_tracked THEN
        -- The command does not say whose child a table is no longer, or was.
        IF TG_TAG = 'ALTER TABLE' OR is_gone THEN
            touched := ARRAY(
                SELECT unnest(touched)
                UNION
                SELECT parent::oid
                FROM _bemi.relations k CROSS JOIN jsonb_array_elements_text(k.description -> 'named_by') parent
                WHERE k.relation = ANY (touched) AND EXISTS (
                    SELECT FROM pg_class c
                    WHERE c.oid = parent::oid AND c.relkind = 'r' AND (
                        TG_TAG = 'ALTER TABLE' OR NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid))));
        END IF;
        SELECT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = ANY (touched)) AS parents,
               EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = ANY (touched)) AS children
        INTO relatives;
        -- A recursive query allocates its hash table even if there is nothing to descend to.
        IF relatives.parents THEN
            touched := ARRAY(
                WITH RECURSIVE family (oid) AS (
                    SELECT unnest(touched)
                    UNION
                    SELECT i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
                )
                SELECT oid FROM family);
        END IF;
        -- The command names the child only. What a query of its parent reads is another matter from now on.
        IF relatives.parents OR relatives.children THEN
            touched := ARRAY(
                SELECT unnest(touched)
                UNION
                SELECT i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
                WHERE i.inhrelid = ANY (touched) AND c.relkind = 'r');
        END IF;
        IF touched = '{}' AND NOT is_gone THEN
            RETURN;
        END IF;
    END IF;
    PERFORM set_config('_bemi.is_following', 'yes', true);
    IF are_tracked THEN
        INSERT INTO _bemi.relations (relation, description)
        SELECT d.relation, d.description FROM _bemi.describe_v1(touched) d
        WHERE d.description IS DISTINCT FROM (
            SELECT k.description FROM _bemi.relations k, pg_control_system() here
            WHERE k.relation = d.relation AND k.system = here.system_identifier
            ORDER BY k.since DESC LIMIT 1);
        IF FOUND THEN
            PERFORM pg_logical_emit_message(true, '_bemi_ddl', '');
        END IF;
    ELSE
        FOR due IN
            SELECT plan.relation, min(plan.name) AS name,
                   string_agg(plan.statement, '; ' ORDER BY plan.number) FILTER (WHERE plan.what <> 'described') AS steps,
                   bool_or(plan.what = 'described') AS is_described
            FROM _bemi.plan_v1(seen.publication, seen.include, seen.exclude, touched)
                WITH ORDINALITY plan (relation, name, what, statement, restores, number)
            -- Do not restore what an administrator removed from a table. The next sync does.
            WHERE NOT plan.restores AND plan.statement <> ''
            GROUP BY plan.relation
        LOOP
            BEGIN
                IF due.steps IS NOT NULL THEN
                    EXECUTE due.steps;
                END IF;
                IF due.is_described THEN
                    INSERT INTO _bemi.relations (relation, description)
                    SELECT d.relation, d.description FROM _bemi.describe_v1(ARRAY[due.relation]) d;
                    PERFORM pg_logical_emit_message(true, '_bemi_ddl', '');
                END IF;
            EXCEPTION WHEN OTHERS THEN
                is_done := false;
                RAISE WARNING 'table % is not tracked yet: run manage.py bemi sync (%)', due.name, SQLERRM;
            END;
        END LOOP;
    END IF;
    -- Only if this database holds the log as well.
    BEGIN
        IF to_regproc('_bemi.past_follow_v1') IS NOT NULL THEN
            PERFORM _bemi.past_follow_v1(touched, is_gone, are_tracked, TG_TAG LIKE 'ALTER %');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        is_done := false;
        RAISE WARNING 'as_of() does not know the tables as they are now: run manage.py bemi sync (%)', SQLERRM;
    END;
    -- Remove what nobody will need of what the slots have passed: the descriptions of dropped tables but for the last
    -- hundred, by which bemi restore-table makes them anew; and the ones between two others of the same name and key to
    -- which columns were only added. bemi verify needs the rest.
    IF is_gone THEN
        UPDATE _bemi.relations k SET ended = pg_current_wal_insert_lsn()
        WHERE k.relation = ANY (touched) AND k.ended IS NULL
            AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation);
        DELETE FROM _bemi.replica_identities k
        WHERE k.relation = ANY (touched) AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation);
    END IF;
    -- There is nothing between fewer than three.
    SELECT EXISTS (SELECT FROM _bemi.relations k WHERE k.relation = ANY (touched) OFFSET 2) AS is_between,
           EXISTS (
               SELECT FROM _bemi.relations k
               WHERE k.ended IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation)
               OFFSET 100) AS is_dropped
    INTO spare;
    IF spare.is_between OR spare.is_dropped THEN
        SELECT min(restart_lsn) FROM pg_replication_slots WHERE database = current_database() INTO needed;
        DELETE FROM _bemi.relations k
        WHERE k.ended < needed AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation) AND k.ended < (
            SELECT d.ended FROM _bemi.relations d
            WHERE d.ended IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relation)
            ORDER BY d.ended DESC OFFSET 99 LIMIT 1);
    END IF;
    IF spare.is_between AND needed IS NOT NULL THEN
        DELETE FROM _bemi.relations k USING (
            SELECT d.relation, d.since, d.system,
                   lag(d.description) OVER versions AS before, lead(d.description) OVER versions AS after,
                   lead(d.since) OVER versions AS until
            FROM _bemi.relations d WHERE d.relation = ANY (touched)
            -- The first one since the table is tracked again says since when.
            WINDOW versions AS (PARTITION BY d.relation, d.system, d.ended ORDER BY d.since)
        ) v
        WHERE v.relation = k.relation AND v.since = k.since AND v.system = k.system AND v.until < needed
            AND (
                SELECT bool_and(v.before -> part = k.description -> part AND v.after -> part = k.description -> part)
                FROM unnest('{name,root,key}'::text[]) part)
            AND v.after -> 'columns' @> (k.description -> 'columns')
            AND v.after -> 'numbers' @> (k.description -> 'numbers');
    END IF;
    IF NOT (are_tracked OR is_new) OR NOT is_done THEN
        DELETE FROM _bemi.followed k WHERE k.relation = ANY (touched);
    END IF;
    IF is_done THEN
        INSERT INTO _bemi.followed (relation, standing, signature)
        SELECT s.relation, s.standing, s.signature FROM _bemi.signatures_v1(touched, seen.shown) s
        ON CONFLICT (relation) DO UPDATE SET standing = excluded.standing, signature = excluded.signature;
    END IF;
    PERFORM set_config('_bemi.is_following', 'no', true);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'tables may not be tracked as they are now: run manage.py bemi sync (%)', SQLERRM;
END
$function$;

-- Create the event triggers that are missing or differ, and return their names. Some providers let roles other than
-- superusers create them. Where the role may not, the log learns about DDL only from sync, and so from migrate.
CREATE FUNCTION _bemi.event_triggers_v1(dry_run boolean DEFAULT false) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    wanted record;
    is_made boolean;
BEGIN
    FOR wanted IN
        SELECT v.name, v.event, v.tags FROM (VALUES
            ('_bemi_follow_ddl', 'ddl_command_end', ARRAY[
                'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA', 'CREATE CAST',
                'ALTER TABLE', 'ALTER TYPE', 'ALTER SCHEMA', 'CREATE FUNCTION',
                -- In the past they read the present, so a query of one is refused.
                'CREATE VIEW', 'CREATE MATERIALIZED VIEW', 'CREATE FOREIGN TABLE', 'IMPORT FOREIGN SCHEMA',
                'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE']),
            -- This one has no tags: whatever drops a type or a function may drop columns.
            ('_bemi_follow_drop', 'sql_drop', '{}')
        ) v (name, event, tags)
        WHERE NOT EXISTS (
            SELECT FROM pg_event_trigger e
            WHERE e.evtname = v.name AND e.evtevent = v.event AND e.evtenabled = 'A' AND e.evtfoid = '_bemi.follow_ddl_v1()'::regprocedure
                AND coalesce(e.evttags, '{}') <@ v.tags AND coalesce(e.evttags, '{}') @> v.tags)
    LOOP
        is_made := true;
        BEGIN
            IF EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtname = wanted.name) THEN
                EXECUTE format('DROP EVENT TRIGGER %I', wanted.name);
            END IF;
            EXECUTE format('CREATE EVENT TRIGGER %I ON %I %s EXECUTE FUNCTION _bemi.follow_ddl_v1()', wanted.name, wanted.event,
                (SELECT 'WHEN TAG IN (' || string_agg(quote_literal(tag), ', ') || ')' FROM unnest(wanted.tags) tag));
            -- Even where session_replication_role turns other triggers off.
            EXECUTE format('ALTER EVENT TRIGGER %I ENABLE ALWAYS', wanted.name);
            IF dry_run THEN
                RAISE EXCEPTION USING ERRCODE = 'BEMI0';
            END IF;
        EXCEPTION
            WHEN SQLSTATE 'BEMI0' THEN
                NULL;
            -- Two sessions may do this at once.
            WHEN insufficient_privilege OR duplicate_object OR undefined_object OR unique_violation OR internal_error THEN
                is_made := false;
        END;
        IF is_made THEN
            RETURN NEXT wanted.name;
        END IF;
    END LOOP;
END
$function$;

REVOKE ALL ON FUNCTION _bemi.follow_ddl_v1() FROM PUBLIC;
