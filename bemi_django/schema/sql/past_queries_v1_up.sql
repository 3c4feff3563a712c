-- The queries of the views of the past. Their text is executed with the path of whoever queries a view, so every name
-- in it has its schema, operators too.

-- Return an hstore that was rendered as a JSON object in the syntax of hstore.
CREATE FUNCTION _bemi.hstore_text_v1(pairs jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
    SELECT CASE WHEN jsonb_typeof(pairs) = 'object' THEN coalesce((
        SELECT string_agg(
            '"' || replace(replace(key, E'\\', E'\\\\'), '"', E'\\"') || '"=>'
            || coalesce('"' || replace(replace(value, E'\\', E'\\\\'), '"', E'\\"') || '"', 'NULL'), ', ')
        FROM jsonb_each_text(pairs)), '') END
$function$;

-- Do the same with an array.
CREATE FUNCTION _bemi.hstores_text_v1(elements jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF jsonb_typeof(elements) IS DISTINCT FROM 'array' THEN
        RETURN NULL;
    END IF;
    RETURN '{' || coalesce((
        SELECT string_agg(CASE jsonb_typeof(element)
            WHEN 'array' THEN _bemi.hstores_text_v1(element)
            WHEN 'object' THEN
                '"' || replace(replace(_bemi.hstore_text_v1(element), E'\\', E'\\\\'), '"', E'\\"') || '"'
            ELSE 'NULL' END, ',' ORDER BY number)
        FROM jsonb_array_elements(elements) WITH ORDINALITY u (element, number)), '') || '}';
END
$function$;

-- Return the name of a type with its schema.
CREATE FUNCTION _bemi.type_v1(type oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    RETURN (
        SELECT format('%I.%I', n.nspname, t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.oid = type);
END
$function$;

-- Return the type that a domain is of in the end; any other type as it is.
CREATE FUNCTION _bemi.base_type_v1(type oid) RETURNS oid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    base oid := type;
BEGIN
    LOOP
        type := (SELECT t.typbasetype FROM pg_type t WHERE t.oid = base AND t.typtype = 'd');
        IF type IS NULL THEN
            RETURN base;
        END IF;
        base := type;
    END LOOP;
END
$function$;

-- Return the type with which a view shows a column of a user-defined type, which is no domain. A view depends on the
-- types of its columns, so such a type could not be dropped after its table unless an event trigger drops the view with
-- the table. Without the event trigger, it is shown as text.
CREATE FUNCTION _bemi.past_type_v1(type oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    made constant oid := (SELECT coalesce(nullif(t.typelem, 0), t.oid) FROM pg_type t WHERE t.oid = type);
BEGIN
    IF type < 16384
        OR EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '_bemi_follow_drop' AND evtenabled <> 'D')
        OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = made AND d.deptype = 'e')
    THEN
        RETURN _bemi.type_v1(type);
    END IF;
    RETURN 'pg_catalog.text';
END
$function$;

-- Return how a value of a type is read from JSON: as 'json', as a 'vector', as an 'hstore' or an array of 'hstores', as a
-- field of a 'record', or from its 'text'.
CREATE FUNCTION _bemi.past_form_v1(type oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    base record;
BEGIN
    IF type IN ('json'::regtype, 'jsonb'::regtype) THEN
        RETURN 'json';
    END IF;
    SELECT t.typtype, t.typbasetype, t.typname,
           -- A cast from text to the type does not do what its input function does.
           t.typtype = 'c' OR (SELECT e.typarray FROM pg_type e WHERE e.oid = t.typelem) = t.oid
           OR EXISTS (SELECT FROM pg_cast k WHERE k.castsource = 'text'::regtype AND k.casttarget = t.oid
                      AND k.castmethod = 'f') AS is_record,
           (SELECT e.typname FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid) AS element
    FROM pg_type t WHERE t.oid = type INTO base;
    RETURN CASE
        WHEN base.typtype = 'd' THEN _bemi.past_form_v1(base.typbasetype)
        WHEN base.element = 'hstore' THEN 'hstores'
        WHEN base.is_record THEN 'record'
        WHEN type IN ('int2vector'::regtype, 'oidvector'::regtype) THEN 'vector'
        WHEN base.typname = 'hstore' THEN 'hstore'
        ELSE 'text'
    END;
END
$function$;

-- Return the columns of a table: their types, the types with which its view shows them, and the value that rows from
-- before a column was added have in it. A domain is what it is made of: rows of the past need not have had the column,
-- and need not satisfy its constraints of today. A key is shown as text rather than varchar, so that joins find the
-- index of the log.
CREATE FUNCTION _bemi.past_columns_v1(target oid, key int2[])
RETURNS TABLE (number int2, name name, form text, exact text, shown text, missing text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
-- As which the value of before is printed.
SET datestyle = 'ISO'
SET extra_float_digits = 1
SET intervalstyle = 'postgres'
SET timezone = 'UTC'
AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.attnum, a.attname, CASE
               -- Most columns are of these.
               WHEN a.atttypid IN ('int4'::regtype, 'int8'::regtype, 'text'::regtype, 'varchar'::regtype, 'bool'::regtype,
                                   'timestamptz'::regtype, 'date'::regtype, 'numeric'::regtype, 'uuid'::regtype)
                   THEN 'text'
               ELSE _bemi.past_form_v1(a.atttypid) END,
           exact.type, CASE
               WHEN key = ARRAY[a.attnum] AND a.atttypid = 'varchar'::regtype THEN 'pg_catalog.text'
               WHEN t.oid < 16384 THEN exact.type
               ELSE _bemi.past_type_v1(t.oid) END,
           -- An array of one value, whatever stands between several of its type.
           CASE WHEN a.atthasmissing THEN array_to_string(a.attmissingval, '') END
    FROM pg_attribute a
    JOIN pg_type own ON own.oid = a.atttypid
    JOIN pg_type t ON t.oid = CASE WHEN own.typtype = 'd' THEN _bemi.base_type_v1(own.oid) ELSE own.oid END
    JOIN pg_namespace n ON n.oid = t.typnamespace
    CROSS JOIN LATERAL format('%I.%I', n.nspname, t.typname) exact (type)
    WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum;
END
$function$;

-- Return the expression for the key of a row of the table, called t, as the log prints it.
CREATE FUNCTION _bemi.past_key_v1(target oid, key int2[]) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    RETURN (
        SELECT CASE
            WHEN cardinality(key) > 1 THEN
                format('pg_catalog.jsonb_build_array(%s)::pg_catalog.text', string_agg(
                    format(CASE
                        WHEN a.atttypid = 'timestamptz'::regtype
                            THEN '(pg_catalog.to_jsonb(t.%1$I AT TIME ZONE ''UTC''::pg_catalog.text) '
                                'OPERATOR(pg_catalog.#>>) ''{}''::pg_catalog.text[]) '
                                'OPERATOR(pg_catalog.||) ''+00:00''::pg_catalog.text'
                        WHEN a.atttypid IN ('interval'::regtype, 'bytea'::regtype, 'tstzrange'::regtype)
                            THEN '_bemi.key_v1(t.%1$I)'
                        ELSE 't.%1$I' END, a.attname), ', ' ORDER BY k.place))
            WHEN min(a.atttypid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype,
                                     'text'::regtype, 'varchar'::regtype, 'numeric'::regtype)
                THEN format('t.%I::pg_catalog.text', min(a.attname))
            ELSE format('_bemi.key_v1(t.%I)', min(a.attname)) END
        FROM unnest(key) WITH ORDINALITY k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = target AND a.attnum = k.attnum);
END
$function$;

-- Return the query of a view. It is one flat UNION ALL whose arms have one relation each and no condition, because
-- only then does the planner push conditions and joins on the view down to the indexes of its arms. The last arm is a
-- subquery, because the planner cannot join single rows of a function. The condition on the rows of an arm is a
-- column, is_due: the planner hashes its subqueries or looks them up, depending on the number of rows, whereas
-- it would evaluate joins before those of the user's query.
-- A row before in the log is the past of its key if no earlier change since the moment left a row under that key. A
-- row of the table is its own past if no change since the moment did.
--   names      {number of the column: its names, the newest first}
--   contested  numbers of the columns of which a name was another column's at another time
--   hidden     names of the columns that can be shown as NULL
--   may_exchange  rows may exchange their keys
CREATE FUNCTION _bemi.past_query_v1(target oid, key int2[], names jsonb, contested int2[], hidden text[], may_exchange boolean)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    log constant regclass := _bemi.log_v1();
    moment constant text := 'pg_catalog.current_setting(''bemi.as_of''::pg_catalog.text)::pg_catalog.uuid';
    late constant text := 'pg_catalog.current_setting(''bemi.as_of_late''::pg_catalog.text)::pg_catalog.jsonb';
    key_type constant oid := (SELECT atttypid FROM pg_attribute WHERE attrelid = target AND attnum = key[1]);
    -- The key as a typed column of the arms that read the log, as an index has it if there is one.
    typed text := CASE WHEN cardinality(key) = 1 THEN CASE key_type
        WHEN 'int8'::regtype THEN '_bemi.bigint_v1(<key>)'
        WHEN 'int4'::regtype THEN '_bemi.integer_v1(<key>)'
        WHEN 'uuid'::regtype THEN '_bemi.uuid_v1(<key>)'
        WHEN 'text'::regtype THEN '<key>'
        WHEN 'varchar'::regtype THEN '<key>' END END;
    is_text constant boolean := typed IS NOT NULL AND key_type IN ('text'::regtype, 'varchar'::regtype);
    named record;
    col record;
    called jsonb;
    known text;
    json text;
    unknown text;
    value text;
    past text;
    get constant text := '(c.before OPERATOR(pg_catalog.->) %L::pg_catalog.text)';
    get_text constant text := '((%s) OPERATOR(pg_catalog.#>>) ''{}''::pg_catalog.text[])';
    -- Conditions: the change e, or c, is of the table.
    of_any constant text := '%1$s.schema OPERATOR(pg_catalog.=) %2$L::pg_catalog.text '
                            'AND %1$s."table" OPERATOR(pg_catalog.=) %3$L::pg_catalog.text';
    of_table text;
    of_table_c text;
    -- The same in the log, which has changes of several databases and of histories that were left.
    here constant text := ' AND %1$s.database OPERATOR(pg_catalog.=) '
        'pg_catalog.current_setting(''bemi.as_of_database''::pg_catalog.text) AND NOT %1$s.diverged '
        -- These have changed nothing.
        'AND %1$s.operation OPERATOR(pg_catalog.<>) ALL (''{BASELINE,EVENT,ERASED}''::pg_catalog.text[])';
    width integer := 0;
    inner_names text;
    shown text;
    live text;
    live_key constant text := _bemi.past_key_v1(target, key);
    logged text;
    -- A condition, before and after a key: no change since the moment left a row under the key, up to the end of the
    -- log or to another change.
    untouched text;
    since constant text := ' AND e.id OPERATOR(pg_catalog.>) ' || moment;
    arms text;
    arm record;
    -- If rows exchange their keys in one transaction, what came to a key is not what was there. Where they cannot, a row
    -- that differs from the one that came is that one, altered by a command of the transaction.
    exchanged constant text := CASE WHEN may_exchange THEN
        ' AND NOT ((e.operation OPERATOR(pg_catalog.=) ''CREATE''::pg_catalog.text OR e.previous_primary_key IS NOT NULL) '
        'AND e.position OPERATOR(pg_catalog.=) c.position AND e.after OPERATOR(pg_catalog.<>) c.before)' ELSE '' END;
    -- A row that jsonb_populate_record() completes by NULLs is an error if a domain does not allow NULL.
    has_domains constant boolean := EXISTS (
        SELECT FROM pg_attribute a JOIN pg_type d ON d.oid = a.atttypid
        WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND d.typtype = 'd');
    -- The subquery is executed once. Tables without ignored columns have none.
    may_hide constant text := 'CASE WHEN (SELECT _bemi.is_hidden_v1(%1$L::pg_catalog.text, %2$L::pg_catalog.text)) '
                              'THEN NULL ELSE %3$s END';
BEGIN
    SELECT n.nspname AS schema, c.relname AS name, n.nspname || '.' || c.relname AS full_name,
           CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname) AS rows
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = target INTO named;
    of_table := format(of_any, 'e', named.schema, named.name);
    of_table_c := format(of_any, 'c', named.schema, named.name);
    -- In place, because a function for each column would take longer than what it does.
    FOR col IN SELECT * FROM _bemi.past_columns_v1(target, key) LOOP
        value := format('t.%I::%s', col.name, col.shown);
        past := chr(1);
        IF col.number <> key[1] OR typed IS NULL THEN
            -- Rows from before the column was added have its default of then. Rows from before it was renamed have its
            -- old name.
            json := CASE WHEN col.missing IS NOT NULL THEN
                format('pg_catalog.to_jsonb(%L::%s)', col.missing, col.exact) END;
            unknown := NULL;
            called := CASE WHEN col.number = ANY (contested) THEN '[]' ELSE names -> col.number::text END;
            IF called = '[]' THEN
                json := format(
                    '_bemi.value_then_v1((SELECT _bemi.past_layouts_v1(%s::pg_catalog.oid, %s::pg_catalog.int2)), '
                    'c.id, c.transaction_id, c.before, c.unavailable, %L::pg_catalog.text, %L::pg_catalog.text, %s)',
                    target, col.number, named.full_name, col.name, coalesce(json, 'NULL::pg_catalog.jsonb'));
            END IF;
            FOR place IN REVERSE jsonb_array_length(called) - 1 .. 0 LOOP
                known := called ->> place;
                -- What is unknown of a row is named as the columns were called then.
                unknown := CASE WHEN known = col.name THEN '' ELSE format(
                    'NOT c.before OPERATOR(pg_catalog.?) %L::pg_catalog.text AND ', col.name) END
                    || format('_bemi.is_unknown_v1(c.unavailable, %L::pg_catalog.text, %L::pg_catalog.text)',
                              named.full_name, known)
                    || coalesce(' OR ' || unknown, '');
                json := CASE WHEN json IS NULL THEN format(get, known)
                    ELSE format('CASE WHEN c.before OPERATOR(pg_catalog.?) %L::pg_catalog.text THEN %s ELSE %s END',
                                known, format(get, known), json) END;
            END LOOP;
            past := CASE
                -- In a key, a null is that of JSON.
                WHEN col.form = 'json' AND col.number = ANY (key) THEN format('(%s)::%s', json, col.exact)
                WHEN col.form = 'json' THEN
                    format('CASE WHEN (%1$s) OPERATOR(pg_catalog.=) ''null''::pg_catalog.jsonb THEN NULL '
                           'ELSE (%1$s)::%2$s END', json, col.exact)
                WHEN col.form = 'record' AND has_domains THEN
                    format('(SELECT r.value FROM pg_catalog.jsonb_to_record(pg_catalog.jsonb_build_object('
                           '''value''::pg_catalog.text, %s)) r (value %s))', json, col.exact)
                WHEN col.form = 'record' THEN
                    format('(pg_catalog.jsonb_populate_record(NULL::%1$I.%2$I, '
                           'pg_catalog.jsonb_build_object(%3$L::pg_catalog.text, %4$s))).%3$I',
                           named.schema, named.name, col.name, json)
                WHEN col.form = 'vector' THEN
                    format('pg_catalog.translate(%s, ''[],"''::pg_catalog.text, ''''::pg_catalog.text)::%s',
                           format(get_text, json), col.exact)
                WHEN col.form IN ('hstore', 'hstores') THEN
                    format('_bemi.%s_text_v1(%s)::%s', col.form, json, col.exact)
                WHEN json = format(get, col.name) THEN
                    format('(c.before OPERATOR(pg_catalog.->>) %L::pg_catalog.text)::%s', col.name, col.exact)
                ELSE format(get_text, json) || '::' || col.exact
            END;
            past := CASE WHEN unknown IS NULL THEN format('(%s)::%s', past, col.shown)
                ELSE format('CASE WHEN c.unavailable IS NOT NULL AND (%s) THEN NULL ELSE (%s)::%s END',
                            unknown, past, col.shown) END;
        END IF;
        IF col.name = ANY (hidden) THEN
            value := format(may_hide, named.full_name, col.name, value);
            past := format(may_hide, named.full_name, col.name, past);
        END IF;
        width := width + 1;
        -- By names of ours: the table may have columns of any name.
        inner_names := concat_ws(', ', inner_names, 'c' || width);
        shown := concat_ws(', ', shown, format('u.c%s AS %I', width, col.name));
        live := concat_ws(', ', live, value);
        logged := concat_ws(E',\n        ', logged, past);
    END LOOP;
    untouched := format('NOT EXISTS (SELECT FROM %s e WHERE %s%s AND e.primary_key OPERATOR(pg_catalog.=) ',
                        log, of_table, format(here, 'e'));
    arms := format($arm$
    SELECT %s,
        %s)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.jsonb_to_recordset(%s)
                AS e (schema pg_catalog.text, "table" pg_catalog.text, key pg_catalog.text)
            WHERE %s AND e.key OPERATOR(pg_catalog.=) %s)
    FROM %s t$arm$, live, untouched || live_key || since, late, of_table, live_key, named.rows);
    FOR arm IN
        SELECT * FROM (VALUES
            ('coalesce(c.previous_primary_key, c.primary_key)', '', NOT is_text),
            -- The log has indexes for keys that are text.
            ('c.primary_key', ' AND c.previous_primary_key IS NULL', is_text),
            ('c.previous_primary_key', ' AND c.previous_primary_key IS NOT NULL', is_text)
        ) form (key, condition, is_wanted) WHERE form.is_wanted
    LOOP
        arms := arms || format($arm$
    UNION ALL
    SELECT %s,
        %s AND c.operation OPERATOR(pg_catalog.=) ANY ('{UPDATE,DELETE}'::pg_catalog.text[])
        AND c.id OPERATOR(pg_catalog.>) %s%s
        AND %s AND e.id OPERATOR(pg_catalog.<) c.id%s)
    FROM %s c$arm$, coalesce(replace(logged, chr(1), replace(typed, '<key>', arm.key)), logged),
            of_table_c || format(here, 'c'), moment, arm.condition, untouched || arm.key || since, exchanged, log);
    END LOOP;
    arms := arms || format($arm$
    UNION ALL
    SELECT %s, true
    FROM pg_catalog.jsonb_to_recordset(%s) AS c (
        id pg_catalog.uuid, transaction_id pg_catalog.int8, schema pg_catalog.text, "table" pg_catalog.text,
        key pg_catalog.text, before pg_catalog.jsonb, unavailable pg_catalog.jsonb, is_row pg_catalog.bool)
    WHERE c.is_row AND %s AND %s)$arm$,
        coalesce(replace(logged, chr(1), replace(typed, '<key>', 'c.key')), logged), late,
        of_table_c, untouched || 'c.key' || since);
    RETURN format(
        E'\nSELECT %s FROM (%s\n) u (%s)\nWHERE u.is_due AND _bemi.past_gate_v1(%L::pg_catalog.text, %s::pg_catalog.oid)\n',
        shown, arms, concat_ws(', ', inner_names, 'is_due'), named.full_name, target);
END
$function$;
