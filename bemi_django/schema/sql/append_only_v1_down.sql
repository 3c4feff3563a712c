DO $block$
BEGIN
    PERFORM _bemi.append_only_v1(false);
END
$block$;
DROP FUNCTION _bemi.append_only_v1(boolean);
DROP FUNCTION _bemi.protect_v1(regclass);
DROP FUNCTION _bemi.changeable_v1();
DROP FUNCTION _bemi.refuse_change_v1();
DROP FUNCTION _bemi.end_permit_v1();
DROP FUNCTION _bemi.permit_v1(text);
DROP TABLE _bemi.permits;
