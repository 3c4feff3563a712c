DROP FUNCTION _bemi.capture_v1();
