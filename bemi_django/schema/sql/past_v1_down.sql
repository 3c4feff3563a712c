DO $block$
DECLARE
    past record;
BEGIN
    -- Statistics of partitions have names that PostgreSQL chose.
    FOR past IN
        SELECT DISTINCT n.nspname, s.stxname
        FROM pg_statistic_ext s
        JOIN pg_namespace n ON n.oid = s.stxnamespace
        JOIN pg_depend d ON d.classid = 'pg_statistic_ext'::regclass AND d.objid = s.oid
        WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (
            '_bemi.bigint_v1(text)'::regprocedure, '_bemi.integer_v1(text)'::regprocedure,
            '_bemi.uuid_v1(text)'::regprocedure)
    LOOP
        EXECUTE format('DROP STATISTICS %I.%I', past.nspname, past.stxname);
    END LOOP;
    FOR past IN
        SELECT n.nspname, c.relname
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        -- The log may have been renamed since.
        WHERE i.indrelid = _bemi.log_v1() AND (
            right(c.relname::text, 7) = '_breaks'
            OR EXISTS (SELECT FROM pg_depend d
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                           AND d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (
                               '_bemi.bigint_v1(text)'::regprocedure, '_bemi.integer_v1(text)'::regprocedure,
                               '_bemi.uuid_v1(text)'::regprocedure)))
    LOOP
        EXECUTE format('DROP INDEX %I.%I', past.nspname, past.relname);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi.key_v1(anyelement);
DROP FUNCTION _bemi.is_hidden_v1(text, text);
DROP FUNCTION _bemi.value_then_v1(jsonb, uuid, bigint, jsonb, jsonb, text, text, jsonb);
DROP FUNCTION _bemi.past_layouts_v1(oid, int2);
DROP FUNCTION _bemi.is_unknown_v1(jsonb, text, text);
DROP FUNCTION _bemi.no_past_v1(text);
DROP FUNCTION _bemi.past_gate_v1(text, oid);
DROP FUNCTION _bemi.sequence_at_v1(timestamptz);
DROP TABLE _bemi.past;
DROP FUNCTION _bemi.uuid_v1(text);
DROP FUNCTION _bemi.integer_v1(text);
DROP FUNCTION _bemi.bigint_v1(text);
DROP FUNCTION _bemi.past_schema_v1(text);
