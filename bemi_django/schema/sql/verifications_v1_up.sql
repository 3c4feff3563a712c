-- What 'bemi verify' has found: its runs, so that one that was interrupted can be continued, and the differences that
-- somebody has looked at and accepted.

CREATE TABLE _bemi.verifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot text NOT NULL,
    -- What was to be compared: {"tables": [names], "sample": text or null}.
    asked jsonb NOT NULL,
    -- How many runs were asked the same before; it chooses the part of a sample.
    round integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL while a run is at work, or if it was interrupted.
    ended_at timestamptz,
    -- The number of tables, and of those that differ or could not be compared.
    tables integer NOT NULL DEFAULT 0,
    wrong integer NOT NULL DEFAULT 0
);
CREATE INDEX verifications_slot ON _bemi.verifications (slot, id);

CREATE TABLE _bemi.verified (
    verification bigint NOT NULL REFERENCES _bemi.verifications ON DELETE CASCADE,
    -- As schema.name.
    name text NOT NULL,
    -- What was found up to the place. The place is NULL when the table has been compared.
    result jsonb NOT NULL,
    place jsonb,
    PRIMARY KEY (verification, name)
);

-- A difference stays accepted until the row changes in the log or in the table.
CREATE TABLE _bemi.accepted (
    slot text NOT NULL,
    -- As schema.name.
    name text NOT NULL,
    -- Of what the log and the table have, so that no values are kept here.
    digest bytea NOT NULL,
    kind text NOT NULL,
    -- Who accepted it, and why.
    context jsonb NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (slot, name, digest)
);
REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
