-- What is kept of the log, what was removed from it, and from when on it is therefore complete for each table.

-- What the owner of the log allows to be removed, as one array: {"schema", "table", "period", "held"}. A rule without a
-- table is the default, one without a schema is for tables of that name in all schemas. A rule without a period keeps
-- changes forever. One that is held keeps them whatever the others say.
CREATE TABLE _bemi.retention (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    rules jsonb NOT NULL,
    allowed_by text NOT NULL DEFAULT session_user,
    allowed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The runs that have removed changes, of 'bemi prune' and of others.
CREATE TABLE _bemi.prunings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL while a run is at work, or if it was interrupted.
    ended_at timestamptz,
    role text NOT NULL DEFAULT session_user,
    who jsonb NOT NULL,
    -- The months that were dropped as a whole.
    months text[] NOT NULL DEFAULT '{}',
    -- Why something that could be removed was not.
    stopped text[] NOT NULL DEFAULT '{}'
);

CREATE TABLE _bemi.pruned (
    pruning bigint NOT NULL REFERENCES _bemi.prunings ON DELETE CASCADE,
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    changes bigint NOT NULL,
    PRIMARY KEY (pruning, database, schema, "table")
);

-- The log of a table is complete after the last of these changes, which were removed from it. A table that is not here
-- is complete from the start of the log on. Gaps belong to the table ''.
CREATE TABLE _bemi.completeness (
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    -- The month (UTC) of the changes, whether they went with the whole of it, and their number, without events: they may be
    -- brought back.
    month date NOT NULL,
    is_whole boolean NOT NULL,
    changes bigint NOT NULL,
    -- The last of them.
    last uuid NOT NULL,
    committed_at timestamptz NOT NULL,
    -- The greatest id of a transaction, which belongs to the source of the last change.
    transaction_id bigint NOT NULL,
    -- Whether the partition was detached or dropped by hand. Nobody knows what was in it but by its counts, so "changes" are
    -- those with events, and the rest is the most that they can be.
    is_lost boolean NOT NULL DEFAULT false,
    -- Whether the owner of the log knows that.
    is_told boolean NOT NULL DEFAULT true,
    PRIMARY KEY (database, schema, "table", month, is_whole)
);

-- The months that are counted and have no partition: it was detached or dropped by hand, and may be attached again; and those
-- that have got another one since, until the owner of the log knows it. Gaps belong to no table, and neither do events without
-- one.
CREATE VIEW _bemi.lost_months AS
SELECT k.database, k.schema, k."table", k.month, k.committed_at AS next, k.changes, true AS is_noted
FROM _bemi.completeness k WHERE NOT k.is_told
UNION ALL
SELECT a.database, a.schema, a.name, m.first::date, (m.first + interval '1 month') AT TIME ZONE 'UTC', a.changes, false
FROM (
    SELECT generate_series(min(a.moment) AT TIME ZONE 'UTC', max(a.moment) AT TIME ZONE 'UTC', interval '1 month') AS first
    FROM _bemi.activity a WHERE a.kind = 'table' AND a.unit = 'month'
) m
JOIN _bemi.activity a ON a.kind = 'table' AND a.unit = 'month' AND a.moment = m.first AT TIME ZONE 'UTC'
WHERE m.first NOT IN (SELECT p.first AT TIME ZONE 'UTC' FROM _bemi.months_v1() p WHERE p.first IS NOT NULL)
    AND (a.name <> '' OR EXISTS (
        SELECT FROM _bemi.activity g
        WHERE g.kind = 'operation' AND g.unit = 'month' AND g.moment = a.moment AND g.database = a.database
            AND g.schema = a.schema AND g.name = 'GAP'));

-- Return the first change of a database from a moment on; nothing to a role that may not read the log. Not a part of the view,
-- because planning a query of all months takes long.
CREATE FUNCTION _bemi.next_change_v1(database text, moment timestamptz) RETURNS TABLE (id uuid, transaction_id bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF has_table_privilege(_bemi.log_v1(), 'SELECT') THEN
        RETURN QUERY EXECUTE format(
            'SELECT c.id, c.transaction_id FROM %s c WHERE c.database = $1 AND c.committed_at >= $2 ORDER BY c.id LIMIT 1',
            _bemi.log_v1()) USING database, moment;
    END IF;
END
$function$;

-- Up to when changes were removed, with the lost months. Without a later change, what was in them ends with the log.
CREATE VIEW _bemi.incomplete AS
SELECT k.database, k.schema, k."table", k.month, k.is_whole, k.changes, k.last, k.committed_at, k.transaction_id,
       true AS is_noted
FROM _bemi.completeness k
UNION ALL
SELECT m.database, m.schema, m."table", m.month, true, m.changes, coalesce(n.id, e.last),
       least(m.next - interval '1 microsecond', e.committed_at), coalesce(n.transaction_id, 9223372036854775807),
       false
FROM _bemi.lost_months m
-- Asked for once, and not for each table of a month.
LEFT JOIN (
    SELECT d.database, d.next, f.id, f.transaction_id
    FROM (SELECT DISTINCT l.database, l.next FROM _bemi.lost_months l WHERE NOT l.is_noted) d
    CROSS JOIN LATERAL _bemi.next_change_v1(d.database, d.next) f
) n ON n.database = m.database AND n.next = m.next
CROSS JOIN LATERAL (
    SELECT coalesce(max(_bemi.bound_v1(_bemi.sequence_v1(coalesce(h.number, 0), k.lsn))::text), repeat('0', 32))::uuid AS last,
           max(k.committed_at) AS committed_at
    FROM _bemi.checkpoint k
    LEFT JOIN LATERAL (
        SELECT max(h.number) AS number FROM _bemi.histories h WHERE h.slot = k.slot AND h.start_lsn <= k.lsn) h ON true
    WHERE k.recorded_as = m.database AND k.sink = '') e
WHERE NOT m.is_noted;

-- Partitions that were written since it was noted that they are watched.
CREATE TABLE _bemi.touched (
    relation oid NOT NULL
);

-- How far the log was searched for changes that a period, as interval, does not keep.
CREATE TABLE _bemi.walked (
    period text PRIMARY KEY,
    -- A digest of the rules of then.
    rules text NOT NULL,
    until timestamptz NOT NULL
);

-- Return the partition of the month (UTC) of a moment, or NULL.
CREATE FUNCTION _bemi.month_v1(moment timestamptz) RETURNS regclass
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $function$
DECLARE
    first constant timestamptz := date_trunc('month', moment);
BEGIN
    RETURN (
        SELECT c.oid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = _bemi.log_v1() AND NOT i.inhdetachpending
            AND pg_get_expr(c.relpartbound, c.oid) = format(
                'FOR VALUES FROM (%L) TO (%L)', first, first + interval '1 month'));
END
$function$;

-- Return the moment before which rules keep no change of a table; -infinity if they keep all.
CREATE FUNCTION _bemi.kept_since_v1(schema text, "table" text, rules jsonb) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $function$
DECLARE
    rule record;
BEGIN
    FOR rule IN
        SELECT r.held, r.period::interval AS period
        FROM jsonb_to_recordset(rules) r (schema text, "table" text, period text, held boolean)
        WHERE (r."table" IS NULL OR r."table" = kept_since_v1."table" AND (r.schema IS NULL OR r.schema = kept_since_v1.schema))
        ORDER BY r.held DESC NULLS LAST, r."table" IS NULL, r.schema IS NULL LIMIT 1
    LOOP
        IF NOT coalesce(rule.held, false) AND rule.period > interval '0' THEN
            RETURN date_trunc('minute', now()) - rule.period;
        END IF;
    END LOOP;
    RETURN '-infinity';
END
$function$;

-- Note that changes of a table were removed, which belong to one month: "rows" of them are no events. Without events, the
-- past is as well known as with them: "last" and "committed_at" are those of the others, or NULL.
CREATE FUNCTION _bemi.note_removed_v1(
    pruning bigint, database text, schema text, "table" text, is_whole boolean, changes bigint, rows bigint,
    last uuid, committed_at timestamptz, transaction_id bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO _bemi.pruned AS p VALUES ($1, $2, $3, $4, $6)
    ON CONFLICT (pruning, database, schema, "table") DO UPDATE SET changes = p.changes + excluded.changes;
    IF $8 IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO _bemi.completeness AS k VALUES ($2, $3, $4, date_trunc('month', $9), $5, $7, $8, $9, $10)
    ON CONFLICT (database, schema, "table", month, is_whole) DO UPDATE SET
        changes = k.changes + excluded.changes,
        last = greatest(k.last, excluded.last), committed_at = greatest(k.committed_at, excluded.committed_at),
        -- The ids of transactions of two sources have nothing to do with each other. The last bits of an id are its source.
        transaction_id = CASE
            WHEN right(k.last::text, 7) = right(excluded.last::text, 7) THEN greatest(k.transaction_id, excluded.transaction_id)
            WHEN excluded.last > k.last THEN excluded.transaction_id
            ELSE k.transaction_id END;
END
$function$;

-- Note that a month was lost, if it was: its changes were counted, and it has no partition. And whether the owner knows it.
CREATE FUNCTION _bemi.note_lost_v1(month timestamptz, is_told boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $function$
#variable_conflict use_column
DECLARE
    first constant timestamptz := date_trunc('month', $1);
BEGIN
    INSERT INTO _bemi.completeness AS k (
        database, schema, "table", month, is_whole, changes, last, committed_at, transaction_id, is_lost, is_told)
    SELECT i.database, i.schema, i."table", i.month, true, i.changes, i.last, i.committed_at, i.transaction_id, true, $2
    FROM _bemi.incomplete i WHERE i.month = first::date AND NOT i.is_noted
    ON CONFLICT (database, schema, "table", month, is_whole) DO UPDATE SET
        changes = k.changes + excluded.changes, last = greatest(k.last, excluded.last), is_lost = true, is_told = $2,
        committed_at = greatest(k.committed_at, excluded.committed_at),
        transaction_id = greatest(k.transaction_id, excluded.transaction_id);
    IF FOUND THEN
        DELETE FROM _bemi.activity a WHERE a.moment >= first AND a.moment < first + interval '1 month';
    END IF;
    UPDATE _bemi.completeness k SET is_told = true WHERE k.month = first::date AND NOT k.is_told AND $2;
END
$function$;

-- Note that changes of a month were brought back. Retention looks at the month again. A table is complete again if the log has
-- as many changes of it as were removed, the last one among them: with the whole month, or also before that.
CREATE FUNCTION _bemi.note_returned_v1(month timestamptz) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $function$
DECLARE
    first constant timestamptz := date_trunc('month', month);
BEGIN
    UPDATE _bemi.walked w SET until = first WHERE w.until > first;
    PERFORM _bemi.recount_v1(first, first + interval '1 month' - interval '1 day');
    EXECUTE format($query$
        WITH present AS MATERIALIZED (
            SELECT database, schema, "table", count(*) AS everything,
                   count(*) FILTER (WHERE operation NOT IN ('EVENT', 'ERASED')) AS changes
            FROM %1$s WHERE committed_at >= $1 AND committed_at < $2 GROUP BY database, schema, "table"
        ),
        returned AS MATERIALIZED (
            SELECT k.*, s.changes IS NOT NULL AND p.changes > k.changes AS is_everything
            FROM _bemi.completeness k
            JOIN present p USING (database, schema, "table")
            LEFT JOIN _bemi.completeness s ON (s.database, s.schema, s."table", s.month, s.is_whole)
                = (k.database, k.schema, k."table", k.month, false)
            WHERE k.month = $1::date AND k.is_whole AND (k.is_lost AND p.everything >= k.changes OR (
                EXISTS (SELECT FROM %1$s c WHERE c.id = k.last AND c.committed_at >= $1 AND c.committed_at < $2)
                AND (p.changes = k.changes OR p.changes = k.changes + s.changes AND EXISTS (
                    SELECT FROM %1$s c WHERE c.id = s.last AND c.committed_at >= $1 AND c.committed_at < $2))))
        )
        DELETE FROM _bemi.completeness k USING returned r
        WHERE (k.database, k.schema, k."table", k.month) = (r.database, r.schema, r."table", r.month)
            AND (k.is_whole OR r.is_everything)$query$, _bemi.log_v1())
    USING first, first + interval '1 month';
END
$function$;

-- Note that a month is written while it is counted or compared with the archive.
CREATE FUNCTION _bemi.note_touched_v1() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    setting constant text := '_bemi.touched_' || TG_RELID;
BEGIN
    -- Once in a transaction is enough. A rollback to a savepoint takes both back.
    IF current_setting(setting, true) IS DISTINCT FROM 'yes' THEN
        INSERT INTO _bemi.touched VALUES (TG_RELID);
        PERFORM set_config(setting, 'yes', true);
    END IF;
    RETURN NULL;
END
$function$;

-- Refuse a run that is over, or that another role has begun.
CREATE FUNCTION _bemi.require_pruning_v1(pruning bigint) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM _bemi.prunings p WHERE p.id = pruning AND p.ended_at IS NULL AND p.role = session_user) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format(
            'The role %I has no open run %s: begin one with _bemi.begin_pruning_v1', session_user, coalesce(pruning::text, 'NULL'));
    END IF;
END
$function$;

-- Watch a month from now on, until it is dropped: _bemi.touched then has it if somebody has written to it. So nobody has to
-- be kept from writing while it is counted, or compared with the archive.
CREATE FUNCTION _bemi.watch_month_v1(month timestamptz, pruning bigint) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET lock_timeout = '100ms'
AS $function$
DECLARE
    partition constant regclass := _bemi.month_v1(month);
    following constant text := current_setting('_bemi.is_following', true);
BEGIN
    PERFORM _bemi.require_pruning_v1(pruning);
    -- What others have written, but not committed yet, is still there afterwards.
    DELETE FROM _bemi.touched t WHERE t.relation = partition;
    IF partition IS NULL OR EXISTS (
        SELECT FROM pg_trigger g WHERE g.tgrelid = partition AND g.tgfoid = '_bemi.note_touched_v1()'::regprocedure)
    THEN
        RETURN;
    END IF;
    -- The statements below fire event triggers, which have nothing to do with the log.
    PERFORM set_config('_bemi.is_following', 'yes', true);
    EXECUTE format('CREATE TRIGGER _bemi_touched AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
                   'EXECUTE FUNCTION _bemi.note_touched_v1()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER _bemi_touched', partition);
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
END
$function$;

-- Note the changes of a month as removed, then detach and drop its partition, and return their number. Whoever calls it
-- must have the rights of the log's owner, and may not have to keep any of them. Everything or nothing is done.
-- The month must be watched. If it is not, or if it was written since, this fails with serialization_failure: watch it and
-- call again. The transaction must be READ COMMITTED.
-- Nobody waits for it longer than its lock_timeout: if a session that has read the log does not end its transaction, it
-- fails with lock_not_available, and is to be called again later. DETACH CONCURRENTLY would wait for that session without
-- end, cannot be part of a transaction, and leaves something to be cleaned up if it is interrupted.
CREATE FUNCTION _bemi.drop_month_v1(month timestamptz, pruning bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET lock_timeout = '100ms'
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    partition constant regclass := _bemi.month_v1(month);
    following constant text := current_setting('_bemi.is_following', true);
    removed bigint := 0;
    tries integer := 0;
    gone record;
BEGIN
    PERFORM _bemi.require_pruning_v1(pruning);
    IF partition IS NULL THEN
        RETURN 0;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger g WHERE g.tgrelid = partition AND g.tgfoid = '_bemi.note_touched_v1()'::regprocedure)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = format('%s is not watched', partition);
    END IF;
    FOR gone IN EXECUTE format(
        'SELECT database, schema, "table", count(*) AS changes, count(*) FILTER (WHERE operation NOT IN (''EVENT'', ''ERASED'')) AS rows, '
        'max(id::text COLLATE "C") FILTER (WHERE operation NOT IN (''EVENT'', ''ERASED''))::uuid AS last, '
        'max(committed_at) FILTER (WHERE operation NOT IN (''EVENT'', ''ERASED'')) AS committed_at, '
        'max(transaction_id) AS transaction_id FROM %s '
        'GROUP BY database, schema, "table", right(id::text, 8) ORDER BY last', partition)
    LOOP
        PERFORM _bemi.note_removed_v1(pruning, gone.database, gone.schema, gone."table", true, gone.changes, gone.rows,
                                      gone.last, gone.committed_at, gone.transaction_id);
        removed := removed + gone.changes;
    END LOOP;
    EXECUTE format('DELETE FROM _bemi.dead_letters l WHERE l.change_id IN (SELECT id FROM %s)', partition);
    UPDATE _bemi.prunings p SET months = p.months || to_char(month, 'YYYY-MM') WHERE p.id = pruning;
    -- The statements below fire event triggers, which have nothing to do with the log.
    PERFORM set_config('_bemi.is_following', 'yes', true);
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', log, partition);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            tries := tries + 1;
            IF tries = 5 THEN
                RAISE;
            END IF;
            -- Those that have queued behind it run first.
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    -- From here on nobody writes to the month.
    IF current_setting('transaction_isolation') <> 'read committed'
        OR EXISTS (SELECT FROM _bemi.touched t WHERE t.relation = partition)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = format('%s was written while it was counted', partition);
    END IF;
    EXECUTE format('DROP TABLE %s', partition);
    -- How many they were also tells about people.
    PERFORM _bemi.share_activity_v1(month, month, false);
    DELETE FROM _bemi.activity a
    WHERE a.moment >= date_trunc('month', month) AND a.moment < date_trunc('month', month) + interval '1 month';
    PERFORM set_config('_bemi.is_following', coalesce(following, ''), true);
    PERFORM _bemi.note_v1('month', jsonb_build_object(
        'month', to_char(month, 'YYYY-MM'), 'changes', removed, 'pruning', pruning,
        'who', (SELECT p.who FROM _bemi.prunings p WHERE p.id = pruning)));
    RETURN removed;
END
$function$;

-- Begin a run, and return its number.
CREATE FUNCTION _bemi.begin_pruning_v1(who jsonb) RETURNS bigint
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    INSERT INTO _bemi.prunings (who) VALUES (who) RETURNING id
$function$;

-- End a run; "stopped" says why something was not removed.
CREATE FUNCTION _bemi.end_pruning_v1(pruning bigint, stopped text[]) RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT _bemi.require_pruning_v1(pruning);
    UPDATE _bemi.prunings p SET ended_at = clock_timestamp(), stopped = end_pruning_v1.stopped WHERE p.id = pruning
$function$;

-- The functions below have the rights of their owner, because nobody else may remove changes. Therefore they take no
-- argument that names an object, and remove nothing but what the owner's rules allow, in an open run of the same role.
-- "waiting" is what handlers have to get first: [{"database", "last"}] stands for the changes of a database, or of all,
-- with greater ids.

-- Drop the partition of a month if the rules keep none of its changes, and return their number: NULL if something has to
-- be kept. "stopped_at" is a change that a handler has to get first. The month must be watched, as above.
CREATE FUNCTION _bemi.prune_month_v1(
    month timestamptz, waiting jsonb, pruning bigint, OUT removed bigint, OUT stopped_at uuid)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET lock_timeout = '100ms'
AS $function$
DECLARE
    rules constant jsonb := (SELECT r.rules FROM _bemi.retention r);
    partition constant regclass := _bemi.month_v1(month);
    next constant timestamptz := date_trunc('month', month) + interval '1 month';
    named text;
    is_kept boolean;
BEGIN
    PERFORM _bemi.require_pruning_v1(pruning);
    IF partition IS NULL OR rules IS NULL OR next > now() THEN
        RETURN;
    END IF;
    LOOP
        -- The next name that the index has, rather than all rows.
        EXECUTE format('SELECT min("table") FROM %s WHERE $1 IS NULL OR "table" > $1', partition) USING named INTO named;
        EXIT WHEN named IS NULL;
        IF EXISTS (SELECT FROM jsonb_to_recordset(rules) r (schema text, "table" text)
                   WHERE r."table" = named AND r.schema IS NOT NULL) THEN
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM (SELECT DISTINCT schema FROM %s WHERE "table" = $1) s '
                'WHERE $2 > _bemi.kept_since_v1(s.schema, $1, $3))', partition) USING named, next, rules INTO is_kept;
        ELSE
            is_kept := next > _bemi.kept_since_v1('', named, rules);
        END IF;
        IF is_kept THEN
            RETURN;
        END IF;
    END LOOP;
    EXECUTE format(
        'SELECT p.id FROM %s p WHERE p.id IN (SELECT u.change_id FROM _bemi.undelivered u) OR EXISTS ('
        'SELECT FROM jsonb_to_recordset($1) w (database text, last uuid) '
        'WHERE p.id > w.last AND p.database = coalesce(w.database, p.database)) ORDER BY p.id LIMIT 1', partition)
    USING waiting INTO stopped_at;
    IF stopped_at IS NULL THEN
        removed := _bemi.drop_month_v1(month, pruning);
    END IF;
END
$function$;

-- Look at the next changes of a month after an id, at most "most" of them and none that were committed before "since", and
-- remove those that the rules do not keep. "reached" is the last of them, or NULL if there are no more.
CREATE FUNCTION _bemi.prune_rows_v1(
    month timestamptz, since timestamptz, after uuid, most integer, waiting jsonb, pruning bigint,
    OUT reached uuid, OUT removed bigint, OUT stopped_at uuid)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET lock_timeout = '100ms'
AS $function$
DECLARE
    rules constant jsonb := (SELECT r.rules FROM _bemi.retention r);
    partition constant regclass := _bemi.month_v1(month);
    -- No rule removes a later one.
    newest constant timestamptz := (
        SELECT max(now() - r.period::interval) FROM jsonb_to_recordset(rules) r (period text));
    next constant text :=
        'SELECT id FROM %s WHERE id > $1 AND committed_at < $2 AND committed_at >= $3 ORDER BY id %s LIMIT 1';
    doomed constant text := format($query$
        WITH seen AS MATERIALIZED (
            SELECT id, committed_at, database, schema, "table" FROM %s
            WHERE id > $1 AND id <= $2 AND committed_at < $3 AND committed_at >= $6
        ),
        named AS MATERIALIZED (
            SELECT n.schema, n."table", _bemi.kept_since_v1(n.schema, n."table", $4) AS since
            FROM (SELECT DISTINCT schema, "table" FROM seen) n
        ),
        doomed AS MATERIALIZED (
            SELECT s.* FROM seen s JOIN named n ON n.schema = s.schema AND n."table" = s."table"
            WHERE s.committed_at < n.since
        )$query$, partition);
    gone record;
    ids uuid[] := '{}';
BEGIN
    PERFORM _bemi.require_pruning_v1(pruning);
    removed := 0;
    IF partition IS NULL OR newest IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format(next, partition, 'ASC OFFSET $4') USING after, newest, since, greatest(most, 1) - 1 INTO reached;
    IF reached IS NULL THEN
        EXECUTE format(next, partition, 'DESC') USING after, newest, since INTO reached;
    END IF;
    IF reached IS NULL THEN
        RETURN;
    END IF;
    EXECUTE doomed || $query$
        SELECT d.id FROM doomed d
        WHERE d.id IN (SELECT u.change_id FROM _bemi.undelivered u) OR EXISTS (
            SELECT FROM jsonb_to_recordset($5) w (database text, last uuid)
            WHERE d.id > w.last AND d.database = coalesce(w.database, d.database))
        ORDER BY d.id LIMIT 1$query$
    USING after, reached, newest, rules, waiting, since INTO stopped_at;
    EXECUTE doomed || ' SELECT array_agg(d.id) FROM doomed d WHERE $5 IS NULL OR d.id < $5'
    USING after, reached, newest, rules, stopped_at, since INTO ids;
    PERFORM _bemi.count_changes_v1(ids, true, partition);
    ids := '{}';
    PERFORM _bemi.permit_v1('prune');
    FOR gone IN EXECUTE doomed || format($query$,
        gone AS (
            DELETE FROM %s p USING doomed d
            WHERE p.id = d.id AND p.committed_at = d.committed_at AND ($5 IS NULL OR d.id < $5)
            RETURNING p.id, p.committed_at, p.database, p.schema, p."table", p.transaction_id, p.operation
        ),
        letters AS (DELETE FROM _bemi.dead_letters l USING gone g WHERE l.change_id = g.id)
        SELECT database, schema, "table", count(*) AS changes, count(*) FILTER (WHERE operation NOT IN ('EVENT', 'ERASED')) AS rows,
               max(id::text COLLATE "C") FILTER (WHERE operation NOT IN ('EVENT', 'ERASED'))::uuid AS last,
               max(committed_at) FILTER (WHERE operation NOT IN ('EVENT', 'ERASED')) AS committed_at,
               max(transaction_id) AS transaction_id, array_agg(id) AS ids
        FROM gone GROUP BY database, schema, "table", right(id::text, 8) ORDER BY last$query$, partition)
    USING after, reached, newest, rules, stopped_at, since
    LOOP
        PERFORM _bemi.note_removed_v1(pruning, gone.database, gone.schema, gone."table", false, gone.changes, gone.rows,
                                      gone.last, gone.committed_at, gone.transaction_id);
        removed := removed + gone.changes;
        ids := ids || gone.ids;
    END LOOP;
    PERFORM _bemi.end_permit_v1();
    IF removed > 0 THEN
        PERFORM _bemi.note_v1(
            'removed', jsonb_build_object(
                'changes', removed, 'pruning', pruning,
                'who', (SELECT p.who FROM _bemi.prunings p WHERE p.id = pruning)),
            (SELECT string_agg(uuid_send(i), '' ORDER BY i) FROM unnest(ids) i));
    END IF;
END
$function$;

REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
DO $block$
DECLARE
    function regprocedure;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        '_bemi.note_removed_v1(bigint, text, text, text, boolean, bigint, bigint, uuid, timestamptz, bigint)',
        '_bemi.note_lost_v1(timestamptz, boolean)', '_bemi.note_returned_v1(timestamptz)', '_bemi.note_touched_v1()', '_bemi.require_pruning_v1(bigint)',
        '_bemi.watch_month_v1(timestamptz, bigint)', '_bemi.drop_month_v1(timestamptz, bigint)', '_bemi.begin_pruning_v1(jsonb)',
        '_bemi.end_pruning_v1(bigint, text[])', '_bemi.prune_month_v1(timestamptz, jsonb, bigint)',
        '_bemi.prune_rows_v1(timestamptz, timestamptz, uuid, integer, jsonb, bigint)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$block$;
