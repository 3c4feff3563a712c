DROP FUNCTION _bemi.note_replaced_v1(jsonb, bytea, bytea, bytea, boolean);
DROP FUNCTION _bemi.note_v1(text, jsonb, bytea);
DROP FUNCTION _bemi.seal_v1(text, text, text, bytea, bytea, bytea, bytea, bytea);
DROP FUNCTION _bemi.link_v1(text, text, text, bytea, bytea, bytea, bytea, bytea);
DROP TABLE _bemi.links;
DROP TABLE _bemi.chains;
