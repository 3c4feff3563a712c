-- Expressions of generated columns, casts to json and checks of domains are code of those who own the tables. The worker
-- has them evaluated by a function of a role that has no rights: inside it nobody can become another role.
CREATE FUNCTION _bemi.compute_v1(query text, sent text[]) RETURNS text[]
LANGUAGE plpgsql
SECURITY DEFINER
AS $function$
DECLARE
    computed pg_catalog.text[];
BEGIN
    IF query IS NULL THEN
        RETURN NULL;
    END IF;
    IF current_user OPERATOR(pg_catalog.<>) '_bemi_compute'::pg_catalog.name THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI3',
            MESSAGE = 'the role _bemi_compute does not exist or does not own _bemi.compute_v1: see manage.py check --database';
    END IF;
    BEGIN
        EXECUTE query INTO computed USING sent;
    EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
        -- The worker would hold several copies of a message, a detail or a hint of any length.
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = pg_catalog.left(SQLERRM, 500);
    END;
    IF pg_catalog.octet_length(pg_catalog.array_to_string(computed, ''::pg_catalog.text)) OPERATOR(pg_catalog.>) 134217728 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'the computed value is longer than 128 MB';
    END IF;
    RETURN computed;
END
$function$;
REVOKE ALL ON FUNCTION _bemi.compute_v1(text, text[]) FROM PUBLIC;

-- Give the function to the role, and return whether that is done. Roles are of the cluster, so another database may have
-- created it. A role that somebody else created with rights is not used.
CREATE FUNCTION _bemi.make_compute_role_v1() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = '_bemi_compute') THEN
        CREATE ROLE _bemi_compute NOLOGIN;
    END IF;
    IF EXISTS (
        SELECT FROM pg_roles r WHERE r.rolname = '_bemi_compute' AND (
            r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
            OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))) THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = '_bemi.compute_v1(text, text[])'::regprocedure
                   AND pg_get_userbyid(p.proowner) = '_bemi_compute') THEN
        -- A role that is no superuser gives a function only to a role of which it is a member, and which may create here.
        IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            EXECUTE format('GRANT _bemi_compute TO %I', current_user);
        END IF;
        GRANT CREATE ON SCHEMA _bemi TO _bemi_compute;
        ALTER FUNCTION _bemi.compute_v1(text, text[]) OWNER TO _bemi_compute;
        EXECUTE format('GRANT EXECUTE ON FUNCTION _bemi.compute_v1(text, text[]) TO %I',
                       (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = '_bemi'));
        REVOKE CREATE ON SCHEMA _bemi FROM _bemi_compute;
        IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            EXECUTE format('REVOKE _bemi_compute FROM %I', current_user);
        END IF;
    END IF;
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN false;
END
$function$;
SELECT _bemi.make_compute_role_v1();
