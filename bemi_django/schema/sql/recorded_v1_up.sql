-- Return those of some keys of a table whose rows have a change in the present history of a log, since the table was
-- emptied, and since it is tracked: before "since", another table had the name, or changes were not recorded. NULL if that cannot be told for rows that were read in a snapshot: the history began after the position "low",
-- or changes that the snapshot does not show were excluded from the log. SECURITY DEFINER, because the worker may add to
-- the log, but not read it.
CREATE FUNCTION _bemi.recorded_v1(
    slot text, low pg_lsn, snapshot pg_snapshot, database text, schema text, name text, since pg_lsn, keys text[]
) RETURNS text[]
LANGUAGE plpgsql STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    of_table constant text := 'c."table" = $1 AND c.schema = $2 AND c.database = $3 AND c.id > $4 AND NOT c.diverged';
    start pg_lsn;
    first uuid;
    emptied uuid;
    is_uncertain boolean;
    found text[];
BEGIN
    SELECT k.start_lsn FROM _bemi.checkpoint k WHERE k.slot = recorded_v1.slot INTO start;
    IF start IS NULL OR start > low THEN
        RETURN NULL;
    END IF;
    first := _bemi.bound_v1(_bemi.sequence_v1(slot, greatest(start, since)) - 8);
    EXECUTE format(
        'SELECT EXISTS (SELECT FROM %s c WHERE %s AND c.primary_key IS NULL AND c.operation = ''SKIPPED'' '
        'AND NOT pg_visible_in_snapshot(c.transaction_id::text::xid8, $5))', log, of_table)
    INTO is_uncertain USING name, schema, database, first, snapshot;
    IF is_uncertain THEN
        RETURN NULL;
    END IF;
    -- Rows that are there have come after the table was emptied, whatever the log says of their keys before.
    EXECUTE format(
        'SELECT c.id FROM %s c WHERE %s AND c.primary_key IS NULL AND c.operation = ''TRUNCATE'' '
        'AND c.partition IS NULL ORDER BY c.id DESC LIMIT 1', log, of_table)
    INTO emptied USING name, schema, database, first;
    first := coalesce(emptied, first);
    EXECUTE format(
        'SELECT coalesce(array_agg(k.key), ''{}'') FROM unnest($5) k (key) WHERE '
        'EXISTS (SELECT FROM %1$s c WHERE %2$s AND c.primary_key = k.key AND c.operation NOT IN (''EVENT'', ''ERASED'')) '
        'OR EXISTS (SELECT FROM %1$s c WHERE %2$s AND c.previous_primary_key = k.key)', log, of_table)
    INTO found USING name, schema, database, first, keys;
    RETURN found;
END
$function$;
REVOKE ALL ON FUNCTION _bemi.recorded_v1(text, pg_lsn, pg_snapshot, text, text, text, pg_lsn, text[]) FROM PUBLIC;
