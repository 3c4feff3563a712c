-- Everything in a database that another test could stumble over, one thing a line. Views of the past are made when they
-- are due, and months of the log when they are needed: an event may say that it was a month ago.
WITH schemas AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^(pg_|_bemi_past)' AND nspname <> 'information_schema'
), relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name
    FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace
    WHERE NOT (c.relispartition
        AND c.relname >= 'changes_' || to_char((now() - interval '31 days') AT TIME ZONE 'UTC', 'YYYY_MM'))
)
SELECT concat_ws(' ', 'schema', nspname) FROM schemas
UNION ALL
SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, 'identity', relreplident,
    CASE WHEN relrowsecurity THEN 'with policies' END, array_to_string(reloptions, ' '))
FROM relations
UNION ALL
SELECT concat_ws(' ', 'column', r.name, a.attname, a.atttypid::regtype, CASE WHEN a.attnotnull THEN 'NOT NULL' END)
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT concat_ws(' ', 'trigger', r.name, t.tgname, t.tgenabled)
FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT concat_ws(' ', 'constraint', r.name, k.conname) FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
UNION ALL
-- Those of extensions come and go with these.
SELECT concat_ws(' ', 'function', s.nspname, p.proname) FROM schemas s JOIN pg_proc p ON p.pronamespace = s.oid
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT concat_ws(' ', 'type', s.nspname, t.typname)
FROM schemas s JOIN pg_type t ON t.typnamespace = s.oid WHERE t.typtype IN ('d', 'e', 'r')
UNION ALL
SELECT concat_ws(' ', 'cast', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid >= 16384
UNION ALL
SELECT concat_ws(' ', 'extension', extname) FROM pg_extension
UNION ALL
SELECT concat_ws(' ', 'event trigger', evtname, evtenabled) FROM pg_event_trigger
UNION ALL
SELECT concat_ws(' ', 'publication', p.pubname, r.name)
FROM pg_publication p
LEFT JOIN (pg_publication_rel l JOIN relations r ON r.oid = l.prrelid) ON l.prpubid = p.oid
UNION ALL
SELECT concat_ws(' ', 'replication slot', slot_name)
FROM pg_replication_slots WHERE database IS NULL OR database = current_database()
UNION ALL
SELECT concat_ws(' ', 'prepared transaction', gid) FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL
SELECT concat_ws(' ', 'database', datname) FROM pg_database
UNION ALL
SELECT concat_ws(' ', 'role', rolname, CASE WHEN rolsuper THEN 'SUPERUSER' END,
    CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolcanlogin THEN 'LOGIN' END)
FROM pg_roles WHERE rolname !~ '^pg_'
UNION ALL
SELECT concat_ws(' ', 'member', roleid::regrole, member::regrole) FROM pg_auth_members WHERE member >= 16384
UNION ALL
SELECT concat_ws(' ', 'setting of', coalesce(d.datname, 'all databases'), s.setrole::regrole, s.setconfig)
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
WHERE s.setdatabase = 0 OR d.datname = current_database()
UNION ALL
SELECT concat_ws(' ', 'setting', name, setting) FROM pg_settings
WHERE source = 'configuration file' AND context <> 'internal'
UNION ALL
SELECT concat_ws(' ', 'default rights', defaclrole::regrole, defaclacl) FROM pg_default_acl;
