DROP FUNCTION _bemi.describe_v1(oid[], boolean);
DROP FUNCTION _bemi.types_of_v1(oid, jsonb);
DROP FUNCTION _bemi.named_by_v1(oid);
DROP FUNCTION _bemi.types_v1(oid[]);
DROP TABLE _bemi.relations;
