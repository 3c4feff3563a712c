-- The histories of a log: the branches of the WAL that it has followed. Positions are repeated on each of them, so ids
-- begin with the number of the history. A new one begins at another server, and at each timeline.

CREATE TABLE _bemi.histories (
    slot text NOT NULL,
    number integer NOT NULL CHECK (number BETWEEN 0 AND 4095),
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    -- Changes committed at this position or later belong to it, up to the start of the next one.
    start_lsn pg_lsn NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL,
    PRIMARY KEY (slot, number)
);

-- Return a position as a sequence number, which sorts as commits do across histories: 12 bits of the history, 51 of
-- the position.
CREATE FUNCTION _bemi.sequence_v1(history integer, lsn pg_lsn) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (history::bigint << 51) + (lsn - '0/0'::pg_lsn)::bigint;

-- Return the greatest id that a change committed at this sequence number can have.
CREATE FUNCTION _bemi.bound_v1(sequence bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(sequence >> 15), 12, '0') || '8' || lpad(to_hex((sequence >> 3) & 4095), 3, '0')
        || 'ffffffffffffffff')::uuid;

-- Return the sequence number of a position in the log of a slot.
CREATE FUNCTION _bemi.sequence_v1(slot text, lsn pg_lsn) RETURNS bigint
LANGUAGE sql STABLE
RETURN _bemi.sequence_v1(coalesce((
    SELECT max(h.number) FROM _bemi.histories h WHERE h.slot = sequence_v1.slot AND h.start_lsn <= sequence_v1.lsn), 0), lsn);

-- Return the sequence number of a change.
CREATE FUNCTION _bemi.sequence_v1(change uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || left(change::text, 8) || substr(change::text, 10, 4) || substr(change::text, 16, 3))::bit(60)::bigint << 3;

-- Mark the changes of a source whose transactions its database lost, and return their number. They have sequence numbers
-- from first on, and before last. SECURITY DEFINER, because the worker may add to the log, but not change it.
CREATE FUNCTION _bemi.mark_diverged_v1(source bigint, first bigint, last bigint) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    marked bigint;
BEGIN
    PERFORM _bemi.permit_v1('diverged');
    EXECUTE format(
        'UPDATE %s SET diverged = true WHERE NOT diverged AND id > $1 AND id <= $2 '
        'AND (''x'' || right(id::text, 8))::bit(32)::bigint & 1073741823 = $3', _bemi.log_v1())
    USING _bemi.bound_v1(first - 8), _bemi.bound_v1(last - 8), source;
    GET DIAGNOSTICS marked = ROW_COUNT;
    PERFORM _bemi.end_permit_v1();
    IF marked > 0 THEN
        PERFORM _bemi.note_v1('diverged', jsonb_build_object(
            'source', source, 'after', _bemi.bound_v1(first - 8), 'last', _bemi.bound_v1(last - 8), 'changes', marked));
    END IF;
    RETURN marked;
END
$function$;
REVOKE ALL ON FUNCTION _bemi.mark_diverged_v1(bigint, bigint, bigint) FROM PUBLIC;
