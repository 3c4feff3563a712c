-- The keys with which values of rows are encrypted, each of them encrypted with BEMI_ENCRYPTION_KEY. The values of a
-- row cannot be read any more when its key is deleted.

CREATE TABLE _bemi.subject_keys (
    id uuid PRIMARY KEY,
    -- The row, as the log has it.
    database text NOT NULL,
    schema text NOT NULL,
    "table" text NOT NULL,
    key text NOT NULL,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (database, schema, "table", key)
);

REVOKE ALL ON _bemi.subject_keys FROM PUBLIC;
