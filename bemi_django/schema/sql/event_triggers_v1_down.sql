-- With the event triggers, which an administrator may have created. Only they depend on it.
DROP FUNCTION _bemi.follow_ddl_v1() CASCADE;
DROP FUNCTION _bemi.event_triggers_v1(boolean);
DROP FUNCTION _bemi.signatures_v1(oid[], text);
DROP TABLE _bemi.followed;
