DROP FUNCTION _bemi.recount_v1(timestamptz, timestamptz);
DROP FUNCTION _bemi.count_changes_v1(uuid[], boolean, regclass);
DROP TABLE _bemi.activity_entries;
DROP FUNCTION _bemi.take_activity_v1();
DROP FUNCTION _bemi.add_activity_v1(jsonb);
DROP FUNCTION _bemi.is_counted_place_v1(timestamptz, text, text, text);
DROP FUNCTION _bemi.activity_of_v1(text, text, jsonb);
DROP FUNCTION _bemi.share_activity_v1(timestamptz, timestamptz, boolean);
DROP TABLE _bemi.activity;
