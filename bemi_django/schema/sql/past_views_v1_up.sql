-- The views of the past, kept in line with the tables.

-- Return every table, view and partition that queries may name, the reason if its past cannot be derived, the columns
-- of its key, and whether that is deferrable.
CREATE FUNCTION _bemi.past_plan_v1(publication name, targets oid[] DEFAULT NULL)
RETURNS TABLE (relation oid, schema text, name text, reason text, key int2[], is_deferrable boolean)
LANGUAGE plpgsql STABLE
SET jit = off
-- Planning takes much longer than running, and the plan is the same for all tables.
SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    published constant oid := (SELECT p.oid FROM pg_publication p WHERE p.pubname = publication);
    asked oid[] := targets;
BEGIN
    IF targets IS NULL THEN
        asked := ARRAY(
            SELECT c.oid FROM pg_class c WHERE c.relnamespace IN (
                SELECT t.relnamespace FROM pg_publication_rel r JOIN pg_class t ON t.oid = r.prrelid
                WHERE r.prpubid = published));
    END IF;
    RETURN QUERY
    SELECT c.oid, n.nspname::text, c.relname::text, CASE
        WHEN c.relkind NOT IN ('r', 'p') THEN
            'is a view: it is bound to the tables as they are; query the tables that it is made of'
        WHEN c.relispartition THEN
            format('is a partition: query %s', (SELECT relname FROM pg_class WHERE oid = pg_partition_root(c.oid)))
        WHEN NOT published_here.is_there THEN
            'is not tracked: nothing is known of its past (BEMI_INCLUDE, BEMI_EXCLUDE)'
        WHEN keys.columns IS NULL THEN
            'has no primary key: which of its rows a change was of, the log does not know'
        WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) THEN
            'has children by inheritance: their rows have logs of their own'
        END, coalesce(keys.columns, '{}'), coalesce(keys.are_deferrable, false)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns, NOT i.indimmediate AS are_deferrable
        FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary OFFSET 0) keys ON true
    CROSS JOIN LATERAL (
        SELECT count(*) > 0 AS is_there FROM pg_publication_rel r
        WHERE r.prrelid = c.oid AND r.prpubid = published) published_here
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND c.oid = ANY (asked)
        -- A table without columns needs no view.
        AND (SELECT count(*) > 0 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
        -- In schemas of which a table is tracked. They have one for their past, or get it with their first table.
        AND (targets IS NULL OR published_here.is_there
            -- The schema of its past stays when no table is tracked any more.
            OR (SELECT true FROM _bemi.past k WHERE k.schema = n.nspname::text COLLATE "default" AND k.definition <> '' LIMIT 1)
            OR (SELECT true FROM _bemi.past k WHERE k.schema = n.nspname::text COLLATE "default" AND k.is_due LIMIT 1))
        -- Ours are not published.
        AND (published_here.is_there OR c.oid NOT IN (SELECT o.oid FROM _bemi.ours_v1(asked) o (oid)));
END
$function$;

-- Return a fingerprint for each table of everything that the text of its view is made from, so that unchanged views are
-- found without making it.
CREATE FUNCTION _bemi.past_fingerprints_v1(targets oid[]) RETURNS TABLE (relation oid, fingerprint text)
LANGUAGE plpgsql STABLE
SET jit = off
-- As past_columns_v1.
SET datestyle = 'ISO'
SET extra_float_digits = 1
SET intervalstyle = 'postgres'
SET timezone = 'UTC'
SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    -- What concerns all views: the functions that make them, the log, and whether a view may depend on a type.
    common constant text := (
        SELECT concat(_bemi.log_v1(), string_agg(p.prosrc, '' ORDER BY p.proname), (
            SELECT e.evtenabled FROM pg_event_trigger e WHERE e.evtname = '_bemi_follow_drop'))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = '_bemi' AND p.proname IN (
            'past_query_v1', 'past_columns_v1', 'past_key_v1', 'past_form_v1', 'past_type_v1',
            'past_schema_v1', 'type_v1', 'base_type_v1'));
BEGIN
    RETURN QUERY
    WITH RECURSIVE used (type, oid, depth) AS (
        SELECT DISTINCT a.atttypid, a.atttypid, 0 FROM pg_attribute a
        WHERE a.attrelid = ANY (targets) AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT u.type, t.typbasetype, u.depth + 1
        FROM used u
        CROSS JOIN LATERAL (SELECT t.typbasetype FROM pg_type t WHERE t.oid = u.oid AND t.typtype = 'd' OFFSET 0) t
    ),
    types AS (
        SELECT u.type, string_agg(concat_ws(
            ' ', n.nspname, t.typname, t.typtype, t.typelem,
            (SELECT e.typarray FROM pg_type e WHERE e.oid = t.typelem) = t.oid,
            EXISTS (SELECT FROM pg_cast k WHERE k.castsource = 'text'::regtype AND k.casttarget = t.oid
                    AND k.castmethod = 'f'),
            (SELECT count(*) FROM pg_depend d WHERE d.classid = 'pg_type'::regclass
                    AND d.objid = coalesce(nullif(t.typelem, 0), t.oid) AND d.deptype = 'e')), ', ' ORDER BY u.depth) AS shown
        FROM used u
        CROSS JOIN LATERAL (SELECT t.* FROM pg_type t WHERE t.oid = u.oid OFFSET 0) t
        JOIN pg_namespace n ON n.oid = t.typnamespace
        GROUP BY u.type
    )
    SELECT a.attrelid, md5(common || string_agg(
        format('%s %I %s %L', a.attnum, a.attname, t.shown, CASE WHEN a.atthasmissing THEN a.attmissingval::text END),
        ', ' ORDER BY a.attnum))
    FROM pg_attribute a JOIN types t ON t.type = a.atttypid
    WHERE a.attrelid = ANY (targets) AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY a.attrelid;
END
$function$;

-- Return the names that the columns of a table have had, the newest first, by those that were known.
CREATE FUNCTION _bemi.past_names_v1(relation oid, known jsonb) RETURNS TABLE (number text, names jsonb)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT a.attnum::text, CASE
        WHEN known -> a.attnum::text ->> 0 = a.attname THEN known -> a.attnum::text
        ELSE jsonb_build_array(a.attname) || coalesce(known -> a.attnum::text, '[]') END
    FROM pg_attribute a WHERE a.attrelid = past_names_v1.relation AND a.attnum > 0 AND NOT a.attisdropped;
END;

-- Return what a command has changed in the names of a table's columns, as an array with an entry of _bemi.past.layouts, or
-- '[]' if it has changed none.
CREATE FUNCTION _bemi.past_layout_v1(relation oid, known jsonb, is_noticed boolean) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    altered constant jsonb := (
        SELECT jsonb_object_agg(coalesce(a.attnum::text, old.number), a.attname)
        FROM (SELECT n.key AS number, n.value ->> 0 AS name FROM jsonb_each(known) n) old
        FULL JOIN (
            SELECT a.attnum, a.attname FROM pg_attribute a
            WHERE a.attrelid = past_layout_v1.relation AND a.attnum > 0 AND NOT a.attisdropped) a
            ON a.attnum::text = old.number
        WHERE a.attname::text IS DISTINCT FROM old.name);
BEGIN
    RETURN CASE WHEN altered IS NULL THEN '[]' ELSE jsonb_build_array(jsonb_build_array(
        pg_current_wal_insert_lsn() - '0/0', pg_current_xact_id()::text::bigint,
        (SELECT s.system_identifier FROM pg_control_system() s), is_noticed, altered)) END;
END
$function$;

-- Remember of planned tables, as _bemi.past_plan_v1 returns them, what cannot be told later: from where on they are tracked
-- under their name and key, and what their columns are called. Their views are to be made. "is_noticed" tells whether
-- the command that altered them has just been executed.
CREATE FUNCTION _bemi.past_note_v1(planned jsonb, is_noticed boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    here constant pg_lsn := pg_current_wal_insert_lsn();
BEGIN
    INSERT INTO _bemi.past AS k (relation, schema, name, since, key, names, layouts, may_exchange, is_due)
    SELECT p.relation, p.schema, p.name, CASE WHEN p.reason IS NULL THEN here END, p.key, (
               SELECT jsonb_object_agg(c.number, c.names) FROM _bemi.past_names_v1(p.relation, known.names) c),
           coalesce(known.layouts, '[]') || _bemi.past_layout_v1(p.relation, known.names, is_noticed), p.is_deferrable, true
    FROM jsonb_to_recordset(planned) p (
        relation oid, schema text, name text, reason text, key int2[], is_deferrable boolean)
    LEFT JOIN _bemi.past known ON known.relation = p.relation
    ON CONFLICT (relation) DO UPDATE SET
        -- The log has older changes under the name and the key of then.
        (since, system, since_time) = (
            SELECT k.since, k.system, k.since_time
            WHERE k.since IS NOT NULL AND excluded.since IS NOT NULL
                AND (k.schema, k.name, k.key) = (excluded.schema, excluded.name, excluded.key)
            UNION ALL SELECT excluded.since, excluded.system, excluded.since_time LIMIT 1),
        schema = excluded.schema, name = excluded.name, key = excluded.key, names = excluded.names,
        layouts = excluded.layouts, may_exchange = k.may_exchange OR excluded.may_exchange, is_due = true;
END
$function$;

-- Bring the views of all or some tables in line with the tables, and return what was done. Views depend on types but
-- not on tables, which can be altered and dropped. "most" is how many views to make: a transaction that makes thousands
-- would run out of locks. "is_noticed" is as in _bemi.past_note_v1.
CREATE FUNCTION _bemi.past_refresh_v1(
    targets oid[] DEFAULT NULL, most int DEFAULT NULL, is_noticed boolean DEFAULT false) RETURNS SETOF text
LANGUAGE plpgsql
SET jit = off
-- The query of a view is parsed when it is asked, and made from what the catalog says.
SET check_function_bodies = off
-- Whoever alters a table need not know of the views.
SET client_min_messages = warning
SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    chosen constant name := (SELECT t.publication FROM _bemi.tracking t);
    following constant text := current_setting('_bemi.is_following', true);
    due record;
    known _bemi.past;
    columns text;
    nulls text;
    contested int2[];
    hideable text[];
    body text;
    past name;
    owner name;
    planned jsonb;
    asked constant oid[] := coalesce(targets, ARRAY(SELECT k.relation FROM _bemi.past k));
BEGIN
    -- Two migrations at the same time would create the same view. Any role could take, and keep, an advisory lock.
    LOCK TABLE _bemi.past IN SHARE UPDATE EXCLUSIVE MODE;
    -- The statements below fire event triggers.
    PERFORM set_config('_bemi.is_following', 'yes', true);
    planned := (SELECT coalesce(jsonb_agg(to_jsonb(p.*)), '[]') FROM _bemi.past_plan_v1(chosen, targets) p);
    FOR known IN
        SELECT k.* FROM _bemi.past k
        LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) ON c.oid = k.relation
        WHERE (k.definition <> '' OR k.is_due) AND k.relation = ANY (asked)
            AND ((n.nspname, c.relname) IS DISTINCT FROM (k.schema, k.name)
                 OR k.relation NOT IN (SELECT (p.value ->> 'relation')::oid FROM jsonb_array_elements(planned) p))
    LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %I.%I() CASCADE', _bemi.past_schema_v1(known.schema), known.name);
        -- A renamed table keeps the names that its columns had.
        UPDATE _bemi.past k SET since = NULL, definition = '', is_due = false WHERE k.relation = known.relation;
        DELETE FROM _bemi.past k
        WHERE k.relation = known.relation AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = known.relation);
        CONTINUE WHEN known.definition = '';
        RETURN NEXT format('no past: %s.%s', known.schema, known.name);
    END LOOP;
    FOR due IN
        WITH described AS (
            SELECT p.*, _bemi.past_schema_v1(p.schema) AS past,
                   md5(concat_ws(' ', f.fingerprint, p.reason, p.key, p.is_deferrable, (
                       SELECT string_agg(DISTINCT o."column", ', ' ORDER BY o."column") FROM _bemi.omitted_columns o
                       WHERE (o.schema, o."table") = (p.schema, p.name)))) AS definition
            FROM jsonb_to_recordset(planned) p (
                relation oid, schema text, name text, reason text, key int2[], is_deferrable boolean)
            JOIN _bemi.past_fingerprints_v1(ARRAY(
                SELECT (p.value ->> 'relation')::oid FROM jsonb_array_elements(planned) p)) f ON f.relation = p.relation
        )
        SELECT d.* FROM described d
        WHERE d.definition IS DISTINCT FROM (
                SELECT k.definition FROM _bemi.past k WHERE k.relation = d.relation AND NOT k.is_due)
            OR to_regclass(format('%I.%I', d.past, d.name)) IS NULL
        ORDER BY d.schema, d.name
        LIMIT most
    LOOP
        PERFORM _bemi.past_note_v1(jsonb_build_array(to_jsonb(due)), is_noticed);
        SELECT k.* FROM _bemi.past k WHERE k.relation = due.relation INTO known;
        contested := ARRAY(
            WITH given (number, name) AS (
                SELECT DISTINCT n.key, n.value FROM jsonb_array_elements(known.layouts) l, jsonb_each_text(l -> 4) n
            )
            SELECT DISTINCT a.number::int2 FROM given a JOIN given b ON b.name = a.name AND b.number <> a.number);
        SELECT string_agg(format('%I %s', a.name, a.shown), ', ' ORDER BY a.number),
               string_agg(format('NULL::%s', a.shown), ', ' ORDER BY a.number)
        FROM _bemi.past_columns_v1(due.relation, due.key) a
        INTO columns, nulls;
        hideable := ARRAY(
            SELECT DISTINCT n.value ->> 0 FROM jsonb_each(known.names) n JOIN _bemi.omitted_columns o ON n.value ? o."column"
            WHERE (o.schema, o."table") = (due.schema, due.name) AND n.key::int2 <> ALL (due.key));
        body := CASE
            WHEN due.reason IS NULL THEN _bemi.past_query_v1(
                due.relation, due.key, known.names, contested, hideable, known.may_exchange)
            ELSE format('SELECT %s WHERE _bemi.no_past_v1(%L::pg_catalog.text)', nulls,
                        format('%s.%s %s', due.schema, due.name, due.reason)) END;
        past := due.past;
        owner := (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = past);
        IF owner NOT IN (current_user, (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = '_bemi')) THEN
            RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
                'The schema %I belongs to the role %I, not to %I. Drop or rename it, then run manage.py bemi sync.',
                past, owner, current_user);
        ELSIF owner IS NULL THEN
            EXECUTE format('CREATE SCHEMA %I', past);
            -- Its views have the rights of the role that queries them.
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO PUBLIC', past);
        END IF;
        EXECUTE format('DROP FUNCTION IF EXISTS %I.%I() CASCADE', past, due.name);
        EXECUTE format('CREATE FUNCTION %I.%I() RETURNS TABLE (%s) LANGUAGE sql STABLE AS %L', past, due.name, columns, body);
        EXECUTE format('CREATE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%2$I()', past, due.name);
        EXECUTE format('GRANT SELECT ON %I.%I TO PUBLIC', past, due.name);
        UPDATE _bemi.past k SET hidden = hideable, definition = due.definition, is_due = false
        WHERE k.relation = due.relation;
        RETURN NEXT format('past: %s.%s', due.schema, due.name);
    END LOOP;
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
END
$function$;

-- Follow a command of DDL. Views that exist are brought in line at once, because somebody may be in the past and must not
-- read other values, or the present. Nobody in the past sees a row of a table that is new: its view is made when somebody
-- looks at the past for the first time since, or by sync. "is_gone" is true if the command has dropped some of them,
-- "are_tracked" if nothing has changed but their columns or keys, "is_altered" if it has altered them. A table of which
-- nothing is known then may have come from a schema without tracked tables, with rows that are older.
CREATE FUNCTION _bemi.past_follow_v1(touched oid[], is_gone boolean, are_tracked boolean, is_altered boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    made oid[] := ARRAY(
        SELECT k.relation FROM _bemi.past k WHERE k.relation = ANY (touched) AND k.definition <> ''
        UNION ALL
        SELECT c.oid FROM pg_class c
        WHERE c.oid = ANY (touched)
            -- By its index, for each of them.
            AND (c.relkind IN ('v', 'm', 'f')
                 OR is_altered AND (SELECT count(*) = 0 FROM _bemi.past k WHERE k.relation = c.oid)));
    others oid[] := touched;
    renamed int;
    planned jsonb;
BEGIN
    IF made <> '{}' THEN
        BEGIN
            PERFORM _bemi.past_refresh_v1(made, is_noticed => true);
        EXCEPTION WHEN lock_not_available THEN
            -- Another transaction makes views, or reads one of these. They are put off, too: nobody may go into the past
            -- with views of tables as they were.
            made := '{}';
        END;
        others := ARRAY(SELECT unnest(touched) EXCEPT SELECT unnest(made));
    END IF;
    IF is_gone THEN
        -- Those of dropped tables that have a view still.
        UPDATE _bemi.past k SET is_due = true
        WHERE k.relation = ANY (touched) AND k.definition <> ''
            AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation);
        DELETE FROM _bemi.past k
        WHERE k.relation = ANY (touched) AND k.definition = ''
            AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation);
    END IF;
    IF are_tracked THEN
        -- With the same key, only columns can have got other names.
        UPDATE _bemi.past k SET names = (
                SELECT jsonb_object_agg(c.number, c.names) FROM _bemi.past_names_v1(k.relation, k.names) c),
            layouts = k.layouts || _bemi.past_layout_v1(k.relation, k.names, true),
            may_exchange = k.may_exchange OR (
                SELECT NOT i.indimmediate FROM pg_index i WHERE i.indrelid = k.relation AND i.indisprimary)
        WHERE k.relation = ANY (others) AND k.is_due AND k.key = (
            SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] FROM pg_index i WHERE i.indrelid = k.relation AND i.indisprimary);
        GET DIAGNOSTICS renamed = ROW_COUNT;
        IF renamed = cardinality(others) THEN
            RETURN;
        END IF;
    END IF;
    planned := (
        SELECT jsonb_agg(to_jsonb(p.*))
        FROM _bemi.past_plan_v1((SELECT t.publication FROM _bemi.tracking t), others) p);
    IF planned IS NOT NULL THEN
        PERFORM _bemi.past_note_v1(planned, true);
    END IF;
END
$function$;

-- Make views that are due, and return of how many tables: for roles that may look at the past, but not create views.
-- "most" is how many to make in a transaction. Whoever has nothing to make locks nothing.
CREATE FUNCTION _bemi.past_make_v1(most int) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
-- A transaction that alters tables may be making views.
SET lock_timeout = '2s'
AS $function$
DECLARE
    due pg_catalog.oid[];
BEGIN
    -- It belongs to the application, which can alter it, and others call it.
    IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) 'pg_catalog, pg_temp' THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = 'somebody has altered _bemi.past_make_v1(): install it anew';
    END IF;
    -- Views of dropped tables first: others may have their names now.
    due := ARRAY(
        SELECT k.relation FROM _bemi.past k WHERE k.is_due
        ORDER BY EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation), k.relation LIMIT most);
    IF due <> '{}' THEN
        PERFORM _bemi.past_refresh_v1(due);
    END IF;
    RETURN cardinality(due);
END
$function$;
REVOKE ALL ON FUNCTION _bemi.past_make_v1(int) FROM PUBLIC;
