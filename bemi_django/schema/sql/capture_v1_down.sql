DROP EVENT TRIGGER IF EXISTS _bemi_follow_ddl;
DROP EVENT TRIGGER IF EXISTS _bemi_follow_drop;
DO $block$
DECLARE
    installed record;
BEGIN
    FOR installed IN
        SELECT t.tgname, n.nspname, c.relname
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %I.%I', installed.tgname, installed.nspname, installed.relname);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi.event_triggers_v1(boolean);
DROP FUNCTION _bemi.follow_ddl_v1();
DROP FUNCTION _bemi.plan_v1(name, text[], text[], oid[]);
DROP FUNCTION _bemi.known_v1(oid);
DROP FUNCTION _bemi.describe_v1(oid, boolean);
DROP FUNCTION _bemi.types_v1(oid[]);
DROP FUNCTION _bemi.capture_v1();
DROP TABLE _bemi.relations;
DROP TABLE _bemi.tracking;
