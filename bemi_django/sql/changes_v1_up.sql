CREATE TABLE changes (
    id uuid NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    primary_key text,
    operation text NOT NULL,
    before jsonb NOT NULL DEFAULT '{}',
    after jsonb NOT NULL DEFAULT '{}',
    context jsonb NOT NULL DEFAULT '{}',
    committed_at timestamptz NOT NULL,
    queued_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction_id bigint NOT NULL,
    position bigint NOT NULL,
    -- id first: it holds the commit order, so look-ups by id and lists in order use one index.
    PRIMARY KEY (id, committed_at)
) PARTITION BY RANGE (committed_at);

CREATE TABLE changes_default PARTITION OF changes DEFAULT;

CREATE INDEX changes_object ON changes ("table", primary_key, id);
CREATE INDEX changes_committed_at ON changes USING brin (committed_at);
CREATE INDEX changes_context ON changes USING gin (context jsonb_path_ops);

CREATE TABLE _bemi_checkpoint (
    slot text PRIMARY KEY,
    lsn pg_lsn NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
