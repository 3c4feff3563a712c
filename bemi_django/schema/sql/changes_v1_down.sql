DROP FUNCTION _bemi.partition_v1(timestamptz);
DROP TABLE _bemi.dead_letters;
DROP TABLE _bemi.checkpoint;
DO $block$
DECLARE
    log constant text := _bemi.log_v1();
BEGIN
    CREATE OR REPLACE FUNCTION _bemi.log_v1() RETURNS regclass LANGUAGE sql STABLE RETURN NULL::regclass;
    EXECUTE 'DROP TABLE ' || log;
END
$block$;
