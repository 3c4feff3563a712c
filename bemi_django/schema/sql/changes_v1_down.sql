DROP FUNCTION _bemi.partition_v1(timestamptz);
DROP FUNCTION _bemi.months_v1();
DROP TABLE _bemi.omitted_changes;
DROP TABLE _bemi.omitted_columns;
DROP TABLE _bemi.dead_letters;
DROP TABLE _bemi.lanes;
DROP FUNCTION _bemi.database_v1();
DROP FUNCTION _bemi.database_v1(text, text, oid, text, oid[]);
DROP TABLE _bemi.checkpoint;
DO $block$
DECLARE
    log constant text := _bemi.log_v1();
    home constant text := (
        SELECT format('%I', n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = _bemi.log_v1() AND obj_description(n.oid, 'pg_namespace') = 'Made for the log of bemi_django');
BEGIN
    CREATE OR REPLACE FUNCTION _bemi.log_v1() RETURNS regclass LANGUAGE sql STABLE RETURN NULL::regclass;
    EXECUTE 'DROP TABLE ' || log;
    IF home IS NOT NULL THEN
        BEGIN
            EXECUTE 'DROP SCHEMA ' || home;
        EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
            -- Others use it as well.
            NULL;
        END;
    END IF;
END
$block$;
