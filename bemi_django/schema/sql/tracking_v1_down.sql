-- Remove publication and triggers, and restore replica identities. What only another role may do is left, and left_v1
-- says so: it is in the setting _bemi.left, a line each.
DO $block$
DECLARE
    chosen _bemi.tracking;
    step record;
    remains text[] := '{}';
BEGIN
    SELECT * FROM _bemi.tracking INTO chosen;
    IF chosen.publication IS NOT NULL THEN
        BEGIN
            EXECUTE format('DROP PUBLICATION IF EXISTS %I', chosen.publication);
        EXCEPTION WHEN insufficient_privilege THEN
            remains := remains || format('the publication %I belongs to another role; as its owner, run '
                                         'DROP PUBLICATION %1$I', chosen.publication);
            -- To the plan it is one of others, whose tables need their replica identity.
            chosen.publication := '';
        END;
    END IF;
    FOR step IN
        SELECT p.statement
        FROM _bemi.plan_v1(coalesce(chosen.publication, '')::name, '{}'::text[], '{}'::text[]) p
        JOIN pg_class c ON c.oid = p.relation
        -- The triggers of other tables are dropped with their function.
        WHERE pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE step.statement;
    END LOOP;
    FOR step IN
        SELECT format(
            'the table %1$s keeps REPLICA IDENTITY FULL, because %2$s; as its owner, run '
            'ALTER TABLE %1$s REPLICA IDENTITY %3$s', format('%I.%I', n.nspname, c.relname),
            CASE WHEN EXISTS (SELECT FROM pg_publication_rel r WHERE r.prrelid = c.oid)
                THEN 'a publication has it' ELSE format('it belongs to the role %I', pg_get_userbyid(c.relowner)) END,
            before.identity) AS line
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT _bemi.identity_before_v1(c.oid, concat(n.nspname, '.', c.relname)) AS identity) before
        WHERE c.relkind = 'r' AND c.relreplident = 'f' AND before.identity <> 'FULL'
        ORDER BY 1
    LOOP
        remains := remains || step.line;
    END LOOP;
    PERFORM set_config('_bemi.left', array_to_string(remains, E'\n'), true);
END
$block$;
DROP FUNCTION _bemi.plan_v1(name, text[], text[], oid[]);
DROP FUNCTION _bemi.home_schemas_v1();
DROP FUNCTION _bemi.forget_identity_v1(oid, text);
DROP FUNCTION _bemi.identity_before_v1(oid, text);
DROP FUNCTION _bemi.remember_identity_v1(oid, boolean);
DROP TABLE _bemi.replica_identities;
DROP TABLE _bemi.tracking;
