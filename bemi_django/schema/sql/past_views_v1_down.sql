DO $block$
DECLARE
    past record;
BEGIN
    FOR past IN SELECT DISTINCT left('_bemi_past_' || schema, 63) AS name FROM _bemi.past LOOP
        -- The schema contains only what was created for the past.
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', past.name);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi.past_refresh_v1(oid[]);
DROP FUNCTION _bemi.past_plan_v1(name, oid[]);
