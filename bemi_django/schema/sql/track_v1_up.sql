-- For migrations without Django: remembers which tables to track, tracks those that are there, and returns
-- what the role may not do. chosen: {"publication": name, "include": [pattern], "exclude": [pattern]}, the
-- patterns with * and ?.
CREATE OR REPLACE FUNCTION pg_temp._bemi_track_v1(chosen text) RETURNS SETOF text
LANGUAGE plpgsql
AS $function$
DECLARE
    publication name := chosen::jsonb ->> 'publication';
    like_include text[] := ARRAY(
        SELECT translate(regexp_replace(pattern, '([\\_%])', '\\\1', 'g'), '*?', '%_')
        FROM jsonb_array_elements_text(chosen::jsonb -> 'include') pattern);
    like_exclude text[] := ARRAY(
        SELECT translate(regexp_replace(pattern, '([\\_%])', '\\\1', 'g'), '*?', '%_')
        FROM jsonb_array_elements_text(chosen::jsonb -> 'exclude') pattern);
    home name := (
        SELECT n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = '_bemi_plan_v1' ORDER BY p.oid LIMIT 1);
    is_published boolean := true;
    step record;
BEGIN
    EXECUTE format(
        'INSERT INTO %I._bemi_tracking (publication, include, exclude) VALUES ($1, $2, $3) '
        'ON CONFLICT (singleton) DO UPDATE SET publication = $1, include = $2, exclude = $3', home)
    USING publication, like_include, like_exclude;
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = publication) THEN
            EXECUTE format('CREATE PUBLICATION %I', publication);
            -- Without them UPDATE of a table that has some fails, from PostgreSQL 18 on.
            IF current_setting('server_version_num')::int >= 180000 THEN
                EXECUTE format('ALTER PUBLICATION %I SET (publish_generated_columns = stored)', publication);
            END IF;
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        is_published := false;
        RETURN NEXT format('publication: %s', SQLERRM);
    END;
    -- Without it a later call, or sync, finds new tables.
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = '_bemi_follow_ddl') THEN
            EXECUTE format(
                'CREATE EVENT TRIGGER _bemi_follow_ddl ON ddl_command_end '
                'WHEN TAG IN (''CREATE TABLE'', ''CREATE TABLE AS'', ''SELECT INTO'', ''ALTER TABLE'', ''ALTER TYPE'') '
                'EXECUTE FUNCTION %I._bemi_follow_ddl_v1()', home);
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;
    END;
    FOR step IN
        EXECUTE format('SELECT name, what, statement FROM %I._bemi_plan_v1($1, $2, $3)', home)
        USING publication, like_include, like_exclude
    LOOP
        CONTINUE WHEN step.what = 'published' AND NOT is_published;
        BEGIN
            IF step.statement IS NULL THEN
                RETURN NEXT format('%s: %s', step.name, step.what);
            ELSE
                EXECUTE step.statement;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RETURN NEXT format('%s: %s: %s', step.name, step.what, SQLERRM);
        END;
    END LOOP;
END
$function$
