-- Remove triggers, replica identity and publication from all tables.
DO $block$
DECLARE
    chosen _bemi.tracking;
    step record;
BEGIN
    SELECT * FROM _bemi.tracking INTO chosen;
    IF FOUND THEN
        FOR step IN SELECT p.statement FROM _bemi.plan_v1(chosen.publication::name, '{}'::text[], '{}'::text[]) p LOOP
            EXECUTE step.statement;
        END LOOP;
        EXECUTE format('DROP PUBLICATION IF EXISTS %I', chosen.publication);
    END IF;
    -- Of tables that this role sees and the plan does not.
    FOR step IN
        SELECT t.tgname, n.nspname, c.relname
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE t.tgname IN ('_bemi_capture', '_bemi_capture_truncate') AND NOT t.tgisinternal AND t.tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %I.%I', step.tgname, step.nspname, step.relname);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi.plan_v1(name, text[], text[], oid[]);
DROP FUNCTION _bemi.home_schemas_v1();
DROP FUNCTION _bemi.forget_identity_v1(oid, text);
DROP FUNCTION _bemi.identity_before_v1(oid, text);
DROP FUNCTION _bemi.remember_identity_v1(oid, boolean);
DROP TABLE _bemi.replica_identities;
DROP TABLE _bemi.tracking;
