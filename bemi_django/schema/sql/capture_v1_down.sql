-- With the triggers of tables that belong to other roles. Only triggers depend on it.
DROP FUNCTION _bemi.capture_v1() CASCADE;
