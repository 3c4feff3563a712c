-- Capture: a statement-level trigger that carries a statement's context into the WAL, the plan of what
-- tracked tables lack, and an event trigger's function that carries the plan out for a new table.

CREATE FUNCTION _bemi_capture_v1() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $function$
DECLARE
    statement text := current_query();
    -- Transaction-local: for statements that cannot carry a comment.
    context text := coalesce(current_setting('bemi.context', true), '');
    content text;
BEGIN
    IF starts_with(statement, '/*Bemi {') THEN
        -- Only here, at the very start, stands what the application's hook wrote: a value never can.
        content := substr(split_part(statement, ' Bemi*/', 1), 8);
    ELSE
        IF length(statement) > 8192 THEN
            statement := left(statement, 8192) || '… (cut)';
        END IF;
        content := '{"SQL": ' || to_json(statement)::text || '}';
        IF starts_with(ltrim(context), '{') AND ltrim(substr(ltrim(context), 2)) <> '}' THEN
            content := left(content, -1) || ', ' || substr(ltrim(context), 2);
            context := NULL;
        END IF;
    END IF;
    IF context IS NOT NULL AND starts_with(content, '{"SQL"') THEN
        -- No application context: what the database itself knows of the writer.
        content := '{"db_user": ' || to_json(session_user::text)::text
            || ', "application_name": ' || to_json(current_setting('application_name'))::text
            || ', ' || substr(content, 2);
    END IF;
    -- A message holds for all rows until the next one, so an equal one need not be repeated. The
    -- setting goes back with a savepoint exactly as the message does.
    IF content IS DISTINCT FROM current_setting('_bemi.last', true) THEN
        PERFORM pg_logical_emit_message(true, '_bemi', convert_to(content, 'UTF8'));
        PERFORM set_config('_bemi.last', content, true);
    END IF;
    RETURN NULL;
END
$function$;

-- What sync last chose; the event trigger reads it. One row.
CREATE TABLE _bemi_tracking (
    publication text NOT NULL,
    include text[] NOT NULL,
    exclude text[] NOT NULL,
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton)
);

-- Every statement that brings the tables in line with the arguments, table by table. Patterns are LIKE's
-- on schema.table; a partition counts under the name of its root. home is the schema of these functions.
CREATE FUNCTION _bemi_plan_v1(
    home name, publication name, include text[], exclude text[], target oid DEFAULT NULL
) RETURNS TABLE (relation oid, name text, what text, statement text)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $function$
    WITH relations AS (
        SELECT c.oid, c.relkind, c.relreplident, c.relispartition,
               n.nspname || '.' || c.relname AS name,
               format('%I.%I', n.nspname, c.relname) AS quoted,
               c.relpersistence = 'p'
                   AND root.name LIKE ANY (include) AND NOT root.name LIKE ANY (exclude)
                   AND NOT root.is_ours
                   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                   AND d.objid = c.oid AND d.deptype = 'e') AS is_chosen,
               EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                       WHERE r.prrelid = c.oid AND p.pubname = publication) AS is_published,
               EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                       WHERE r.prrelid = c.oid AND p.pubname <> publication) AS is_published_elsewhere,
               (SELECT count(*) FROM pg_trigger t
                WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')) AS triggers,
               (SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
                  AND t.tgenabled <> 'D' AND p.proname = '_bemi_capture_v1'
                  AND p.pronamespace = home::regnamespace) AS current_triggers
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT rn.nspname || '.' || rc.relname AS name,
                   starts_with(rc.relname, '_bemi_')
                       -- The log, and what is about to be its partition, live beside their checkpoint.
                       OR rc.relname ~ '^changes(_default|_\d{4}_\d\d)?$' AND EXISTS (
                           SELECT FROM pg_class k
                           WHERE k.relnamespace = rn.oid AND k.relname = '_bemi_checkpoint') AS is_ours
            FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
            WHERE rc.oid = coalesce(pg_partition_root(c.oid), c.oid)) root
        WHERE c.relkind IN ('r', 'p') AND (target IS NULL OR c.oid = target)
    )
    SELECT r.oid, r.name, step.what, step.statement
    FROM relations r
    CROSS JOIN LATERAL (VALUES
        (1, r.is_chosen AND r.current_triggers < 2, 'triggers', format(
            'CREATE OR REPLACE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON %1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION %2$I._bemi_capture_v1(); '
            'CREATE OR REPLACE TRIGGER _bemi_capture_truncate BEFORE TRUNCATE ON %1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION %2$I._bemi_capture_v1(); '
            'ALTER TABLE %1$s ENABLE TRIGGER _bemi_capture, ENABLE TRIGGER _bemi_capture_truncate',
            r.quoted, home)),
        (2, r.is_chosen AND r.relkind = 'r' AND r.relreplident <> 'f', 'replica identity full',
            format('ALTER TABLE %s REPLICA IDENTITY FULL', r.quoted)),
        -- A partition is published with its root.
        (3, r.is_chosen AND NOT r.relispartition AND NOT r.is_published, 'published',
            format('ALTER PUBLICATION %I ADD TABLE ONLY %s', publication, r.quoted)),
        (4, NOT r.is_chosen AND r.is_published, 'no longer published',
            format('ALTER PUBLICATION %I DROP TABLE ONLY %s', publication, r.quoted)),
        (5, NOT r.is_chosen AND r.triggers > 0, 'no triggers', format(
            'DROP TRIGGER IF EXISTS _bemi_capture ON %1$s; '
            'DROP TRIGGER IF EXISTS _bemi_capture_truncate ON %1$s', r.quoted)),
        -- Nobody else reads the old rows: FULL would only cost WAL.
        (6, NOT r.is_chosen AND r.triggers > 0 AND r.relkind = 'r' AND r.relreplident = 'f'
            AND NOT r.is_published_elsewhere, 'replica identity default',
            format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', r.quoted))
    ) step (number, is_due, what, statement)
    WHERE step.is_due
    ORDER BY r.name, step.number
$function$;

-- For the event trigger: tracks a new table at once, and never makes a CREATE TABLE fail.
CREATE FUNCTION _bemi_track_new_table_v1() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog
-- Two open transactions with new tables meet at the publication: the second must not wait for the first.
SET lock_timeout = '200ms'
AS $function$
DECLARE
    created record;
    step record;
    place name := (SELECT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                   JOIN pg_event_trigger e ON e.evtfoid = p.oid WHERE e.evtname = '_bemi_track_new_table');
    chosen record;
BEGIN
    EXECUTE format('SELECT * FROM %I._bemi_tracking', place) INTO chosen;
    IF chosen IS NULL THEN
        RETURN;
    END IF;
    FOR created IN
        SELECT DISTINCT objid, object_identity FROM pg_event_trigger_ddl_commands()
        WHERE classid = 'pg_class'::regclass AND object_type = 'table' AND schema_name <> 'pg_temp'
    LOOP
        BEGIN
            FOR step IN EXECUTE format('SELECT statement FROM %I._bemi_plan_v1($1, $2, $3, $4, $5)', place)
                USING place, chosen.publication, chosen.include, chosen.exclude, created.objid
            LOOP
                EXECUTE step.statement;
            END LOOP;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'table % is not tracked yet: run manage.py bemi sync (%)', created.object_identity, SQLERRM;
        END;
    END LOOP;
END
$function$;
