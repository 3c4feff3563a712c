-- How many changes the log has, by hour, by day and by month (UTC): of each operation and each table, by users, endpoints, tasks and
-- commands, and from outside the application. The worker writes it in the transaction of the changes, so it always agrees
-- with the log; whatever removes, replaces or brings back changes corrects it.

CREATE TABLE _bemi.activity (
    -- "operation", "table", "user", "endpoint", "task", "command" or "outside".
    kind text NOT NULL,
    -- "hour", "day" or "month", and when it begins.
    unit text NOT NULL,
    moment timestamptz NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    -- Which operation, table, user and so on: '' for all others of a kind that has too many, and for changes from outside
    -- without a role. Keys in an endpoint are replaced by <id>.
    name text NOT NULL,
    -- The tenant of a user, the method of an endpoint.
    detail text NOT NULL,
    changes bigint NOT NULL,
    PRIMARY KEY (kind, unit, moment, database, schema, name, detail)
) PARTITION BY LIST (kind);
-- Apart from each other, because a long period needs all operations, and the names of whole months and of the days around
-- them only: their rows are few pages then.
CREATE TABLE _bemi.activity_operations PARTITION OF _bemi.activity FOR VALUES IN ('operation')
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE _bemi.activity_names PARTITION OF _bemi.activity DEFAULT PARTITION BY LIST (unit);
CREATE TABLE _bemi.activity_hours PARTITION OF _bemi.activity_names FOR VALUES IN ('hour')
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE _bemi.activity_days PARTITION OF _bemi.activity_names FOR VALUES IN ('day')
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE _bemi.activity_months PARTITION OF _bemi.activity_names FOR VALUES IN ('month')
    WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- Keep others from counting the months (UTC) of a period anew, or, if that is what is to be done, from writing to them.
-- The worker has the first of these locks as soon as it writes rows of a month. They are locks of tables, because any role
-- that may connect can take, and keep, any advisory lock.
CREATE FUNCTION _bemi.share_activity_v1(first timestamptz, last timestamptz, is_shared boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    part regclass;
BEGIN
    FOR part IN
        -- Months without a partition are in the log itself, or there are none.
        SELECT DISTINCT coalesce(i.inhrelid, log) FROM generate_series(date_trunc('month', first), last, interval '1 month') m
        LEFT JOIN (pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid)
            ON i.inhparent = log AND pg_get_expr(c.relpartbound, c.oid) = format(
                'FOR VALUES FROM (%L) TO (%L)', m, m + interval '1 month')
        ORDER BY 1
    LOOP
        EXECUTE format('LOCK TABLE ONLY %s IN %s MODE', part,
                       CASE WHEN is_shared THEN 'ROW EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END);
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

-- Return whether a table exists in this database, or had changes in the month of an hour or the one before.
CREATE FUNCTION _bemi.is_counted_place_v1(hour timestamptz, database text, schema text, "table" text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
BEGIN ATOMIC
    SELECT database = _bemi.database_v1() AND EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = schema AND c.relname = "table" AND c.relkind IN ('r', 'p')
    ) OR EXISTS (
        SELECT FROM _bemi.activity a
        WHERE a.kind = 'table' AND a.unit = 'month'
            AND a.moment IN (date_trunc('month', hour), date_trunc('month', hour) - interval '1 month')
            AND a.database = is_counted_place_v1.database AND a.schema = is_counted_place_v1.schema
            AND a.name = is_counted_place_v1."table"
    );
END;

-- Add numbers of changes: [{"hour" (since 2000), "database", "schema", "kind", "name", "detail", "changes"}], or with a
-- "context" instead of kind, name and detail. Numbers below zero take changes away. Those of an event have an "event_table":
-- anybody may record an event of a table that does not exist, so it is counted without a table and a schema then. It is taken
-- away where it was counted, whatever exists by then.
CREATE FUNCTION _bemi.add_activity_v1(entries jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
-- The table has a row for each of a few keys, whatever its statistics say.
SET enable_seqscan = off
AS $function$
DECLARE
    -- The greatest number of names of a kind.
    most constant jsonb := '{"hour": 200, "day": 1000, "month": 2000}';
BEGIN
    WITH said AS MATERIALIZED (
        SELECT e.kind, timestamptz '2000-01-01 00:00:00+00' + e.hour * interval '1 hour' AS hour, e.database, e.schema,
               e.name, e.detail, e.context, e.changes, e.event_table
        FROM jsonb_to_recordset(entries) e (hour bigint, database text, schema text, kind text, name text, detail text,
                                            context jsonb, changes bigint, event_table text)
    ),
    invented AS MATERIALIZED (
        SELECT p.* FROM (
            SELECT DISTINCT s.hour, s.database, s.schema, s.event_table FROM said s
            WHERE s.event_table IS NOT NULL AND s.changes > 0
        ) p WHERE NOT _bemi.is_counted_place_v1(p.hour, p.database, p.schema, p.event_table)
    ),
    spoken AS MATERIALIZED (
        SELECT n.kind, s.hour, s.database, s.schema, n.name, n.detail, s.event_table,
               i.hour IS NOT NULL AS is_invented, sum(s.changes)::bigint AS changes
        FROM said s LEFT JOIN invented i USING (hour, database, schema, event_table)
        CROSS JOIN LATERAL (
            SELECT s.kind, s.name, s.detail WHERE s.kind IS NOT NULL
            UNION ALL
            SELECT c.* FROM _bemi.activity_of_v1(NULL, NULL, s.context) c WHERE s.kind IS NULL
        ) n
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ),
    -- How many of them are counted at their table.
    divided AS MATERIALIZED (
        SELECT s.*, CASE
            WHEN s.is_invented THEN 0
            WHEN s.event_table IS NULL OR s.changes > 0 THEN s.changes
            ELSE -least(-s.changes, (
                -- The name, or all others of its kind; no more than the table has, and the schema of events.
                SELECT min(greatest(n.changes, 0)) FROM (
                    SELECT coalesce(
                        (SELECT a.changes FROM _bemi.activity a
                         WHERE (a.kind, a.unit, a.moment, a.database, a.schema, a.name, a.detail)
                             = (s.kind, 'hour', s.hour, s.database, s.schema, s.name, s.detail)),
                        (SELECT a.changes FROM _bemi.activity a
                         WHERE (a.kind, a.unit, a.moment, a.database, a.schema, a.name, a.detail)
                             = (s.kind, 'hour', s.hour, s.database, s.schema, '', '')), 0) AS changes
                    UNION ALL
                    SELECT coalesce((
                        SELECT a.changes FROM _bemi.activity a
                        WHERE (a.kind, a.unit, a.moment, a.database, a.schema, a.name, a.detail)
                            = (k.kind, 'hour', s.hour, s.database, s.schema, k.name, '')), 0)
                    FROM (VALUES ('table', s.event_table), ('operation', 'EVENT')) k (kind, name)
                ) n
            )) END AS at_table
        FROM spoken s
    ),
    named AS MATERIALIZED (
        SELECT d.kind, d.hour, d.database, p.schema, p.name, d.detail, sum(p.changes)::bigint AS changes
        FROM divided d CROSS JOIN LATERAL (VALUES
            (d.schema, d.name, d.at_table),
            ('', CASE d.kind WHEN 'table' THEN '' ELSE d.name END, d.changes - d.at_table)) p (schema, name, changes)
        WHERE p.changes <> 0
        GROUP BY 1, 2, 3, 4, 5, 6
    ),
    counted AS MATERIALIZED (
        SELECT n.kind, u.unit, u.moment, n.database, n.schema, n.name, n.detail, sum(n.changes)::bigint AS changes
        FROM named n
        CROSS JOIN LATERAL (VALUES
            ('hour', n.hour), ('day', date_trunc('day', n.hour)), ('month', date_trunc('month', n.hour))) u (unit, moment)
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ),
    -- One query by key for each.
    known AS MATERIALIZED (
        SELECT c.*, coalesce((
            SELECT true FROM _bemi.activity a
            WHERE (a.kind, a.unit, a.moment, a.database, a.schema, a.name, a.detail)
                = (c.kind, c.unit, c.moment, c.database, c.schema, c.name, c.detail) LIMIT 1
        ), false) AS is_known
        FROM counted c
    ),
    -- Only where there are new names.
    crowd AS MATERIALIZED (
        SELECT k.kind, k.unit, k.moment, k.database, k.schema, (
            SELECT count(*) FROM _bemi.activity a
            WHERE (a.kind, a.unit, a.moment, a.database, a.schema) = (k.kind, k.unit, k.moment, k.database, k.schema)
        ) AS names
        FROM known k WHERE k.kind NOT IN ('operation', 'table') AND NOT k.is_known GROUP BY 1, 2, 3, 4, 5
    ),
    numbered AS MATERIALIZED (
        SELECT k.*, c.names + count(*) FILTER (WHERE NOT k.is_known) OVER (
            PARTITION BY k.kind, k.unit, k.moment, k.database, k.schema ORDER BY k.changes DESC, k.name, k.detail
        ) AS number
        FROM known k LEFT JOIN crowd c USING (kind, unit, moment, database, schema)
    ),
    placed AS MATERIALIZED (
        SELECT n.*, NOT n.is_known AND n.number IS NOT NULL
            AND (n.changes < 0 OR n.number > (most ->> n.unit)::integer) AS is_rest
        FROM numbered n
    )
    INSERT INTO _bemi.activity AS a (kind, unit, moment, database, schema, name, detail, changes)
    SELECT p.kind, p.unit, p.moment, p.database, p.schema, CASE WHEN p.is_rest THEN '' ELSE p.name END,
           CASE WHEN p.is_rest THEN '' ELSE p.detail END, sum(p.changes)
    FROM placed p
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (kind, unit, moment, database, schema, name, detail) DO UPDATE SET changes = a.changes + excluded.changes;
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
SET jit = off
AS $function$
BEGIN
    PERFORM _bemi.add_activity_v1(NEW.entries);
    RETURN NULL;
END
$function$;
CREATE TRIGGER _bemi_take BEFORE INSERT ON _bemi.activity_entries FOR EACH ROW EXECUTE FUNCTION _bemi.take_activity_v1();
-- A session may turn other triggers off.
ALTER TABLE _bemi.activity_entries ENABLE ALWAYS TRIGGER _bemi_take;

-- Count all changes of the days (UTC) of a period anew, with the rights of the log's owner and in READ COMMITTED. A month whose
-- partition was detached or dropped by hand keeps its numbers, which are all that is known of it.
CREATE FUNCTION _bemi.recount_v1(first timestamptz, last timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    epoch constant timestamptz := '2000-01-01 00:00:00+00';
    hour timestamptz := date_trunc('day', first);
    next constant timestamptz := date_trunc('day', last) + interval '1 day';
    first_month constant timestamptz := date_trunc('month', first);
    gone constant timestamptz[] := ARRAY(
        SELECT m.first FROM generate_series(first_month, last, interval '1 month') m (first)
        WHERE m.first NOT IN (SELECT p.first FROM _bemi.months_v1() p WHERE p.first IS NOT NULL));
    entries jsonb;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state', MESSAGE = 'Changes are counted in READ COMMITTED';
    END IF;
    PERFORM _bemi.share_activity_v1(hour, next, false);
    DELETE FROM _bemi.activity a
    WHERE a.moment >= hour AND a.moment < next AND a.unit <> 'month' AND date_trunc('month', a.moment) <> ALL (gone);
    WHILE hour < next LOOP
        IF date_trunc('month', hour) = ANY (gone) THEN
            hour := date_trunc('month', hour) + interval '1 month';
            CONTINUE;
        END IF;
        EXECUTE format($query$
            SELECT jsonb_agg(to_jsonb(g)) FROM (
                SELECT $3 AS hour, c.database, c.schema, n.kind, n.name, n.detail, count(*) AS changes,
                       CASE WHEN c.operation = 'EVENT' THEN c."table" END AS event_table
                FROM %s c CROSS JOIN LATERAL _bemi.activity_of_v1(c.operation, c."table", c.context) n
                WHERE c.committed_at >= $1 AND c.committed_at < $2
                GROUP BY 2, 3, 4, 5, 6, 8
            ) g$query$, log)
        INTO entries USING hour, hour + interval '1 hour', extract(epoch FROM hour - epoch)::bigint / 3600;
        IF entries IS NOT NULL THEN
            PERFORM _bemi.add_activity_v1(entries);
        END IF;
        hour := hour + interval '1 hour';
    END LOOP;
    -- A month has days that were not counted anew.
    DELETE FROM _bemi.activity a
    WHERE a.unit = 'month' AND a.moment >= first_month AND a.moment < next AND a.moment <> ALL (gone);
    INSERT INTO _bemi.activity (kind, unit, moment, database, schema, name, detail, changes)
    SELECT m.kind, 'month', m.month, m.database, m.schema, CASE WHEN m.is_rest THEN '' ELSE m.name END,
           CASE WHEN m.is_rest THEN '' ELSE m.detail END, sum(m.changes)
    FROM (
        SELECT d.*, d.kind NOT IN ('operation', 'table') AND row_number() OVER (
            PARTITION BY d.kind, d.month, d.database, d.schema ORDER BY d.changes DESC, d.name, d.detail
        ) > 2000 AS is_rest
        FROM (
            SELECT a.kind, date_trunc('month', a.moment) AS month, a.database, a.schema, a.name, a.detail,
                   sum(a.changes) AS changes
            FROM _bemi.activity a
            WHERE a.unit = 'day' AND a.moment >= first_month
                AND a.moment < date_trunc('month', next - interval '1 day') + interval '1 month'
                AND date_trunc('month', a.moment) <> ALL (gone)
            GROUP BY 1, 2, 3, 4, 5, 6
        ) d
    ) m
    GROUP BY 1, 2, 3, 4, 5, 6, 7;
END
$function$;

-- Return the hours, days and months of entries.
CREATE FUNCTION _bemi.moments_v1(entries jsonb) RETURNS TABLE (unit text, moment timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
BEGIN ATOMIC
    SELECT DISTINCT u.unit, u.moment
    FROM jsonb_to_recordset(entries) e (hour bigint)
    CROSS JOIN LATERAL (SELECT timestamptz '2000-01-01 00:00:00+00' + e.hour * interval '1 hour') h (hour)
    CROSS JOIN LATERAL (VALUES
        ('hour', h.hour), ('day', date_trunc('day', h.hour)), ('month', date_trunc('month', h.hour))) u (unit, moment);
END;

-- Count some changes of the log, or of one month of it: after they were added to it, or before they are removed or replaced.
CREATE FUNCTION _bemi.count_changes_v1(ids uuid[], is_removal boolean, part regclass DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
AS $function$
DECLARE
    kinds constant text[] := '{operation,table,user,endpoint,task,command,outside}';
    entries jsonb;
    spent record;
BEGIN
    -- They stay as they are until the end of the transaction.
    EXECUTE format($query$
        WITH found AS MATERIALIZED (SELECT * FROM %s WHERE id = ANY ($1) FOR UPDATE)
        SELECT jsonb_agg(to_jsonb(g)) FROM (
            SELECT floor(extract(epoch FROM c.committed_at - timestamptz '2000-01-01 00:00:00+00') / 3600)::bigint AS hour,
                   c.database, c.schema, n.kind, n.name, n.detail, CASE WHEN $2 THEN -count(*) ELSE count(*) END AS changes,
                   CASE WHEN c.operation = 'EVENT' THEN c."table" END AS event_table
            FROM found c CROSS JOIN LATERAL _bemi.activity_of_v1(c.operation, c."table", c.context) n
            GROUP BY 1, 2, 3, 4, 5, 6, 8
        ) g$query$, coalesce(part, _bemi.log_v1()))
    INTO entries USING ids, is_removal;
    IF entries IS NULL THEN
        RETURN;
    END IF;
    PERFORM _bemi.share_activity_v1(min(m.moment), max(m.moment), true) FROM _bemi.moments_v1(entries) m WHERE m.unit = 'hour';
    PERFORM _bemi.add_activity_v1(entries);
    IF NOT is_removal THEN
        RETURN;
    END IF;
    -- What a name has no longer goes with its row. A name that had come too late for a row of its own was counted with the
    -- others, and an event that had come before its table with those of no table.
    FOR spent IN
        DELETE FROM _bemi.activity a USING _bemi.moments_v1(entries) m
        WHERE a.kind = ANY (kinds) AND a.unit = m.unit AND a.moment = m.moment AND a.changes <= 0
        RETURNING a.*
    LOOP
        CONTINUE WHEN spent.changes = 0;
        UPDATE _bemi.activity a SET changes = a.changes + spent.changes
        WHERE (a.kind, a.unit, a.moment, a.database) = (spent.kind, spent.unit, spent.moment, spent.database)
            AND (a.schema, a.name, a.detail) = (
                SELECT o.schema, o.name, o.detail FROM _bemi.activity o
                WHERE (o.kind, o.unit, o.moment, o.database) = (spent.kind, spent.unit, spent.moment, spent.database)
                    AND (o.schema, o.name, o.detail) IN (
                        (spent.schema, '', ''), ('', '', ''), ('', spent.name, spent.detail))
                    AND o.changes > 0
                ORDER BY o.schema = '', o.name = '' LIMIT 1);
    END LOOP;
    -- None is below zero.
    DELETE FROM _bemi.activity a USING _bemi.moments_v1(entries) m
    WHERE a.kind = ANY (kinds) AND a.unit = m.unit AND a.moment = m.moment AND a.changes <= 0;
END
$function$;

REVOKE ALL ON _bemi.activity, _bemi.activity_operations, _bemi.activity_names, _bemi.activity_hours, _bemi.activity_days,
    _bemi.activity_months, _bemi.activity_entries FROM PUBLIC;
DO $block$
DECLARE
    function regprocedure;
    month record;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        '_bemi.activity_of_v1(text, text, jsonb)',
        '_bemi.is_counted_place_v1(timestamptz, text, text, text)',
        '_bemi.share_activity_v1(timestamptz, timestamptz, boolean)', '_bemi.add_activity_v1(jsonb)',
        '_bemi.moments_v1(jsonb)', '_bemi.take_activity_v1()', '_bemi.recount_v1(timestamptz, timestamptz)',
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
