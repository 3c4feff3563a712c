-- What a role may try in order to change, remove, hide or forge rows of the log: one attempt a line.
-- LOG is the log, MONTH one of its months, ME the role.
UPDATE LOG SET context = '{}'
UPDATE MONTH SET context = '{}'
WITH gone AS (DELETE FROM LOG RETURNING id) SELECT count(*) FROM gone
MERGE INTO LOG c USING LOG d ON c.id = d.id WHEN MATCHED THEN DELETE
INSERT INTO LOG SELECT * FROM LOG ON CONFLICT (id, committed_at) DO UPDATE SET context = '{}'
SELECT * FROM LOG FOR UPDATE
LOCK TABLE LOG IN ACCESS EXCLUSIVE MODE
LOCK TABLE MONTH IN SHARE ROW EXCLUSIVE MODE
TRUNCATE LOG CASCADE
TRUNCATE ONLY MONTH
COPY MONTH TO PROGRAM 'true'
CREATE TABLE stolen PARTITION OF LOG FOR VALUES FROM ('1990-01-01') TO ('1991-01-01')
CREATE TABLE own (LIKE LOG INCLUDING ALL); ALTER TABLE LOG ATTACH PARTITION own FOR VALUES FROM ('1991-01-01') TO ('1992-01-01')
CREATE TABLE child () INHERITS (MONTH)
CREATE TABLE heir (LIKE MONTH INCLUDING ALL); ALTER TABLE heir INHERIT MONTH
ALTER TABLE LOG DETACH PARTITION MONTH
ALTER TABLE LOG DETACH PARTITION MONTH CONCURRENTLY
ALTER TABLE MONTH NO INHERIT LOG
DROP TABLE MONTH
DROP TABLE LOG CASCADE
ALTER TABLE LOG ADD COLUMN hidden boolean DEFAULT true
ALTER TABLE LOG DROP COLUMN context
ALTER TABLE LOG ALTER COLUMN operation TYPE varchar(3) USING 'no'
ALTER TABLE LOG ALTER COLUMN diverged SET DEFAULT true
ALTER TABLE LOG ADD CHECK (operation = 'no') NOT VALID
ALTER TABLE LOG RENAME TO old
ALTER TABLE LOG RENAME COLUMN before TO earlier
ALTER TABLE MONTH SET SCHEMA _bemi
ALTER TABLE MONTH SET UNLOGGED
ALTER TABLE LOG OWNER TO ME
ALTER TABLE LOG ENABLE ROW LEVEL SECURITY
CREATE POLICY none ON LOG USING (false)
ALTER TABLE LOG DISABLE TRIGGER ALL
ALTER TABLE MONTH DISABLE TRIGGER _bemi_append_only
ALTER TABLE MONTH ENABLE REPLICA TRIGGER _bemi_append_only
DROP TRIGGER _bemi_append_only ON LOG
ALTER TRIGGER _bemi_append_only ON LOG RENAME TO none
CREATE TRIGGER none BEFORE INSERT ON MONTH FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
CREATE RULE none AS ON INSERT TO LOG DO INSTEAD NOTHING
CREATE RULE none AS ON INSERT TO MONTH DO ALSO DELETE FROM MONTH
CREATE OR REPLACE VIEW LOG AS SELECT 1
CREATE VIEW seen AS SELECT * FROM LOG; UPDATE seen SET context = '{}'
CREATE TABLE refers (id uuid, committed_at timestamptz, FOREIGN KEY (id, committed_at) REFERENCES LOG)
CREATE FUNCTION forge(jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS 'BEGIN UPDATE LOG SET context = ''{}''; RETURN $1; END'; CREATE INDEX ON LOG (forge(context))
CREATE STATISTICS none ON operation, database FROM LOG
DROP INDEX LOG_object
REINDEX TABLE MONTH
CLUSTER MONTH USING MONTH_pkey
COMMENT ON TABLE LOG IS 'forged'
GRANT ALL ON LOG TO PUBLIC
GRANT ALL ON MONTH TO ME WITH GRANT OPTION
REVOKE ALL ON LOG FROM bemi_worker
ALTER DEFAULT PRIVILEGES FOR ROLE bemi_log GRANT ALL ON TABLES TO PUBLIC
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO PUBLIC
SET ROLE bemi_log; DELETE FROM LOG
SET SESSION AUTHORIZATION bemi_log; DELETE FROM LOG
GRANT bemi_log TO ME
GRANT pg_write_all_data TO ME
ALTER ROLE ME SUPERUSER
ALTER ROLE bemi_log LOGIN PASSWORD 'known'
CREATE ROLE bemi_other IN ROLE bemi_log
REASSIGN OWNED BY bemi_log TO ME
DROP OWNED BY bemi_log CASCADE
SET session_replication_role = replica; DELETE FROM LOG
SET LOCAL "_bemi.is_following" = 'yes'; DELETE FROM LOG
SET allow_system_table_mods = on; DELETE FROM pg_trigger WHERE tgname = '_bemi_append_only'
UPDATE pg_class SET relowner = (SELECT oid FROM pg_roles WHERE rolname = 'ME') WHERE relname = 'LOG'
ALTER SYSTEM SET session_replication_role = replica
ALTER DATABASE roles SET session_replication_role = replica
ALTER DATABASE roles SET "_bemi.is_following" = 'yes'
CREATE EVENT TRIGGER none ON sql_drop EXECUTE FUNCTION _bemi.follow_ddl_v1()
ALTER EVENT TRIGGER _bemi_follow_ddl DISABLE
CREATE FUNCTION _bemi.mine() RETURNS int LANGUAGE sql RETURN 1
CREATE TABLE _bemi.mine (a int)
CREATE OR REPLACE FUNCTION _bemi.refuse_change_v1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
CREATE OR REPLACE FUNCTION _bemi.log_v1() RETURNS regclass LANGUAGE sql STABLE RETURN 'pg_class'::regclass
ALTER FUNCTION _bemi.refuse_change_v1() SECURITY INVOKER
ALTER FUNCTION _bemi.seal_v1(text, text, text, bytea, bytea, bytea, bytea, bytea) SET search_path = public
DROP FUNCTION _bemi.refuse_change_v1() CASCADE
CREATE TEMPORARY TABLE permits (xid xid8, purpose text); INSERT INTO permits VALUES (NULL, 'none'); DELETE FROM LOG
CREATE TEMPORARY TABLE LOG (LIKE public.LOG); SELECT _bemi.partition_v1('2031-01-01')
INSERT INTO _bemi.permits VALUES (NULL, 'none')
SELECT _bemi.permit_v1('none')
SELECT _bemi.append_only_v1(false)
SELECT _bemi.protect_v1('LOG')
SELECT _bemi.link_v1('', 'removed', '{}', '', '', '', '', '')
SELECT _bemi.seal_v1('', 'removed', '{}', '', '', '', '', '')
SELECT _bemi.seal_v1('', 'replaced', '{}', '', '\x00', '', '\x00', '\x00')
SELECT _bemi.seal_v1('ME', 'imported', '{}', '', '', '', '', '')
SELECT _bemi.note_v1('imported', '{"month": "2003-05"}')
SELECT _bemi.note_replaced_v1('{}', '\x00', '\x00', '\x00', true)
UPDATE _bemi.links SET hash = ''; UPDATE _bemi.chains SET number = 0
SELECT _bemi.recount_v1('2003-05-01', '2003-06-01')
SELECT _bemi.drop_month_v1('2003-05-03', 1)
SELECT _bemi.prune_rows_v1('2003-05-03', '-infinity', '00000000-0000-0000-0000-000000000000', 1000, '[]', _bemi.begin_pruning_v1('{}'))
SELECT _bemi.watch_month_v1('2003-05-03', p), _bemi.prune_month_v1('2003-05-03', '[]', p) FROM _bemi.begin_pruning_v1('{}') p
INSERT INTO _bemi.retention VALUES ('[{"schema": null, "table": null, "period": "0 days"}]')
UPDATE _bemi.retention SET rules = '[{"period": "0 days"}]'
DO $$BEGIN EXECUTE 'DELETE FROM LOG'; END$$
SELECT query_to_xml('DELETE FROM LOG', true, true, '')
SELECT set_config('role', 'bemi_log', false); DELETE FROM LOG
SET ROLE NONE; RESET SESSION AUTHORIZATION; DELETE FROM MONTH
ALTER ROLE bemi_log SET search_path = pg_temp
ALTER ROLE bemi_worker SET search_path = pg_temp
ALTER ROLE bemi_worker PASSWORD 'known'
GRANT _bemi_compute TO ME
GRANT bemi_worker TO ME
ALTER TABLE LOG FORCE ROW LEVEL SECURITY
ALTER TABLE LOG REPLICA IDENTITY NOTHING
ALTER TABLE MONTH SET (autovacuum_enabled = off)
ALTER TABLE MONTH INHERIT LOG
ALTER TABLE _bemi.permits ENABLE ROW LEVEL SECURITY
ALTER TABLE _bemi.links DISABLE TRIGGER ALL
ALTER INDEX LOG_object RENAME TO none
VACUUM FULL MONTH
CREATE PUBLICATION stolen FOR TABLE LOG
CREATE PUBLICATION stolen FOR ALL TABLES
ALTER PUBLICATION bemi ADD TABLE LOG
CREATE SUBSCRIPTION stolen CONNECTION 'dbname=roles' PUBLICATION bemi WITH (connect = false)
SELECT pg_replication_origin_create('stolen'); SELECT pg_replication_origin_session_setup('stolen')
CREATE EXTENSION dblink
CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw
CREATE LANGUAGE plpython3u
CREATE CAST (text AS uuid) WITH INOUT AS IMPLICIT
SECURITY LABEL ON TABLE LOG IS 'none'
SELECT lo_export(lo_from_bytea(0, 'x'), 'MONTH')
CREATE TEMPORARY VIEW LOG AS SELECT * FROM public.LOG; DELETE FROM LOG
CREATE DOMAIN public.text AS pg_catalog.text CHECK (false); SELECT _bemi.partition_v1('2031-02-01')
CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS $$SELECT 'DELETE FROM LOG'$$; SELECT _bemi.partition_v1('2031-03-01')
CREATE FUNCTION pg_temp.format(text, regclass) RETURNS text LANGUAGE sql AS $$SELECT 'DELETE FROM LOG'$$; SET LOCAL search_path = pg_temp, _bemi, public; SELECT _bemi.partition_v1('2031-04-01')
CREATE FUNCTION pg_temp.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.same); SET LOCAL search_path = pg_temp, pg_catalog; SELECT _bemi.partition_v1('2031-05-01')
CREATE TEMPORARY TABLE pg_class (oid oid, relowner oid); SELECT _bemi.partition_v1('2031-06-01'); DROP TABLE pg_temp.pg_class
CREATE SCHEMA ME; CREATE TABLE ME.LOG (LIKE public.LOG); SELECT _bemi.partition_v1('2031-07-01'); DROP SCHEMA ME CASCADE
SELECT setval(c.oid, 1) FROM pg_class c WHERE c.relkind = 'S' AND c.relnamespace = '_bemi'::regnamespace
ALTER SCHEMA public OWNER TO ME
ALTER SCHEMA public RENAME TO elsewhere
DROP SCHEMA public CASCADE
DROP SCHEMA _bemi CASCADE
DROP OWNED BY ME CASCADE
