DROP FUNCTION _bemi.erased_change_v1(jsonb, jsonb, jsonb, text[], jsonb);
DROP FUNCTION _bemi.without_values_v1(jsonb, text[], jsonb);
DROP TABLE _bemi.erased, _bemi.erasures;
