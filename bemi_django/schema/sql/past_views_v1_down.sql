DO $block$
DECLARE
    past record;
BEGIN
    FOR past IN SELECT DISTINCT _bemi.past_schema_v1(schema) AS name FROM _bemi.past LOOP
        -- The schema contains only what was created for the past.
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', past.name);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi.past_make_v1(int);
DROP FUNCTION _bemi.past_follow_v1(oid[], boolean, boolean, boolean);
DROP FUNCTION _bemi.past_refresh_v1(oid[], int, boolean);
DROP FUNCTION _bemi.past_note_v1(jsonb, boolean);
DROP FUNCTION _bemi.past_layout_v1(oid, jsonb, boolean);
DROP FUNCTION _bemi.past_names_v1(oid, jsonb);
DROP FUNCTION _bemi.past_fingerprints_v1(oid[]);
DROP FUNCTION _bemi.past_plan_v1(name, oid[]);
