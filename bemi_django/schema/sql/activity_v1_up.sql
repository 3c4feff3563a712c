-- How many changes the log has, by hour and by day (UTC): of each operation and each table, by users, endpoints, tasks and
-- commands, and from outside the application. The worker writes it in the transaction of the changes, so it always agrees
-- with the log; whatever removes, replaces or brings back changes corrects it.

CREATE TABLE _bemi.activity (
    -- "operation", "table", "user", "endpoint", "task", "command" or "outside".
    kind text NOT NULL,
    is_day boolean NOT NULL,
    -- The beginning of the hour, or of the day.
    moment timestamptz NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    -- Which operation, table, user and so on: '' for all others of a kind that has too many, and for changes from outside
    -- without a role. Keys in an endpoint are replaced by <id>.
    name text NOT NULL,
    -- The tenant of a user, the method of an endpoint.
    detail text NOT NULL,
    changes bigint NOT NULL,
    PRIMARY KEY (kind, is_day, moment, database, schema, name, detail)
) PARTITION BY LIST (kind);
-- Apart from each other, because a long period needs all operations, and the names of whole days only: their rows are
-- few pages then.
CREATE TABLE _bemi.activity_operations PARTITION OF _bemi.activity FOR VALUES IN ('operation')
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE _bemi.activity_names PARTITION OF _bemi.activity DEFAULT PARTITION BY LIST (is_day);
CREATE TABLE _bemi.activity_hours PARTITION OF _bemi.activity_names FOR VALUES IN (false)
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE _bemi.activity_days PARTITION OF _bemi.activity_names FOR VALUES IN (true)
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- Keep others from counting the months (UTC) of a period anew, or, if that is what is to be done, from counting in them.
CREATE FUNCTION _bemi.share_activity_v1(first timestamptz, last timestamptz, is_shared boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $function$
DECLARE
    month integer;
BEGIN
    FOR month IN
        SELECT extract(epoch FROM m)::bigint / 86400
        FROM generate_series(date_trunc('month', first), last, interval '1 month') m ORDER BY 1
    LOOP
        IF is_shared THEN
            PERFORM pg_advisory_xact_lock_shared(1650814313, month);
        ELSE
            PERFORM pg_advisory_xact_lock(1650814313, month);
        END IF;
    END LOOP;
END
$function$;

-- Return by what a change is counted. The worker does the same.
CREATE FUNCTION _bemi.activity_of_v1(operation text, "table" text, context jsonb)
RETURNS TABLE (kind text, name text, detail text)
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT k.kind, left(k.name, 200), left(coalesce(k.detail, ''), 100)
    FROM (VALUES
        ('operation', operation, ''),
        ('table', "table", ''),
        ('user', nullif(context ->> 'user_id', ''), context ->> 'tenant'),
        ('endpoint', coalesce(nullif(context ->> 'route', ''), regexp_replace(
            nullif(context ->> 'endpoint', ''),
            '/(?:[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,})(?=/|$)', '/<id>', 'g')),
         context ->> 'method'),
        ('task', nullif(context ->> 'task', ''), ''),
        ('command', nullif(context ->> 'command', ''), ''),
        ('outside', CASE WHEN context ? 'db_user' OR context = '{}' THEN coalesce(context ->> 'db_user', '') END, '')
    ) k (kind, name, detail)
    WHERE k.name IS NOT NULL;
END;

-- Add numbers of changes: [{"hour" (since 2000), "database", "schema", "kind", "name", "detail", "changes"}], or with a
-- "context" instead of kind, name and detail. Numbers below zero take changes away.
CREATE FUNCTION _bemi.add_activity_v1(entries jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
-- The table has a row for each of a few keys, whatever its statistics say.
SET enable_seqscan = off
AS $function$
DECLARE
    first timestamptz;
    last timestamptz;
    -- The greatest number of names of a kind in an hour, and in a day.
    most constant integer[] := '{200, 1000}';
BEGIN
    SELECT min(h), max(h) FROM (
        SELECT timestamptz '2000-01-01 00:00:00+00' + e.hour * interval '1 hour' FROM jsonb_to_recordset(entries) e (hour bigint)
    ) m (h) INTO first, last;
    PERFORM _bemi.share_activity_v1(first, last, true);
    WITH named AS MATERIALIZED (
        SELECT n.kind, timestamptz '2000-01-01 00:00:00+00' + e.hour * interval '1 hour' AS hour, e.database, e.schema,
               n.name, n.detail, sum(e.changes)::bigint AS changes
        FROM jsonb_to_recordset(entries) e (
            hour bigint, database text, schema text, kind text, name text, detail text, context jsonb, changes bigint)
        CROSS JOIN LATERAL (
            SELECT e.kind, e.name, e.detail WHERE e.kind IS NOT NULL
            UNION ALL
            SELECT c.* FROM _bemi.activity_of_v1(NULL, NULL, e.context) c WHERE e.kind IS NULL
        ) n
        GROUP BY 1, 2, 3, 4, 5, 6
    ),
    counted AS MATERIALIZED (
        SELECT n.kind, s.is_day, s.moment, n.database, n.schema, n.name, n.detail, sum(n.changes)::bigint AS changes
        FROM named n
        CROSS JOIN LATERAL (VALUES (false, n.hour), (true, date_trunc('day', n.hour))) s (is_day, moment)
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ),
    crowd AS MATERIALIZED (
        SELECT c.kind, c.is_day, c.moment, c.database, c.schema, (
            SELECT count(*) FROM _bemi.activity a
            WHERE (a.kind, a.is_day, a.moment, a.database, a.schema) = (c.kind, c.is_day, c.moment, c.database, c.schema)
        ) AS names
        FROM counted c WHERE c.kind NOT IN ('operation', 'table') GROUP BY 1, 2, 3, 4, 5
    ),
    -- One query by key for each.
    known AS MATERIALIZED (
        SELECT c.*, coalesce((
            SELECT true FROM _bemi.activity a
            WHERE (a.kind, a.is_day, a.moment, a.database, a.schema, a.name, a.detail)
                = (c.kind, c.is_day, c.moment, c.database, c.schema, c.name, c.detail) LIMIT 1
        ), false) AS is_known
        FROM counted c
    ),
    numbered AS MATERIALIZED (
        SELECT k.*, c.names + count(*) FILTER (WHERE NOT k.is_known) OVER (
            PARTITION BY k.kind, k.is_day, k.moment, k.database, k.schema ORDER BY k.changes DESC, k.name, k.detail
        ) AS number
        FROM known k LEFT JOIN crowd c USING (kind, is_day, moment, database, schema)
    ),
    placed AS MATERIALIZED (
        SELECT n.*, NOT n.is_known AND n.number IS NOT NULL
            AND (n.changes < 0 OR n.number > most[1 + n.is_day::integer]) AS is_rest
        FROM numbered n
    )
    INSERT INTO _bemi.activity AS a (kind, is_day, moment, database, schema, name, detail, changes)
    SELECT p.kind, p.is_day, p.moment, p.database, p.schema, CASE WHEN p.is_rest THEN '' ELSE p.name END,
           CASE WHEN p.is_rest THEN '' ELSE p.detail END, sum(p.changes)
    FROM placed p
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (kind, is_day, moment, database, schema, name, detail) DO UPDATE SET changes = a.changes + excluded.changes;
END
$function$;

-- Where the worker leaves what it has counted, as COPY, because the values of a statement could get into the server's log.
-- The table has never a row. The worker may do nothing else with it.
CREATE TABLE _bemi.activity_entries (
    entries jsonb NOT NULL
);
CREATE FUNCTION _bemi.take_activity_v1() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM _bemi.add_activity_v1(NEW.entries);
    RETURN NULL;
END
$function$;
CREATE TRIGGER _bemi_take BEFORE INSERT ON _bemi.activity_entries FOR EACH ROW EXECUTE FUNCTION _bemi.take_activity_v1();
-- A session may turn other triggers off.
ALTER TABLE _bemi.activity_entries ENABLE ALWAYS TRIGGER _bemi_take;

-- Count all changes of the days (UTC) of a period anew, with the rights of the log's owner and in READ COMMITTED.
CREATE FUNCTION _bemi.recount_v1(first timestamptz, last timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    epoch constant timestamptz := '2000-01-01 00:00:00+00';
    hour timestamptz := date_trunc('day', first);
    next constant timestamptz := date_trunc('day', last) + interval '1 day';
    entries jsonb;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state', MESSAGE = 'Changes are counted in READ COMMITTED';
    END IF;
    PERFORM _bemi.share_activity_v1(hour, next, false);
    DELETE FROM _bemi.activity a WHERE a.moment >= hour AND a.moment < next;
    WHILE hour < next LOOP
        EXECUTE format($query$
            SELECT jsonb_agg(to_jsonb(g)) FROM (
                SELECT $3 AS hour, c.database, c.schema, n.kind, n.name, n.detail, count(*) AS changes
                FROM %s c CROSS JOIN LATERAL _bemi.activity_of_v1(c.operation, c."table", c.context) n
                WHERE c.committed_at >= $1 AND c.committed_at < $2
                GROUP BY 2, 3, 4, 5, 6
            ) g$query$, log)
        INTO entries USING hour, hour + interval '1 hour', extract(epoch FROM hour - epoch)::bigint / 3600;
        IF entries IS NOT NULL THEN
            PERFORM _bemi.add_activity_v1(entries);
        END IF;
        hour := hour + interval '1 hour';
    END LOOP;
END
$function$;

-- Count some changes of the log, or of one month of it: after they were added to it, or before they are removed or replaced.
CREATE FUNCTION _bemi.count_changes_v1(ids uuid[], is_removal boolean, part regclass DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $function$
DECLARE
    entries jsonb;
    spent record;
BEGIN
    -- They stay as they are until the end of the transaction.
    EXECUTE format($query$
        WITH found AS MATERIALIZED (SELECT * FROM %s WHERE id = ANY ($1) FOR UPDATE)
        SELECT jsonb_agg(to_jsonb(g)) FROM (
            SELECT floor(extract(epoch FROM c.committed_at - timestamptz '2000-01-01 00:00:00+00') / 3600)::bigint AS hour,
                   c.database, c.schema, n.kind, n.name, n.detail, CASE WHEN $2 THEN -count(*) ELSE count(*) END AS changes
            FROM found c CROSS JOIN LATERAL _bemi.activity_of_v1(c.operation, c."table", c.context) n
            GROUP BY 1, 2, 3, 4, 5, 6
        ) g$query$, coalesce(part, _bemi.log_v1()))
    INTO entries USING ids, is_removal;
    IF entries IS NULL THEN
        RETURN;
    END IF;
    PERFORM _bemi.add_activity_v1(entries);
    IF NOT is_removal THEN
        RETURN;
    END IF;
    -- What a name has no longer goes with its row. A name that had come too late for a row of its own was counted with the
    -- others.
    FOR spent IN
        DELETE FROM _bemi.activity a USING (
            SELECT DISTINCT k.kind, s.is_day, s.moment
            FROM jsonb_to_recordset(entries) e (hour bigint)
            CROSS JOIN LATERAL (SELECT timestamptz '2000-01-01 00:00:00+00' + e.hour * interval '1 hour') h (hour)
            CROSS JOIN LATERAL (VALUES (false, h.hour), (true, date_trunc('day', h.hour))) s (is_day, moment)
            CROSS JOIN unnest('{operation,table,user,endpoint,task,command,outside}'::text[]) k (kind)
        ) s
        WHERE a.kind = s.kind AND a.is_day = s.is_day AND a.moment = s.moment
            AND (a.changes = 0 OR a.changes < 0 AND a.name <> '')
        RETURNING a.*
    LOOP
        IF spent.changes < 0 THEN
            INSERT INTO _bemi.activity AS a
            VALUES (spent.kind, spent.is_day, spent.moment, spent.database, spent.schema, '', '', spent.changes)
            ON CONFLICT (kind, is_day, moment, database, schema, name, detail) DO UPDATE
                SET changes = a.changes + excluded.changes;
        END IF;
    END LOOP;
END
$function$;

REVOKE ALL ON _bemi.activity, _bemi.activity_operations, _bemi.activity_names, _bemi.activity_hours, _bemi.activity_days,
    _bemi.activity_entries FROM PUBLIC;
DO $block$
DECLARE
    function regprocedure;
    month record;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        '_bemi.activity_of_v1(text, text, jsonb)',
        '_bemi.share_activity_v1(timestamptz, timestamptz, boolean)', '_bemi.add_activity_v1(jsonb)',
        '_bemi.take_activity_v1()', '_bemi.recount_v1(timestamptz, timestamptz)',
        '_bemi.count_changes_v1(uuid[], boolean, regclass)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
    -- Those of a log that is there already.
    FOR month IN EXECUTE format(
        'SELECT min(committed_at) AS first, max(committed_at) AS last FROM %s WHERE isfinite(committed_at) '
        'GROUP BY date_trunc(''month'', committed_at, ''UTC'')', _bemi.log_v1())
    LOOP
        PERFORM _bemi.recount_v1(month.first, month.last);
    END LOOP;
END
$block$;
