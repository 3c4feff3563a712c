-- For migrations without Django: remember which tables to track, track those that exist, and return what the role may
-- not do. chosen is {"publication": name, "include": [pattern], "exclude": [pattern]}; * and ? are the wildcards of a
-- pattern. If "include" is null, it is where a new session finds its tables.
CREATE OR REPLACE FUNCTION pg_temp._bemi_track_v1(chosen text) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    wanted name := chosen::jsonb ->> 'publication';
    like_include text[] := ARRAY(
        SELECT translate(regexp_replace(pattern, E'([\\\\_%])', E'\\\\\\1', 'g'), '*?', '%_')
        FROM jsonb_array_elements_text(coalesce(nullif(chosen::jsonb -> 'include', 'null'), (
            SELECT jsonb_agg(home || '.*') FROM _bemi.home_schemas_v1() home))) pattern);
    like_exclude text[] := ARRAY(
        SELECT translate(regexp_replace(pattern, E'([\\\\_%])', E'\\\\\\1', 'g'), '*?', '%_')
        FROM jsonb_array_elements_text(chosen::jsonb -> 'exclude') pattern);
    is_published boolean := true;
    step record;
BEGIN
    -- The settings of a Django project choose the tables, if one has installed this, too.
    IF EXISTS (SELECT FROM _bemi.parts p WHERE p.name = 'tracking_v1' AND 'django' = ANY (p.installers)) THEN
        SELECT t.publication, t.include, t.exclude FROM _bemi.tracking t
        UNION ALL SELECT wanted, like_include, like_exclude
        LIMIT 1
        INTO wanted, like_include, like_exclude;
    END IF;
    INSERT INTO _bemi.tracking (publication, include, exclude) VALUES (wanted, like_include, like_exclude)
    ON CONFLICT (singleton) DO UPDATE
        SET publication = excluded.publication, include = excluded.include, exclude = excluded.exclude;
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = wanted) THEN
            EXECUTE format('CREATE PUBLICATION %I', wanted);
            -- Since PostgreSQL 18, an UPDATE of a table with generated columns fails unless they are published.
            IF current_setting('server_version_num')::int >= 180000 THEN
                EXECUTE format('ALTER PUBLICATION %I SET (publish_generated_columns = stored)', wanted);
            END IF;
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        is_published := false;
        RETURN NEXT format('publication: %s', SQLERRM);
    END;
    -- Without event triggers, the next call or sync finds new tables.
    PERFORM _bemi.event_triggers_v1();
    PERFORM set_config('_bemi.is_following', 'yes', true);
    FOR step IN SELECT p.name, p.what, p.statement FROM _bemi.plan_v1(wanted, like_include, like_exclude) p LOOP
        CONTINUE WHEN step.what = 'published' AND NOT is_published;
        BEGIN
            IF step.statement = '' THEN
                RETURN NEXT format('%s: %s', step.name, step.what);
            ELSE
                EXECUTE step.statement;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RETURN NEXT format('%s: %s: %s', step.name, step.what, SQLERRM);
        END;
    END LOOP;
    PERFORM set_config('_bemi.is_following', '', true);
    -- Only if this database holds the log as well.
    BEGIN
        IF to_regprocedure('_bemi.past_refresh_v1(oid[], int, boolean)') IS NOT NULL THEN
            EXECUTE 'SELECT count(*) FROM _bemi.past_refresh_v1()';
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        RETURN NEXT format('as_of(): %s', SQLERRM);
    END;
END
$function$
