-- The chains by which it is found that rows of the log were changed by somebody who may change everything. Each worker
-- that seals has a chain with the name of its slot; the chain '' holds what was removed from the log or replaced in it.

-- The last link of each chain.
CREATE TABLE _bemi.chains (
    name text PRIMARY KEY,
    number bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT '',
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Whether the worker seals what it writes, and the number in the ids of its changes.
    is_open boolean NOT NULL DEFAULT false,
    source bigint NOT NULL DEFAULT 0
);

-- The links. A worker adds one to its chain with each checkpoint that has changes, in the same transaction.
CREATE TABLE _bemi.links (
    chain text NOT NULL,
    number bigint NOT NULL,
    -- "changes" were written; sealing has begun ("begin") or ended ("end"); changes were "removed", "replaced" or
    -- "imported", a "month" was dropped, or changes were marked as "diverged".
    kind text NOT NULL,
    -- An object as JSON text, which is hashed as it stands.
    details text NOT NULL,
    sealed_at timestamptz NOT NULL,
    -- The transactions of the changes, 24 bytes each: commit LSN, commit time, number of changes.
    transactions bytea NOT NULL,
    -- The ids of changes in their order, 16 bytes each, and the digests of their rows, 32 bytes each: those that are
    -- replaced, which are zeros if there was none, and the present ones.
    ids bytea NOT NULL,
    replaced bytea NOT NULL,
    digests bytea NOT NULL,
    -- The salt of each digest, 16 bytes. Those of erased rows are zeros, so that nobody can guess what was erased.
    salts bytea NOT NULL,
    first uuid,
    last uuid,
    -- The SHA-256 of the link and of the hash before it.
    hash bytea NOT NULL,
    PRIMARY KEY (chain, number)
);
-- Random bytes are not worth a compression.
ALTER TABLE _bemi.links ALTER transactions SET STORAGE EXTERNAL, ALTER ids SET STORAGE EXTERNAL,
    ALTER replaced SET STORAGE EXTERNAL, ALTER digests SET STORAGE EXTERNAL, ALTER salts SET STORAGE EXTERNAL;
CREATE INDEX links_last ON _bemi.links (chain, last) WHERE last IS NOT NULL;

-- Add a link to a chain, with the rights of the log's owner. It holds the chain until the end of the transaction, so it
-- comes last in it.
CREATE FUNCTION _bemi.link_v1(
    chain text, kind text, details text, transactions bytea, ids bytea, replaced bytea, digests bytea, salts bytea)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    before record;
    at timestamptz;
    link bytea;
BEGIN
    INSERT INTO _bemi.chains AS c (name) VALUES (chain) ON CONFLICT (name) DO NOTHING;
    SELECT c.number, c.hash FROM _bemi.chains c WHERE c.name = chain FOR UPDATE INTO before;
    at := clock_timestamp();
    link := sha256(
        before.hash || int8send(before.number + 1) || timestamptz_send(at)
        || sha256(convert_to(chain, 'UTF8')) || sha256(convert_to(kind, 'UTF8')) || sha256(convert_to(details, 'UTF8'))
        || sha256(transactions) || sha256(ids) || sha256(replaced) || sha256(digests));
    INSERT INTO _bemi.links VALUES (
        chain, before.number + 1, kind, details, at, transactions, ids, replaced, digests, salts,
        nullif(encode(substr(ids, 1, 16), 'hex'), '')::uuid,
        nullif(encode(substr(ids, greatest(length(ids) - 15, 1), 16), 'hex'), '')::uuid, link);
    UPDATE _bemi.chains c SET
        number = before.number + 1, hash = link, sealed_at = at,
        is_open = CASE kind WHEN 'begin' THEN true WHEN 'end' THEN false ELSE c.is_open END,
        source = CASE kind WHEN 'begin' THEN (details::jsonb ->> 'source')::bigint ELSE c.source END
    WHERE c.name = chain;
END
$function$;

-- Add a link to the chain of a worker, which says what it has written, and cannot change any link. What was removed from
-- the log or replaced in it is not for it to say: otherwise it could pass a change that it adds to the past, or one that
-- somebody else has edited, for the work of a command.
CREATE FUNCTION _bemi.seal_v1(
    chain text, kind text, details text, transactions bytea, ids bytea, replaced bytea, digests bytea, salts bytea)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF chain = '' OR kind NOT IN ('begin', 'changes', 'end') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE =
            'A worker may seal what it has written, and may not say that changes were removed or replaced';
    END IF;
    PERFORM _bemi.link_v1(chain, kind, details, transactions, ids, replaced, digests, salts);
END
$function$;

-- Note in the chain '' what was removed or imported, if anything was ever sealed.
CREATE FUNCTION _bemi.note_v1(kind text, details jsonb, ids bytea DEFAULT '') RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
BEGIN
    IF EXISTS (SELECT FROM _bemi.chains) THEN
        details := details || jsonb_build_object('role', session_user);
        PERFORM _bemi.link_v1('', kind, details::text, '', ids, '', '', '');
    END IF;
END
$function$;

-- Note in the chain '' that the rows of changes were replaced, with the digests of the new ones. With is_erased, nobody can
-- find out any more what the old digests are of.
CREATE FUNCTION _bemi.note_replaced_v1(details jsonb, ids bytea, digests bytea, salts bytea, is_erased boolean)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    replaced bytea := '';
    id bytea;
    known bytea;
    link record;
    place integer;
BEGIN
    IF NOT EXISTS (SELECT FROM _bemi.chains) THEN
        RETURN;
    END IF;
    FOR number IN 0 .. length(ids) / 16 - 1 LOOP
        id := substr(ids, number * 16 + 1, 16);
        known := NULL;
        FOR link IN
            SELECT l.chain, l.number, l.ids, l.digests, l.salts FROM _bemi.chains c CROSS JOIN LATERAL (
                SELECT * FROM _bemi.links o WHERE o.chain = c.name AND o.last >= encode(id, 'hex')::uuid
                    AND o.first <= encode(id, 'hex')::uuid AND o.digests <> ''
                -- In the chain of a worker, each change is once.
                ORDER BY o.last LIMIT CASE WHEN c.name <> '' THEN 1 END) l
            ORDER BY l.chain = '' DESC, l.number DESC
        LOOP
            place := position(id IN link.ids) - 1;
            IF place % 16 <> 0 THEN
                SELECT n * 16 FROM generate_series(0, length(link.ids) / 16 - 1) n
                WHERE substr(link.ids, n * 16 + 1, 16) = id INTO place;
            END IF;
            CONTINUE WHEN place IS NULL OR place < 0;
            known := coalesce(known, substr(link.digests, place * 2 + 1, 32));
            EXIT WHEN NOT is_erased;
            UPDATE _bemi.links o SET
                salts = overlay(o.salts PLACING decode(repeat('00', 16), 'hex') FROM place + 1 FOR 16)
            WHERE o.chain = link.chain AND o.number = link.number;
        END LOOP;
        replaced := replaced || coalesce(known, decode(repeat('00', 32), 'hex'));
    END LOOP;
    details := details || jsonb_build_object('role', session_user);
    PERFORM _bemi.link_v1('', 'replaced', details::text, '', ids, replaced, digests, salts);
END
$function$;

REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
DO $block$
DECLARE
    function regprocedure;
BEGIN
    FOREACH function IN ARRAY ARRAY[
        '_bemi.link_v1(text, text, text, bytea, bytea, bytea, bytea, bytea)',
        '_bemi.seal_v1(text, text, text, bytea, bytea, bytea, bytea, bytea)',
        '_bemi.note_v1(text, jsonb, bytea)',
        '_bemi.note_replaced_v1(jsonb, bytea, bytea, bytea, boolean)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$block$;
