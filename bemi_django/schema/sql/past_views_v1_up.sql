-- The views of the past, kept in line with the tables.

-- Return every table, view and partition that queries may name, the reason if its past cannot be derived, and the
-- columns of its key.
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

-- Bring the views of all or some tables in line with the tables, and return what was done. Views depend on types but
-- not on tables, which can be altered and dropped.
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
    -- Two migrations at the same time would create the same view.
    PERFORM pg_advisory_xact_lock(hashtext('_bemi_past'));
    -- The statements below fire event triggers.
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
        EXECUTE format('DROP FUNCTION IF EXISTS %I.%I() CASCADE', _bemi.past_schema_v1(known.schema), known.name);
        -- A renamed table keeps the names that its columns had.
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
            ELSE format('SELECT %s WHERE _bemi.no_past_v1(%L::pg_catalog.text)', nulls,
                        format('%s.%s %s', due.schema, due.name, due.reason)) END;
        past := _bemi.past_schema_v1(due.schema);
        CONTINUE WHEN known.definition = md5(columns || body)
            AND to_regclass(format('%I.%I', past, due.name)) IS NOT NULL;
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
        INSERT INTO _bemi.past AS k (relation, schema, name, since, key, names, definition)
        VALUES (due.relation, due.schema, due.name, CASE WHEN due.reason IS NULL THEN here END, due.key, called,
                md5(columns || body))
        ON CONFLICT (relation) DO UPDATE SET
            -- The log has older changes under the name and the key of then.
            (since, system, since_time) = (
                SELECT k.since, k.system, k.since_time
                WHERE k.since IS NOT NULL AND excluded.since IS NOT NULL
                    AND (k.schema, k.name, k.key) = (excluded.schema, excluded.name, excluded.key)
                UNION ALL SELECT excluded.since, excluded.system, excluded.since_time LIMIT 1),
            schema = excluded.schema, name = excluded.name, key = excluded.key, names = excluded.names,
            definition = excluded.definition;
        RETURN NEXT format('past: %s.%s', due.schema, due.name);
    END LOOP;
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
END
$function$;
