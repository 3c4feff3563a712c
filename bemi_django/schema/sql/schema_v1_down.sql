DROP FUNCTION _bemi.must_stay_v1(text);
DROP TABLE _bemi.parts;
DROP FUNCTION _bemi.ours_v1(oid[]);
DROP FUNCTION _bemi.log_v1();
DROP SCHEMA _bemi;
