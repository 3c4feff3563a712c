-- The inverse: remove triggers, replica identity and publication from all tables.
CREATE OR REPLACE FUNCTION pg_temp._bemi_untrack_v1(publication text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    step record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                   WHERE n.nspname = '_bemi' AND p.proname = 'plan_v1') THEN
        RETURN;
    END IF;
    FOR step IN SELECT p.statement FROM _bemi.plan_v1(publication::name, '{}'::text[], '{}'::text[]) p LOOP
        EXECUTE step.statement;
    END LOOP;
    EXECUTE format('DROP PUBLICATION IF EXISTS %I', publication);
END
$function$
