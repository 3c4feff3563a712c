"""Code of the owner of a table that attacks the worker, which evaluates it."""

from __future__ import annotations

TABLE = """
CREATE TABLE caught (what text);
GRANT ALL ON caught TO PUBLIC;
CREATE TABLE vault (content text);
INSERT INTO vault VALUES ('row-value');
-- Tells whether a role with rights ran deferred code: no rollback undoes what a sequence counts.
CREATE SEQUENCE fired;
GRANT ALL ON SEQUENCE fired TO PUBLIC;
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    IF current_user <> '_bemi_compute' THEN
        PERFORM nextval('fired');
    END IF;
    RETURN NULL;
END
$function$;
CREATE TABLE queue (a int);
GRANT ALL ON queue TO PUBLIC;
CREATE CONSTRAINT TRIGGER queue AFTER INSERT ON queue DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION fire();
-- Volatile, because other functions cannot write; an immutable function may call it.
CREATE FUNCTION attacking() RETURNS text VOLATILE LANGUAGE plpgsql AS $function$
DECLARE
    found text := 'harmless';
BEGIN
    -- The writer of the row, who calls it as well, is not the victim.
    IF current_setting('attack.is_off', true) = 'yes' THEN
        RETURN found;
    END IF;
    {}
    RETURN found;
END
$function$;
CREATE FUNCTION attack(n int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN attacking(); END$$;
CREATE TYPE kind AS ENUM ('a');
CREATE FUNCTION as_json(kind kind) RETURNS json IMMUTABLE LANGUAGE sql AS
    $$SELECT to_json(attack(1)) WHERE kind IS NOT NULL$$;
CREATE CAST (kind AS json) WITH FUNCTION as_json(kind);
CREATE TABLE bait (id int PRIMARY KEY, kind kind);
"""
CLEAN = """
DROP TABLE IF EXISTS bait, caught, vault, queue;
DROP FUNCTION IF EXISTS fire(); DROP SEQUENCE IF EXISTS fired;
DROP TYPE IF EXISTS kind CASCADE;
DROP FUNCTION IF EXISTS attack(int), attacking();
"""
LOOP = "LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;"
DEFERRED = "INSERT INTO queue VALUES (1);"
DEFERRED_TEMPORARY = """
CREATE TEMP TABLE later (a int);
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION fire();
INSERT INTO later VALUES (1);
"""
#: What the code tries, none of which may succeed.
ATTACKS = {
    "write": "INSERT INTO caught VALUES ('write');",
    "read": "SELECT content FROM vault INTO found;",
    "become the worker": "RESET ROLE; INSERT INTO caught VALUES ('reset');",
    "become another": "EXECUTE 'SET ROLE ' || quote_ident(session_user); INSERT INTO caught VALUES ('role');",
    "become a session": "EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; INSERT INTO caught VALUES ('session');",
    "write after all": "SET transaction_read_only = off; INSERT INTO caught VALUES ('read only');",
    "commit": "COMMIT; INSERT INTO caught VALUES ('commit');",
    "temporary table": "CREATE TEMP TABLE pg_class (oid oid); found := 'made';",
    "program": "COPY (SELECT 1) TO PROGRAM 'true'; found := 'ran';",
    "end another": "PERFORM pg_terminate_backend(pid) FROM pg_stat_activity; found := 'ended';",
    "loop": LOOP,
    "loop without a pause": "LOOP BEGIN LOOP found := ''; END LOOP; EXCEPTION WHEN query_canceled THEN NULL; "
    "END; END LOOP;",
    "much": "found := repeat('x', 500000000);",
    "no right": "RAISE SQLSTATE '42501';",
    "a full disk": "RAISE SQLSTATE '53100';",
    "a shutdown": "RAISE SQLSTATE '57P01';",
    "a lost connection": "RAISE SQLSTATE '08006';",
    "a missing table": "SELECT a FROM nowhere INTO found;",
    "passwords": "SELECT string_agg(rolname, ' ') FROM pg_authid INTO found;",
    "a file": "SELECT pg_read_file('PG_VERSION') INTO found;",
    "a directory": "SELECT string_agg(name, ' ') FROM pg_ls_dir('.') name INTO found;",
    "write a file": "COPY (SELECT 1) TO '/tmp/_bemi_attack'; found := 'written';",
    "export": "PERFORM lo_export(lo_from_bytea(0, 'x'), '/tmp/_bemi_attack'); found := 'exported';",
    "import": "PERFORM lo_import('/etc/hostname'); found := 'imported';",
    "settings of the server": "EXECUTE 'ALTER SYSTEM SET work_mem = 64'; found := 'set';",
    "triggers off": "PERFORM set_config('session_replication_role', 'replica', true); found := 'off';",
    "drop the slot": "PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots; "
    "found := 'dropped';",
    "advance the slot": "PERFORM pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) "
    "FROM pg_replication_slots; found := 'advanced';",
    "cancel another": "PERFORM pg_cancel_backend(pid) FROM pg_stat_activity; found := 'cancelled';",
    "prepare a commit": "EXECUTE $$PREPARE TRANSACTION 'attack'$$; found := 'prepared';",
    "a temporary table with a deferred trigger": f"{DEFERRED_TEMPORARY} found := 'queued';",
    "a deferred trigger": f"{DEFERRED} found := 'queued';",
    "a deferred trigger at once": f"SET CONSTRAINTS ALL IMMEDIATE; {DEFERRED} found := 'fired';",
    "a deferred trigger, then at once": f"{DEFERRED} SET CONSTRAINTS ALL IMMEDIATE; found := 'fired';",
    "a message for the next row": "PERFORM pg_logical_emit_message(false, '_bemi', '{\"user_id\": 999}');",
    "a message in its transaction": "PERFORM pg_logical_emit_message(true, '_bemi', '{\"user_id\": 999}');",
    "a long error": "RAISE EXCEPTION '%', repeat('x', 200000000);",
    "a long notice": "RAISE NOTICE '%', repeat('x', 50000000);",
}
# Code that connects to the database again, as the owner of the server.
CONNECTIONS = {
    "dblink": "PERFORM dblink_exec('{address}', 'INSERT INTO caught VALUES (1)'); found := 'linked';",
    "dblink, with a password": "PERFORM dblink_exec('{address} password=guess', "
    "'INSERT INTO caught VALUES (1)'); found := 'linked';",
    "dblink, by name": "PERFORM dblink_connect('attack', '{address}'); found := 'linked';",
    "dblink, without a check": "PERFORM dblink_connect_u('{address}'); found := 'linked';",
    "dblink, by a server": "PERFORM dblink_connect('here'); found := 'linked';",
    "a foreign table": "SELECT content FROM vault_of_here INTO found;",
}
# What PostgreSQL lets anybody do, with a query of what it would leave behind for the next row.
RESIDUES = {
    "an advisory lock": (
        "PERFORM pg_advisory_lock(4711);",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711",
    ),
    "a prepared statement": (
        "EXECUTE 'PREPARE attack AS SELECT 1';",
        "SELECT count(*) FROM pg_prepared_statements",
    ),
    "a cursor": (
        "EXECUTE 'DECLARE attack CURSOR WITH HOLD FOR SELECT 1';",
        "SELECT count(*) FROM pg_cursors WHERE name = 'attack'",
    ),
    "a channel": ("LISTEN attack;", "SELECT count(*) FROM pg_listening_channels()"),
    "a setting": (
        "PERFORM set_config('attack.left', 'x', false);",
        "SELECT coalesce(length(current_setting('attack.left', true)), 0)",
    ),
    "a large object": ("PERFORM lo_from_bytea(0, 'x');", "SELECT count(*) FROM pg_largeobject_metadata"),
}
