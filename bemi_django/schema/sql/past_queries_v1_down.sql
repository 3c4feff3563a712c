DROP FUNCTION _bemi.past_query_v1(oid, int2[], jsonb, int2[], text[], boolean);
DROP FUNCTION _bemi.past_key_v1(oid, int2[]);
DROP FUNCTION _bemi.past_columns_v1(oid, int2[]);
DROP FUNCTION _bemi.past_form_v1(oid);
DROP FUNCTION _bemi.past_type_v1(oid);
DROP FUNCTION _bemi.base_type_v1(oid);
DROP FUNCTION _bemi.type_v1(oid);
DROP FUNCTION _bemi.hstores_text_v1(jsonb);
DROP FUNCTION _bemi.hstore_text_v1(jsonb);
