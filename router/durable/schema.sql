-- Version 1. Instants and durations are microseconds (since 1970 in UTC), words are those of `router.model`.

CREATE TABLE instance (
    id               INTEGER PRIMARY KEY,
    ulid             TEXT    NOT NULL UNIQUE,
    path             TEXT    NOT NULL,
    calling_ae_title TEXT    NOT NULL,
    called_ae_title  TEXT    NOT NULL,
    peer_host        TEXT    NOT NULL,
    peer_port        INTEGER NOT NULL,
    association      TEXT    NOT NULL,
    received_at      INTEGER NOT NULL,
    sop_class        TEXT    NOT NULL,
    sop_instance     TEXT    NOT NULL,
    transfer_syntax  TEXT    NOT NULL,
    study            TEXT    NOT NULL,
    size             INTEGER NOT NULL,
    header_size      INTEGER NOT NULL,
    digest           TEXT    NOT NULL,
    settled_at       INTEGER,                      -- when its last delivery was settled (S6)
    removing         INTEGER NOT NULL DEFAULT 0    -- its payload is being unlinked (S6 to S7)
) STRICT;

CREATE INDEX instance_settled ON instance (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE delivery (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: operators name deliveries by it
    instance        INTEGER NOT NULL REFERENCES instance,
    destination     TEXT    NOT NULL,                   -- empty: no route took the instance
    state           TEXT    NOT NULL CHECK (state IN ('queued', 'in flight', 'held', 'dead', 'delivered', 'dropped')),
    due             INTEGER NOT NULL,                   -- the next attempt, while it is queued
    token           INTEGER,                            -- of the claim that it is in flight under
    owner           TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,
    tries           INTEGER NOT NULL DEFAULT 0,
    uncertain       INTEGER NOT NULL DEFAULT 0,
    worked_from     INTEGER NOT NULL,                   -- the destination's working clock when it was accepted
    cause           TEXT,
    error           TEXT    NOT NULL DEFAULT '',
    error_comment   TEXT    NOT NULL DEFAULT '',
    status          INTEGER,
    strategy        TEXT    NOT NULL DEFAULT '',
    transfer_syntax TEXT    NOT NULL DEFAULT '',
    associations    INTEGER NOT NULL DEFAULT 0,
    last_attempt_at INTEGER,
    CHECK (destination <> '' OR state NOT IN ('queued', 'in flight')),
    CHECK ((state = 'in flight') = (token IS NOT NULL))
) STRICT;

-- Partial indexes: a million deliveries that wait for one destination cost the others nothing.
CREATE INDEX delivery_queued ON delivery (destination, due, id) WHERE state = 'queued';
CREATE INDEX delivery_in_flight ON delivery (owner) WHERE state = 'in flight';
CREATE INDEX delivery_held ON delivery (destination, cause) WHERE state = 'held';
CREATE INDEX delivery_instance ON delivery (instance);

CREATE TABLE destination (
    name          TEXT    PRIMARY KEY,
    configured    INTEGER NOT NULL DEFAULT 1,
    address       TEXT    NOT NULL DEFAULT '',          -- what its capabilities were learned from
    failures      INTEGER NOT NULL DEFAULT 0,
    retry_at      INTEGER,
    held          INTEGER NOT NULL DEFAULT 0,
    cause         TEXT,
    error         TEXT    NOT NULL DEFAULT '',
    since         INTEGER,
    worked        INTEGER NOT NULL DEFAULT 0,           -- the working clock, less what runs since working_since
    working_since INTEGER                               -- NULL: the working clock stands still
) STRICT, WITHOUT ROWID;

CREATE TABLE capability (                               -- what a destination was seen to accept or refuse
    destination     TEXT    NOT NULL,
    sop_class       TEXT    NOT NULL,
    transfer_syntax TEXT    NOT NULL,
    accepted        INTEGER NOT NULL,                   -- 0 refused, 1 accepted, 2 accepted but a C-STORE in it refused
    learned_at      INTEGER NOT NULL,
    PRIMARY KEY (destination, sop_class, transfer_syntax)
) STRICT, WITHOUT ROWID;

CREATE TABLE claim (token INTEGER NOT NULL) STRICT;     -- one row: the last token that was given out
INSERT INTO claim VALUES (0);
