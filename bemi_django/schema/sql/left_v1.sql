-- Return what uninstalling has left in the database, and how to remove it. A function of the session, because a DO
-- block returns nothing.
CREATE OR REPLACE FUNCTION pg_temp._bemi_left_v1() RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    others text;
    log text;
    slot text;
BEGIN
    IF to_regclass('_bemi.parts') IS NOT NULL THEN
        SELECT string_agg(DISTINCT CASE installer
            WHEN 'django' THEN 'the migrations of a Django project'
            WHEN 'alembic' THEN 'an Alembic revision'
            ELSE 'bemi install' END, ' and ')
        FROM _bemi.parts p, unnest(p.installers) installer
        INTO others;
        IF others IS NOT NULL THEN
            RETURN NEXT format('recording goes on, because it was also installed by %s', others);
            RETURN;
        END IF;
        log := _bemi.log_v1()::text;
        IF log IS NOT NULL THEN
            RETURN NEXT format(
                'the log %s is kept, because it has rows or a replication slot; to delete both, run bemi uninstall', log);
        END IF;
    END IF;
    -- What the removal of the tracking has left.
    RETURN QUERY SELECT line FROM regexp_split_to_table(nullif(current_setting('_bemi.left', true), ''), E'\n') line;
    FOR slot IN
        SELECT s.slot_name FROM pg_replication_slots s
        WHERE s.database = current_database() AND s.plugin = 'pgoutput' AND starts_with(s.slot_name::text, 'bemi')
    LOOP
        RETURN NEXT format(
            'the replication slot %I retains WAL; unless somebody reads it, run '
            'SELECT pg_drop_replication_slot(%1$L)', slot);
    END LOOP;
END
$function$
