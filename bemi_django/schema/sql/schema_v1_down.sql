DROP FUNCTION _bemi.ours_v1();
DROP FUNCTION _bemi.log_v1();
DROP SCHEMA _bemi;
