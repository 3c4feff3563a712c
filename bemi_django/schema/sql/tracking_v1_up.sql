-- Which tables are tracked, and what they lack.

-- The tables that sync last chose, for the event triggers. One row.
CREATE TABLE _bemi.tracking (
    publication text NOT NULL,
    include text[] NOT NULL,
    exclude text[] NOT NULL,
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton)
);

-- The replica identity that each table had before it was tracked, as pg_class.relreplident, and the index of 'i'.
CREATE TABLE _bemi.replica_identities (
    relation oid NOT NULL,
    -- In a copy of the database on another server, oids mean something else. There the names apply.
    system bigint NOT NULL DEFAULT (pg_control_system()).system_identifier,
    name text NOT NULL,
    kind "char" NOT NULL,
    index oid,
    index_name text,
    PRIMARY KEY (relation, system)
);

-- Remember the replica identity of a table. If tracking is about to change it, it is remembered in place of an earlier
-- one, because somebody else has set it since.
CREATE FUNCTION _bemi.remember_identity_v1(relation oid, is_about_to_change boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO _bemi.replica_identities AS known (relation, name, kind, index, index_name)
    SELECT c.oid, concat(n.nspname, '.', c.relname),
           -- Without its index, such an identity is none.
           CASE WHEN c.relreplident = 'i' AND x.indexrelid IS NULL THEN 'n' ELSE c.relreplident END,
           x.indexrelid, i.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_index x ON x.indrelid = c.oid AND x.indisreplident
    LEFT JOIN pg_class i ON i.oid = x.indexrelid
    WHERE c.oid = remember_identity_v1.relation
    ON CONFLICT (relation, system) DO UPDATE
    SET name = excluded.name, kind = excluded.kind, index = excluded.index, index_name = excluded.index_name
    WHERE is_about_to_change;
END
$function$;

-- Return the remembered replica identity of a table as ALTER TABLE names it; NULL if none is remembered. If the index
-- cannot be used any more, it is the default.
CREATE FUNCTION _bemi.identity_before_v1(relation oid, name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT CASE known.kind
        WHEN 'f' THEN 'FULL'
        WHEN 'n' THEN 'NOTHING'
        WHEN 'i' THEN coalesce((
            SELECT format('USING INDEX %I', i.relname)
            FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
            WHERE x.indrelid = identity_before_v1.relation
                AND CASE WHEN known.is_here THEN i.oid = known.index ELSE i.relname = known.index_name END
                AND x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
                AND NOT EXISTS (
                    SELECT FROM pg_attribute a
                    WHERE a.attrelid = x.indrelid AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])
                        AND NOT a.attnotnull)), 'DEFAULT')
        ELSE 'DEFAULT' END
    FROM (
        SELECT k.kind, k.index, k.index_name, k.system = here.system_identifier AS is_here
        FROM _bemi.replica_identities k, pg_control_system() here
        WHERE k.relation = identity_before_v1.relation AND k.system = here.system_identifier
            OR k.name = identity_before_v1.name AND k.system <> here.system_identifier
        ORDER BY is_here DESC LIMIT 1) known
$function$;

CREATE FUNCTION _bemi.forget_identity_v1(relation oid, name text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    DELETE FROM _bemi.replica_identities k USING pg_control_system() here
    WHERE k.relation = forget_identity_v1.relation AND k.system = here.system_identifier
        OR k.name = forget_identity_v1.name AND k.system <> here.system_identifier
$function$;

-- Return the schemas where a new session finds its tables: those of the search_path that the role, the database or the
-- connection's options give it, whatever path this session has set since.
CREATE FUNCTION _bemi.home_schemas_v1() RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT n.nspname::text
    FROM pg_settings s
    CROSS JOIN LATERAL regexp_matches(s.reset_val, '"((?:[^"]|"")*)"|([^,[:space:]]+)', 'g') WITH ORDINALITY p (part, number)
    CROSS JOIN LATERAL (SELECT coalesce(replace(p.part[1], '""', '"'), lower(p.part[2])) AS name) path
    JOIN pg_namespace n ON n.nspname = CASE path.name WHEN '$user' THEN session_user::text ELSE path.name END
    WHERE s.name = 'search_path' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND NOT starts_with(n.nspname::text, '_bemi')
    GROUP BY n.nspname
    ORDER BY min(p.number)
$function$;

-- Return the statements that bring tables in line with the arguments, table by table. An empty statement means that
-- the table cannot be tracked, and "what" says why. "restores" is true if an administrator may have removed on
-- purpose what the statement creates. Patterns are those of LIKE, for schema.table. A partition has the name of its
-- root.
CREATE FUNCTION _bemi.plan_v1(publication name, include text[], exclude text[], targets oid[] DEFAULT NULL)
RETURNS TABLE (relation oid, name text, what text, statement text, restores boolean)
LANGUAGE plpgsql STABLE
SET jit = off
-- Planning takes much longer than running, and the plan is the same for all tables.
SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    wanted oid[] := targets;
    published constant oid := (SELECT p.oid FROM pg_publication p WHERE p.pubname = publication);
    here constant bigint := (SELECT s.system_identifier FROM pg_control_system() s);
    ended constant text :=
        'UPDATE _bemi.relations SET ended = pg_catalog.pg_current_wal_insert_lsn() '
        'WHERE relation OPERATOR(pg_catalog.=) ''%3$s''::pg_catalog.oid AND ended IS NULL';
    roots oid[];
BEGIN
    IF targets IS NULL THEN
        wanted := ARRAY(
            SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema'));
    END IF;
    roots := ARRAY(SELECT DISTINCT coalesce(pg_partition_root(w.oid), w.oid) FROM unnest(wanted) w (oid));
    RETURN QUERY
    WITH relations AS MATERIALIZED (
        SELECT c.oid, c.relkind, c.relreplident, c.relispartition, virtual.is_there AS has_virtual,
               n.nspname || '.' || c.relname AS name,
               format('%I.%I', n.nspname, c.relname) AS quoted,
               c.relpersistence <> 't'
                   AND root.name LIKE ANY (include) AND NOT root.name LIKE ANY (exclude)
                   AND root.oid NOT IN (SELECT o.oid FROM _bemi.ours_v1(roots) o (oid))
                   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                   AND (SELECT count(*) = 0 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                        AND d.objid = c.oid AND d.deptype = 'e') AS is_wanted,
               CASE
                   WHEN c.relpersistence = 'u' THEN 'unlogged'
                   WHEN virtual.is_there AND NOT EXISTS (
                       SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate)
                       THEN 'virtual columns and no primary key'
               END AS obstacle,
               publications.one IS NOT NULL AS is_published, publications.other IS NOT NULL AS is_published_elsewhere,
               publications.is_partial,
               ours.triggers, ours.current_triggers, known.description AS known
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        -- The description that is valid since the last DDL that was noticed. A table that was tracked no longer and is to be
        -- tracked again is a new one.
        LEFT JOIN LATERAL (
            SELECT k.description FROM _bemi.relations k WHERE k.relation = c.oid AND k.system = here AND k.ended IS NULL
            ORDER BY k.since DESC LIMIT 1) known ON true
        CROSS JOIN LATERAL (
            SELECT rc.oid, rn.nspname || '.' || rc.relname AS name
            FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
            WHERE rc.oid = coalesce(pg_partition_root(c.oid), c.oid)) root
        -- PostgreSQL 18 refuses UPDATE and DELETE of a published table with virtual generated columns and REPLICA
        -- IDENTITY FULL. Of such tables only the old key is known.
        CROSS JOIN LATERAL (
            SELECT count(*) > 0 AS is_there FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped
        ) virtual
        CROSS JOIN LATERAL (
            SELECT count(*) AS triggers,
                   count(*) FILTER (
                       WHERE t.tgenabled = 'A' AND t.tgfoid = '_bemi.capture_v1()'::regprocedure) AS current_triggers
            FROM pg_trigger t
            WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
        ) ours
        CROSS JOIN LATERAL (
            SELECT min(r.prpubid) FILTER (WHERE r.prpubid = published) AS one,
                   min(r.prpubid) FILTER (WHERE r.prpubid IS DISTINCT FROM published) AS other,
                   -- A list of columns or a condition on rows, which PostgreSQL 14 does not have.
                   bool_or(r.prpubid = published AND num_nonnulls(
                       to_jsonb(r) ->> 'prattrs', to_jsonb(r) ->> 'prqual') > 0) AS is_partial
            FROM pg_publication_rel r WHERE r.prrelid = c.oid
        ) publications
        WHERE c.relkind IN ('r', 'p') AND c.oid = ANY (wanted)
    ),
    decided AS MATERIALIZED (
        SELECT *, is_wanted AND obstacle IS NULL AS is_chosen,
               -- A partition was tracked with its root. Once it is detached, it is a table of its own.
               known IS NULL OR NOT relispartition AND known -> 'root' <> known -> 'name' AS is_new
        FROM relations
    )
    SELECT r.oid, r.name, step.what,
           format(step.statement, r.quoted, publication, r.oid, r.name, before.identity, present.description),
           NOT r.is_new AND step.what IN ('triggers', 'replica identity full', 'published', 'published as a whole')
    FROM decided r
    -- A table that is not known yet is described once it has triggers.
    LEFT JOIN (
        SELECT p.relation, p.description
        FROM _bemi.describe_v1(ARRAY(SELECT d.oid FROM decided d WHERE d.is_chosen AND d.known IS NOT NULL), false) p
        WHERE EXISTS (SELECT FROM decided d WHERE d.is_chosen AND d.known IS NOT NULL)
    ) present ON present.relation = r.oid
    -- The replica identity to restore: nobody else reads the old rows, so FULL would only cost WAL.
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN NOT r.is_chosen AND r.relkind = 'r' AND NOT r.is_published_elsewhere
                AND (r.triggers > 0 OR r.relreplident = 'f')
                THEN coalesce(_bemi.identity_before_v1(r.oid, r.name),
                              CASE WHEN r.triggers > 0 AND r.relreplident = 'f' THEN 'DEFAULT' END)
        END AS identity) before
    CROSS JOIN LATERAL (VALUES
        (0, r.is_wanted AND r.obstacle IS NOT NULL, r.obstacle, ''),
        (1, r.is_chosen AND r.current_triggers < 2, 'triggers',
            -- Of a table that has another identity, step 2 remembers it.
            CASE WHEN r.relkind = 'r' AND r.relreplident = 'f'
                THEN 'SELECT _bemi.remember_identity_v1(''%3$s'', false); ' ELSE '' END ||
            'CREATE OR REPLACE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON %1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1(); '
            'CREATE OR REPLACE TRIGGER _bemi_capture_truncate BEFORE TRUNCATE ON %1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1(); '
            -- Even where session_replication_role turns other triggers off.
            'ALTER TABLE %1$s ENABLE ALWAYS TRIGGER _bemi_capture, ENABLE ALWAYS TRIGGER _bemi_capture_truncate'),
        -- Two sessions may do this at once: then the second one must not take the identity of the first for the one before.
        (2, r.is_chosen AND r.relkind = 'r' AND NOT r.has_virtual AND r.relreplident <> 'f',
            'replica identity full',
            'LOCK TABLE ONLY %1$s IN ACCESS EXCLUSIVE MODE; '
            'SELECT _bemi.remember_identity_v1(c.oid, true) FROM pg_catalog.pg_class c '
            'WHERE c.oid OPERATOR(pg_catalog.=) ''%3$s''::pg_catalog.oid AND c.relreplident OPERATOR(pg_catalog.<>) ''f''::pg_catalog."char"; '
            'ALTER TABLE %1$s REPLICA IDENTITY FULL'),
        (2, r.is_chosen AND r.relkind = 'r' AND r.has_virtual AND r.relreplident = 'f',
            'replica identity default',
            'LOCK TABLE ONLY %1$s IN ACCESS EXCLUSIVE MODE; '
            'SELECT _bemi.remember_identity_v1(c.oid, true) FROM pg_catalog.pg_class c '
            'WHERE c.oid OPERATOR(pg_catalog.=) ''%3$s''::pg_catalog.oid AND c.relreplident OPERATOR(pg_catalog.=) ''f''::pg_catalog."char"; '
            'ALTER TABLE %1$s REPLICA IDENTITY DEFAULT'),
        -- A partition is published with its root.
        (3, r.is_chosen AND NOT r.relispartition AND NOT r.is_published, 'published',
            'ALTER PUBLICATION %2$I ADD TABLE ONLY %1$s'),
        (3, r.is_chosen AND r.is_partial, 'published as a whole',
            'ALTER PUBLICATION %2$I DROP TABLE ONLY %1$s; ALTER PUBLICATION %2$I ADD TABLE ONLY %1$s'),
        -- After the triggers, because a description says whether they are on. Whoever executes this step turns the
        -- event triggers off, which would take the table for a new one at the steps before.
        (4, r.is_chosen AND (r.known IS NULL OR present.description IS DISTINCT FROM r.known - 'generated'), 'described',
            'INSERT INTO _bemi.relations (relation, description) ' || CASE
                -- What was compared is the whole description, if nothing is generated.
                WHEN r.current_triggers = 2 AND present.description -> 'expressions' = '{}'
                    THEN 'VALUES (''%3$s'', %6$L::pg_catalog.jsonb OPERATOR(pg_catalog.||) ''{"generated": []}''); '
                ELSE 'SELECT * FROM _bemi.describe_v1(''{%3$s}''); ' END ||
            'SELECT pg_catalog.pg_logical_emit_message(true, ''_bemi_ddl'', '''')'),
        (5, NOT r.is_chosen AND r.is_published, 'no longer published',
            'ALTER PUBLICATION %2$I DROP TABLE ONLY %1$s; ' || ended),
        (6, NOT r.is_chosen AND r.triggers > 0, 'no triggers',
            'DROP TRIGGER IF EXISTS _bemi_capture ON %1$s; '
            'DROP TRIGGER IF EXISTS _bemi_capture_truncate ON %1$s; ' || ended),
        (7, before.identity IS NOT NULL,
            CASE before.identity
                WHEN 'FULL' THEN 'replica identity as before'
                WHEN 'NOTHING' THEN 'replica identity nothing'
                WHEN 'DEFAULT' THEN 'replica identity default'
                ELSE 'replica identity of an index' END,
            'ALTER TABLE %1$s REPLICA IDENTITY %5$s; SELECT _bemi.forget_identity_v1(''%3$s'', %4$L)')
    ) step (number, is_due, what, statement)
    WHERE step.is_due
    ORDER BY r.name, r.oid, step.number;
END
$function$;

REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
