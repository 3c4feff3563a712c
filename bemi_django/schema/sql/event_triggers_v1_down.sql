DROP EVENT TRIGGER IF EXISTS _bemi_follow_ddl;
DROP EVENT TRIGGER IF EXISTS _bemi_follow_drop;
DROP FUNCTION _bemi.event_triggers_v1(boolean);
DROP FUNCTION _bemi.follow_ddl_v1();
