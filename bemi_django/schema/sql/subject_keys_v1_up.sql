-- The keys with which values of rows are encrypted, each of them encrypted with BEMI_ENCRYPTION_KEY, or kept in
-- BEMI_KEY_STORE. The values of a row cannot be read any more when its key is deleted.

CREATE TABLE _bemi.subject_keys (
    id uuid PRIMARY KEY,
    -- The row, as the log has it.
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    key text NOT NULL,
    -- Keys of a row follow each other if a store has forgotten one.
    generation int NOT NULL DEFAULT 0,
    -- NULL if the key is in BEMI_KEY_STORE.
    wrapped bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (database, schema, "table", key, generation)
);

REVOKE ALL ON _bemi.subject_keys FROM PUBLIC;
