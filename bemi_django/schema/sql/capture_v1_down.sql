DROP EVENT TRIGGER IF EXISTS _bemi_follow_ddl;
DROP EVENT TRIGGER IF EXISTS _bemi_follow_drop;
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
DROP FUNCTION _bemi_follow_ddl_v1();
DROP FUNCTION _bemi_plan_v1(name, text[], text[], oid[]);
DROP FUNCTION _bemi_known_v1(oid);
DROP FUNCTION _bemi_describe_v1(oid, boolean);
DROP FUNCTION _bemi_types_v1(oid[]);
DROP FUNCTION _bemi_capture_v1();
DROP TABLE _bemi_relations;
DROP TABLE _bemi_tracking;
