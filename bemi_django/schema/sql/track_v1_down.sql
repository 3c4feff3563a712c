-- The inverse: takes triggers, replica identity and publication off every table.
CREATE OR REPLACE FUNCTION pg_temp._bemi_untrack_v1(publication text) RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    home name := (
        SELECT n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = '_bemi_plan_v1' ORDER BY p.oid LIMIT 1);
    step record;
BEGIN
    IF home IS NULL THEN
        RETURN;
    END IF;
    FOR step IN
        EXECUTE format('SELECT statement FROM %I._bemi_plan_v1($1, $2, $3)', home)
        USING publication::name, '{}'::text[], '{}'::text[]
    LOOP
        EXECUTE step.statement;
    END LOOP;
    EXECUTE format('DROP PUBLICATION IF EXISTS %I', publication);
END
$function$
