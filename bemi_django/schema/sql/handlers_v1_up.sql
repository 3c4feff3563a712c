-- The position of each handler, and the changes that it could not handle.

CREATE TABLE _bemi.handlers (
    handler text NOT NULL,
    slot text NOT NULL,
    -- The part of the log to which last belongs: the server, and the sequence number of its start.
    system_identifier text NOT NULL,
    start_sequence bigint NOT NULL,
    -- Every change up to this id has been handled or kept in _bemi.undelivered.
    last uuid NOT NULL,
    -- Attempts to handle the next change.
    attempts integer NOT NULL DEFAULT 0,
    retry_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (handler, slot)
);

CREATE TABLE _bemi.undelivered (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handler text NOT NULL,
    change_id uuid NOT NULL,
    attempts integer NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
REVOKE ALL ON ALL TABLES IN SCHEMA _bemi FROM PUBLIC;
