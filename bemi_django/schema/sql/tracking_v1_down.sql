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
DROP FUNCTION _bemi.plan_v1(name, text[], text[], oid[]);
DROP TABLE _bemi.tracking;
