DO $block$
DECLARE
    past record;
BEGIN
    FOR past IN SELECT DISTINCT left('_bemi_past_' || schema, 63) AS name FROM _bemi_past LOOP
        -- Nothing is in it but what was made for it.
        EXECUTE pg_catalog.format('DROP SCHEMA IF EXISTS %I CASCADE', past.name);
    END LOOP;
    -- Those of the partitions have names of their own.
    FOR past IN
        SELECT DISTINCT n.nspname, s.stxname
        FROM pg_catalog.pg_statistic_ext s
        JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_statistic_ext'::regclass AND d.objid = s.oid
        WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (
            '_bemi_bigint_v1(text)'::regprocedure, '_bemi_integer_v1(text)'::regprocedure,
            '_bemi_uuid_v1(text)'::regprocedure)
    LOOP
        EXECUTE pg_catalog.format('DROP STATISTICS %I.%I', past.nspname, past.stxname);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi_past_refresh_v1(oid[]);
DROP FUNCTION _bemi_past_plan_v1(name, oid[]);
DROP FUNCTION _bemi_past_query_v1(name, oid, int2[], jsonb);
DROP FUNCTION _bemi_past_key_v1(name, oid, int2[]);
DROP FUNCTION _bemi_past_column_v1(name, oid, int2, jsonb);
DROP FUNCTION _bemi_past_type_v1(oid, boolean);
DROP FUNCTION _bemi_type_v1(oid);
DROP FUNCTION _bemi_hstore_text_v1(jsonb);
DROP FUNCTION _bemi_key_v1(anyelement);
DROP FUNCTION _bemi_is_unknown_v1(jsonb, text, text);
DROP FUNCTION _bemi_no_past_v1(text);
DROP FUNCTION _bemi_past_gate_v1(text);
DROP FUNCTION _bemi_position_v1(timestamptz);
DROP TABLE _bemi_past;
DROP INDEX changes_breaks;
DROP INDEX changes_uuid;
DROP INDEX changes_integer;
DROP INDEX changes_bigint;
DROP FUNCTION _bemi_uuid_v1(text);
DROP FUNCTION _bemi_integer_v1(text);
DROP FUNCTION _bemi_bigint_v1(text);
DROP FUNCTION _bemi_bound_v1(bigint);
