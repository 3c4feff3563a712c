DROP EVENT TRIGGER IF EXISTS _bemi_track_new_table;
DO $block$
DECLARE
    installed record;
BEGIN
    FOR installed IN
        SELECT t.tgname, n.nspname, c.relname
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %I.%I', installed.tgname, installed.nspname, installed.relname);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi_track_new_table_v1();
DROP FUNCTION _bemi_plan_v1(name, name, text[], text[], oid);
DROP TABLE _bemi_tracking;
DROP FUNCTION _bemi_capture_v1();
