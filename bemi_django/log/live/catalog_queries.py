"""SQL that describes live tables. The search path must be closed: see ``schema.search_path``."""

from __future__ import annotations

from bemi_django.log.live.equality import OF_EXCLUSION, OF_INDEX, OF_REFERENCE

# The parameter of each is a JSON array of names, because drivers adapt arrays of pairs differently.

#: (schema, table, column, whether generated, whether NOT NULL, sequence, type without its domains, whether it
#: is a domain, whether it holds hstore, whether an INSERT must give it a value).
COLUMNS = """
SELECT n.nspname::text, c.relname::text, a.attname::text, a.attgenerated <> '',
       a.attnotnull OR (WITH RECURSIVE base (oid, refuses_null) AS (
            SELECT t.typbasetype, t.typnotnull FROM pg_type t WHERE t.oid = a.atttypid AND t.typtype = 'd'
            UNION ALL
            SELECT t.typbasetype, t.typnotnull FROM base JOIN pg_type t USING (oid) WHERE t.typtype = 'd')
        SELECT coalesce(bool_or(refuses_null), false) FROM base),
       pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname),
       (WITH RECURSIVE base (oid, modifier, depth) AS (
            SELECT a.atttypid, a.atttypmod, 0
            UNION ALL
            SELECT t.typbasetype, t.typtypmod, depth + 1
            FROM base JOIN pg_type t USING (oid) WHERE t.typtype = 'd')
        SELECT format('%%I.%%I', tn.nspname, t.typname) || CASE
            -- The modifier of an interval is no number.
            WHEN modifier >= 0 AND t.typname NOT IN ('interval', '_interval')
                THEN coalesce(substring(format_type(t.oid, modifier) FROM '[(][^()]*[)]'), '') ELSE '' END
        FROM base JOIN pg_type t USING (oid) JOIN pg_namespace tn ON tn.oid = t.typnamespace
        ORDER BY depth DESC LIMIT 1),
       (SELECT t.typtype = 'd' FROM pg_type t WHERE t.oid = a.atttypid),
       (WITH RECURSIVE part (oid) AS (
            SELECT a.atttypid
            UNION
            SELECT nullif(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END, 0)
            FROM part JOIN pg_type t USING (oid))
        SELECT bool_or(t.typname = 'hstore') FROM part JOIN pg_type t USING (oid)),
       NOT a.atthasdef AND a.attidentity = '' AND (a.attnotnull OR (
           SELECT t.typnotnull AND t.typdefault IS NULL FROM pg_type t WHERE t.oid = a.atttypid))
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# SET CONSTRAINTS takes a name in a schema. It fails if a constraint of another table has the same name and is
# not deferrable.
_AMBIGUOUS = """EXISTS (
    SELECT FROM pg_constraint o WHERE o.conname = {constraint}.conname
    AND o.connamespace = {constraint}.connamespace AND NOT o.condeferrable)"""
#: (schema, table, index, is primary, deferrable, deferred, columns, operators, whether it is an exclusion) of
#: indexes on plain columns.
_UNIQUE = """
SELECT n.nspname::text, c.relname::text, x.relname::text, i.indisprimary,
       coalesce(u.condeferrable AND NOT {ambiguous}, false),
       coalesce(u.condeferred AND NOT {ambiguous}, false),
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE k.number <= i.indnkeyatts),
       {operators}, {is_exclusion}
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_index i ON i.indrelid = c.oid AND i.{kind} AND i.indisvalid
    AND i.indpred IS NULL AND i.indexprs IS NULL
JOIN pg_class x ON x.oid = i.indexrelid
LEFT JOIN pg_constraint u ON u.conindid = i.indexrelid AND u.conrelid = c.oid AND u.contype IN ('p', 'u', 'x')
""".replace("{ambiguous}", _AMBIGUOUS.replace("{constraint}", "u"))
UNIQUES = (
    _UNIQUE.replace("{kind}", "indisunique")
    .replace("{operators}", OF_INDEX)
    .replace("{is_exclusion}", "false")
    + "UNION ALL"
    + _UNIQUE.replace("{kind}", "indisexclusion")
    .replace("i.indisprimary,", "false,")
    .replace("{operators}", OF_EXCLUSION)
    .replace("{is_exclusion}", "true")
    + "ORDER BY 3, 9"
)
#: (schema, table, index, predicate, expressions, operators) of other unique indexes.
PARTIALS = """
SELECT n.nspname::text, c.relname::text, x.relname::text, pg_get_expr(i.indpred, c.oid),
       (SELECT array_agg(pg_get_indexdef(i.indexrelid, k, false) ORDER BY k)
        FROM generate_series(1, i.indnkeyatts) k),
       {operators}
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid
    AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)
JOIN pg_class x ON x.oid = i.indexrelid
ORDER BY x.relname
""".replace("{operators}", OF_INDEX)
#: The fields of ``Reference``, with schemas and names apart, and whether it is enforced. Not every version
#: of PostgreSQL has columns for these two.
REFERENCES = """
SELECT f.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text,
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM unnest(f.conkey) WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM unnest(f.confkey) WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum),
       f.confdeltype::text, f.condeferrable AND NOT {ambiguous}, f.condeferred AND NOT {ambiguous},
       {operators}, f.confupdtype::text, coalesce((to_jsonb(f) ->> 'conperiod')::bool, false),
       (SELECT array_agg(a.attname::text ORDER BY k.number)
        FROM jsonb_array_elements(nullif(to_jsonb(f) -> 'confdelsetcols', 'null'))
            WITH ORDINALITY k (attnum, number)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum::int2),
       coalesce((to_jsonb(f) ->> 'conenforced')::bool, true)
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
  AND EXISTS (SELECT FROM jsonb_array_elements(%s::jsonb) wanted
              WHERE (wanted ->> 0, wanted ->> 1) IN ((cn.nspname, c.relname), (pn.nspname, p.relname)))
ORDER BY cn.nspname, c.relname, f.conname
""".replace("{ambiguous}", _AMBIGUOUS.replace("{constraint}", "f")).replace("{operators}", OF_REFERENCE)
