-- Empty the records in _bemi, and forget what tables were like, unless a slot needs that.
DO $block$
DECLARE
    records text;
    is_read constant boolean := EXISTS (
        SELECT FROM pg_catalog.pg_replication_slots WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database());
BEGIN
    -- Tests make functions that have the names of others.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- The tables of _bemi but for those that say what tables are like are records of what was done.
    FOR records IN
        SELECT c.oid::regclass FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('_bemi') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND CASE
                WHEN is_read THEN c.relname = ANY (
                    '{dead_letters,undelivered,baseline_rows,baselines,erased,erasures,subject_keys,activity}')
                ELSE c.relname <> ALL ('{parts,tracking,relations,past,followed,replica_identities}') END
    LOOP
        EXECUTE 'DELETE FROM ' || records;
    END LOOP;
    -- Nobody needs what tables were like once no slot is left, and their changes are gone. A name that a column had would
    -- count on, for masks among others.
    IF NOT is_read AND to_regclass('_bemi.relations') IS NOT NULL THEN
        DELETE FROM _bemi.relations k
        WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation)
            OR EXISTS (SELECT FROM _bemi.relations l WHERE l.relation = k.relation AND l.since > k.since);
    END IF;
    IF NOT is_read AND to_regclass('_bemi.past') IS NOT NULL THEN
        -- The view is made anew when somebody looks at the past.
        UPDATE _bemi.past k SET layouts = _bemi.past_layout_v1(k.relation, '{}', true), hidden = '{}', is_due = true,
            names = (SELECT jsonb_object_agg(c.number, c.names) FROM _bemi.past_names_v1(k.relation, '{}') c)
        WHERE (jsonb_array_length(k.layouts) > 1 OR k.hidden <> '{}')
            AND EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relation);
    END IF;
END
$block$;
