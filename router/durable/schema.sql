-- Version 1. Instants and durations are microseconds (since 1970 in UTC), words are those of `router.model`.

CREATE TABLE series (                                  -- written once, whatever the number of its instances
    id               INTEGER PRIMARY KEY,
    study            TEXT    NOT NULL,                 -- Study Instance UID, empty: it has none; as are the others
    series           TEXT    NOT NULL,
    accession_number TEXT    NOT NULL,
    patient_id       TEXT    NOT NULL,
    UNIQUE (study, series, accession_number, patient_id)
) STRICT;

CREATE INDEX series_uid ON series (series);
CREATE INDEX series_accession_number ON series (accession_number) WHERE accession_number <> '';
CREATE INDEX series_patient_id ON series (patient_id) WHERE patient_id <> '';

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
    series           INTEGER NOT NULL REFERENCES series,
    size             INTEGER NOT NULL,
    header_size      INTEGER NOT NULL,
    digest           TEXT    NOT NULL,
    settled_at       INTEGER,                      -- when its last delivery was settled (S6)
    removing         INTEGER NOT NULL DEFAULT 0    -- its payload is being unlinked (S6 to S7)
) STRICT;

CREATE INDEX instance_series ON instance (series);
CREATE INDEX instance_sop_instance ON instance (sop_instance);
CREATE INDEX instance_settled ON instance (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE delivery (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: operators name deliveries by it
    instance        INTEGER NOT NULL REFERENCES instance,
    destination     TEXT    NOT NULL,                   -- empty: no route took the instance
    state           TEXT    NOT NULL CHECK (state IN ('queued', 'in flight', 'held', 'dead', 'delivered', 'dropped')),
    kept            INTEGER NOT NULL DEFAULT 1,         -- 0: a dead letter that gave up its claim on the payload
    size            INTEGER NOT NULL,                   -- of the payload
    priority        INTEGER NOT NULL,
    due             INTEGER NOT NULL,                   -- the next attempt, while it is queued; 9999: see `quiet`
    token           INTEGER,                            -- of the claim that it is in flight under
    owner           TEXT,
    chosen_strategy TEXT,                               -- an operator's, in place of the destination's
    first_of        TEXT    NOT NULL,                   -- a JSON list: the destinations that it may be owed to
    failover_after  INTEGER,
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
    CHECK ((state = 'in flight') = (token IS NOT NULL)),
    CHECK (kept OR state = 'dead')
) STRICT;

-- Partial indexes: a million deliveries that wait for one destination cost the others nothing, and a delivery that is
-- settled costs nobody anything. Every index ends with the id, so (destination) has the oldest first.
CREATE INDEX delivery_due ON delivery (destination, priority, due) WHERE state = 'queued';
CREATE INDEX delivery_queued ON delivery (destination) WHERE state = 'queued';
CREATE INDEX delivery_in_flight ON delivery (destination) WHERE state = 'in flight';
CREATE INDEX delivery_held ON delivery (destination) WHERE state = 'held';
CREATE INDEX delivery_held_cause ON delivery (cause, destination) WHERE state = 'held';
CREATE INDEX delivery_dead ON delivery (destination) WHERE state = 'dead';
CREATE INDEX delivery_dead_cause ON delivery (cause, destination) WHERE state = 'dead';
CREATE INDEX delivery_dead_kept ON delivery (destination) WHERE state = 'dead' AND kept;
CREATE INDEX delivery_failover ON delivery (destination, failover_after)
    WHERE state = 'queued' AND failover_after IS NOT NULL;
CREATE INDEX delivery_instance ON delivery (instance);

CREATE TABLE tally (                                    -- of all deliveries, kept by the triggers below
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL,                       -- 'queued' counts those in flight, too: they are few
    deliveries  INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    kept_bytes  INTEGER NOT NULL,                       -- less those of dead letters that gave up their claim
    PRIMARY KEY (destination, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER delivery_inserted AFTER INSERT ON delivery BEGIN
    INSERT INTO tally VALUES (NEW.destination, NEW.state, 1, NEW.size, NEW.size * NEW.kept)
    ON CONFLICT DO UPDATE
    SET deliveries = deliveries + 1, bytes = bytes + NEW.size, kept_bytes = kept_bytes + NEW.size * NEW.kept;
END;

CREATE TRIGGER delivery_moved AFTER UPDATE OF state, destination, kept ON delivery
WHEN iif(OLD.state = 'in flight', 'queued', OLD.state) <> iif(NEW.state = 'in flight', 'queued', NEW.state)
     OR OLD.destination <> NEW.destination OR OLD.kept <> NEW.kept
BEGIN
    UPDATE tally
    SET deliveries = deliveries - 1, bytes = bytes - OLD.size, kept_bytes = kept_bytes - OLD.size * OLD.kept
    WHERE destination = OLD.destination AND state = iif(OLD.state = 'in flight', 'queued', OLD.state);
    INSERT INTO tally
    VALUES (NEW.destination, iif(NEW.state = 'in flight', 'queued', NEW.state), 1, NEW.size, NEW.size * NEW.kept)
    ON CONFLICT DO UPDATE
    SET deliveries = deliveries + 1, bytes = bytes + NEW.size, kept_bytes = kept_bytes + NEW.size * NEW.kept;
END;

CREATE TRIGGER delivery_deleted AFTER DELETE ON delivery BEGIN      -- never of one in flight
    UPDATE tally
    SET deliveries = deliveries - 1, bytes = bytes - OLD.size, kept_bytes = kept_bytes - OLD.size * OLD.kept
    WHERE destination = OLD.destination AND state = OLD.state;
END;

CREATE TABLE quiet (                                    -- studies that wait until nothing more of them arrives
    destination TEXT    NOT NULL,
    study       TEXT    NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (destination, study)
) STRICT, WITHOUT ROWID;

CREATE INDEX quiet_until ON quiet (destination, until);

CREATE TABLE destination (
    name          TEXT    PRIMARY KEY,
    configured    INTEGER NOT NULL DEFAULT 1,
    address       TEXT    NOT NULL DEFAULT '',          -- what its capabilities were learned from
    paused        INTEGER NOT NULL DEFAULT 0,           -- by an operator
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
