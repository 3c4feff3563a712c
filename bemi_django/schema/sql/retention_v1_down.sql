DROP FUNCTION _bemi.prune_rows_v1(timestamptz, timestamptz, uuid, integer, jsonb, bigint);
DROP FUNCTION _bemi.prune_month_v1(timestamptz, jsonb, bigint);
DROP FUNCTION _bemi.end_pruning_v1(bigint, text[]);
DROP FUNCTION _bemi.begin_pruning_v1(jsonb);
DROP FUNCTION _bemi.drop_month_v1(timestamptz, bigint);
DROP FUNCTION _bemi.watch_month_v1(timestamptz, bigint);
DROP FUNCTION _bemi.require_pruning_v1(bigint);
DO $block$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN
        SELECT g.tgrelid FROM pg_trigger g WHERE g.tgfoid = '_bemi.note_touched_v1()'::regprocedure ORDER BY 1
    LOOP
        EXECUTE format('DROP TRIGGER _bemi_touched ON %s', partition);
    END LOOP;
END
$block$;
DROP FUNCTION _bemi.note_touched_v1();
DROP FUNCTION _bemi.note_returned_v1(timestamptz);
DROP FUNCTION _bemi.note_lost_v1(timestamptz, boolean);
DROP FUNCTION _bemi.note_removed_v1(bigint, text, text, text, boolean, bigint, bigint, uuid, timestamptz, bigint);
DROP FUNCTION _bemi.kept_since_v1(text, text, jsonb);
DROP FUNCTION _bemi.month_v1(timestamptz);
DROP TABLE _bemi.walked;
DROP TABLE _bemi.touched;
DROP VIEW _bemi.incomplete;
DROP FUNCTION _bemi.next_change_v1(text, timestamptz);
DROP VIEW _bemi.lost_months;
DROP TABLE _bemi.completeness;
DROP TABLE _bemi.pruned;
DROP TABLE _bemi.prunings;
DROP TABLE _bemi.retention;
