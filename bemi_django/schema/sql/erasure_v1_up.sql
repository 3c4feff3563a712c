-- What 'bemi erase' has erased, and what it is about to erase.

CREATE TABLE _bemi.erasures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Whom it is about, and the changes and values to look for. NULL when it is done, because they may name the person.
    asked jsonb,
    plan jsonb,
    role text NOT NULL DEFAULT session_user,
    -- Who, and why.
    who jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL while it is at work, or if it was interrupted.
    ended_at timestamptz
);

-- The number of changes of each row of a table, by the key that the log has now; '' if the table has no key.
CREATE TABLE _bemi.erased (
    number bigint GENERATED ALWAYS AS IDENTITY,
    erasure bigint NOT NULL REFERENCES _bemi.erasures ON DELETE CASCADE,
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    key text NOT NULL,
    changes bigint NOT NULL,
    columns text[] NOT NULL,
    PRIMARY KEY (erasure, database, schema, "table", key)
);

-- Return a row without its values. Of the columns that are kept, numbers and UUIDs stay, because they mean nothing
-- elsewhere, and so do hashes; "hashes" has what stands for other values, by their text.
CREATE FUNCTION _bemi.without_values_v1(image jsonb, kept text[], hashes jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT coalesce(jsonb_object_agg(e.key, CASE
        WHEN e.key <> ALL (kept) THEN 'null'
        WHEN jsonb_typeof(e.value) = 'number' THEN e.value
        WHEN hashes ? (e.value #>> '{}') THEN hashes -> (e.value #>> '{}')
        WHEN e.value #>> '{}' ~
            '^(hmac:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$' THEN e.value
        ELSE 'null' END), '{}')
    FROM jsonb_each(image) e
$function$;

-- Return what is left of both rows of a change, and what is to be said of its columns: which are erased, and which of
-- them the change had given another value.
CREATE FUNCTION _bemi.erased_change_v1(
    INOUT before jsonb, INOUT after jsonb, INOUT unavailable jsonb, kept text[], hashes jsonb, OUT erased text[])
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    old constant jsonb := before;
    new constant jsonb := after;
    changed text[];
BEGIN
    before := _bemi.without_values_v1(old, kept, hashes);
    after := _bemi.without_values_v1(new, kept, hashes);
    erased := ARRAY(
        SELECT k FROM jsonb_object_keys(old || new) k
        WHERE k <> ALL (kept) OR old -> k IS DISTINCT FROM before -> k OR new -> k IS DISTINCT FROM after -> k
        UNION SELECT jsonb_array_elements_text(unavailable -> 'erased')
        ORDER BY 1);
    changed := ARRAY(
        SELECT k FROM jsonb_object_keys(old) k WHERE new ? k AND old -> k <> new -> k AND k = ANY (erased)
        UNION SELECT jsonb_array_elements_text(unavailable -> 'changed')
        ORDER BY 1);
    unavailable := coalesce(unavailable, '{}') || jsonb_build_object(
        'erased', erased,
        'masked', ARRAY(SELECT unnest(erased) UNION SELECT jsonb_array_elements_text(unavailable -> 'masked') ORDER BY 1))
        || CASE WHEN changed = '{}' THEN '{}' ELSE jsonb_build_object('changed', changed) END;
    -- Nobody will find out any more what was not known of them.
    unavailable := (
        SELECT jsonb_object_agg(e.key, CASE WHEN e.key IN ('before', 'after') THEN e.value - erased ELSE e.value END)
        FROM jsonb_each(unavailable) e WHERE e.key NOT IN ('before', 'after') OR e.value - erased <> '[]');
END
$function$;

REVOKE ALL ON _bemi.erasures, _bemi.erased FROM PUBLIC;
REVOKE ALL ON FUNCTION _bemi.without_values_v1(jsonb, text[], jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION _bemi.erased_change_v1(jsonb, jsonb, jsonb, text[], jsonb) FROM PUBLIC;
