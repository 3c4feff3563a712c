-- The schema of every object of this package but the log. It is closed to PUBLIC, and belongs to the role that
-- installs. An administrator may have created it for that role.
DO $block$
DECLARE
    owner text := (SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = '_bemi');
BEGIN
    IF owner IS NULL AND NOT has_database_privilege(current_database(), 'CREATE') THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
            'The role %I may not create a schema in this database. Run this as an administrator, then migrate again: '
            'CREATE SCHEMA _bemi AUTHORIZATION %1$I', current_user);
    ELSIF owner <> current_user THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
            'The schema _bemi belongs to the role %I, not to %I. Run this as its owner, or drop the schema if it is not '
            'of this package.', owner, current_user);
    ELSIF owner IS NULL THEN
        CREATE SCHEMA _bemi;
    END IF;
END
$block$;
REVOKE ALL ON SCHEMA _bemi FROM PUBLIC;

-- Return the table of the log, wherever it is and whatever its name is; NULL if the database has none.
CREATE FUNCTION _bemi.log_v1() RETURNS regclass
LANGUAGE sql STABLE
RETURN NULL::regclass;

-- Return the relations of this package, which are not tracked and have no past, or those among some relations. A query that
-- reads from it contains its query.
CREATE FUNCTION _bemi.ours_v1(among oid[] DEFAULT NULL) RETURNS SETOF oid
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT c.oid
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class log ON log.oid = _bemi.log_v1()
    WHERE c.oid = ANY (coalesce(among, ARRAY(SELECT a.oid FROM pg_class a))) AND (
        n.nspname = '_bemi' OR starts_with(n.nspname::text, '_bemi_past_')
        OR c.oid = log.oid
        -- Partitions, also before they are attached and after they are detached.
        OR c.relnamespace = log.relnamespace AND c.relowner = log.relowner
            AND starts_with(c.relname::text, log.relname || '_')
            AND substr(c.relname::text, length(log.relname) + 2) ~ '^[0-9]{4}_[0-9]{2}(_[0-9]+)?$'
        -- Partitions that have the name of the log before it was renamed or moved.
        OR c.relispartition AND EXISTS (
            SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = log.oid));
END;

-- The parts that are installed, and by whom: Django's migrations, Alembic revisions, the command bemi. A part is
-- removed when the last of them removes it.
CREATE TABLE _bemi.parts (
    name text PRIMARY KEY,
    installers text[] NOT NULL
);
REVOKE ALL ON _bemi.parts FROM PUBLIC;

-- Return whether a part has to stay although nobody needs it any more: the log if it has rows, dead letters or a slot,
-- the schema if it has other parts.
CREATE FUNCTION _bemi.must_stay_v1(part text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    is_used boolean := false;
BEGIN
    IF part = 'schema_v1' THEN
        RETURN EXISTS (SELECT FROM _bemi.parts p WHERE p.name <> part);
    END IF;
    IF part IN ('histories_v1', 'changes_v1', 'activity_v1', 'handlers_v1', 'seals_v1', 'verifications_v1', 'append_only_v1',
        'retention_v1', 'erasure_v1', 'subject_keys_v1') AND log IS NOT NULL THEN
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %s) OR EXISTS (SELECT FROM _bemi.dead_letters) OR EXISTS ('
            'SELECT FROM _bemi.checkpoint c JOIN pg_replication_slots s ON s.slot_name = c.slot)', log) INTO is_used;
    END IF;
    RETURN is_used;
END
$function$;
