-- The log takes rows and keeps them as they are: a trigger refuses to change or remove them, but where a permit says
-- that this transaction may. The functions that prune and mark changes make permits, and so do the commands of the log's
-- owner. The trigger is there if BEMI_APPEND_ONLY says so.

-- Who may change rows of the log. There are no rows of transactions that are over.
CREATE TABLE _bemi.permits (
    -- The transaction; NULL for all of them, which only tests need.
    xid xid8,
    purpose text NOT NULL
);

-- Let the transaction change rows of the log. Not for others than the owner of the log.
CREATE FUNCTION _bemi.permit_v1(purpose text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    INSERT INTO _bemi.permits VALUES (pg_current_xact_id(), purpose)
$function$;

-- End that.
CREATE FUNCTION _bemi.end_permit_v1() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    DELETE FROM _bemi.permits p WHERE p.xid = pg_current_xact_id()
$function$;

-- SECURITY DEFINER, because it also refuses those who may not read the permits.
CREATE FUNCTION _bemi.refuse_change_v1() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM _bemi.permits p WHERE p.xid IS NULL OR p.xid = pg_current_xact_id_if_assigned())
    THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = format(
            'The log is append-only: %s of %s is refused', TG_OP, TG_RELID::regclass),
            HINT = 'Use bemi prune, archive or erase.';
    END IF;
    RETURN NULL;
END
$function$;

-- Return the tables of the log, of which it is one, whose rows can be changed without a permit.
CREATE FUNCTION _bemi.changeable_v1() RETURNS SETOF regclass
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT t.relid FROM pg_partition_tree(_bemi.log_v1()) t WHERE NOT EXISTS (
        SELECT FROM pg_trigger g WHERE g.tgrelid = t.relid AND g.tgname = '_bemi_append_only'
            AND g.tgfoid = '_bemi.refuse_change_v1()'::regprocedure AND g.tgenabled = 'A')
$function$;

-- Make a table of the log append-only.
CREATE FUNCTION _bemi.protect_v1(part regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    following constant text := current_setting('_bemi.is_following', true);
BEGIN
    -- The statements below fire event triggers, which have nothing to do with the log.
    PERFORM set_config('_bemi.is_following', 'yes', true);
    EXECUTE format('CREATE OR REPLACE TRIGGER _bemi_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
                   'FOR EACH STATEMENT EXECUTE FUNCTION _bemi.refuse_change_v1()', part);
    -- A session may turn other triggers off.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER _bemi_append_only', part);
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
END
$function$;

-- Make the log append-only, with all of its months, or no longer. The caller must have the rights of the log's owner.
CREATE FUNCTION _bemi.append_only_v1(is_wanted boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    following constant text := current_setting('_bemi.is_following', true);
    part regclass;
BEGIN
    IF is_wanted THEN
        -- A new month has the trigger if the log has it: nobody makes one in between.
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', _bemi.log_v1());
        PERFORM _bemi.protect_v1(c) FROM _bemi.changeable_v1() c;
        RETURN;
    END IF;
    PERFORM set_config('_bemi.is_following', 'yes', true);
    FOR part IN
        SELECT g.tgrelid FROM pg_trigger g WHERE g.tgfoid = '_bemi.refuse_change_v1()'::regprocedure ORDER BY 1
    LOOP
        EXECUTE format('DROP TRIGGER _bemi_append_only ON %s', part);
    END LOOP;
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
END
$function$;

REVOKE ALL ON _bemi.permits FROM PUBLIC;
DO $block$
DECLARE
    function regprocedure;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        '_bemi.permit_v1(text)', '_bemi.end_permit_v1()', '_bemi.refuse_change_v1()',
        '_bemi.protect_v1(regclass)', '_bemi.append_only_v1(boolean)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$block$;
