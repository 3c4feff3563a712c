DROP FUNCTION _bemi.mark_diverged_v1(bigint, bigint, bigint);
DROP FUNCTION _bemi.sequence_v1(uuid);
DROP FUNCTION _bemi.sequence_v1(text, pg_lsn);
DROP FUNCTION _bemi.bound_v1(bigint);
DROP FUNCTION _bemi.sequence_v1(integer, pg_lsn);
DROP TABLE _bemi.histories;
