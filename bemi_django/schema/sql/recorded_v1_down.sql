DROP FUNCTION _bemi.recorded_v1(text, pg_lsn, pg_snapshot, text, text, text, pg_lsn, text[]);
