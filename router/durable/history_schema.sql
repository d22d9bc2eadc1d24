-- Version 1. What happened to deliveries, in the order in which it did. Instants are microseconds since 1970 in UTC,
-- words are those of `router.model` and `router.durable.history`.

CREATE TABLE happening (
    id                     INTEGER PRIMARY KEY,
    at                     INTEGER NOT NULL,
    what                   TEXT    NOT NULL,
    ulid                   TEXT    NOT NULL,
    delivery               INTEGER NOT NULL,            -- its number in the queue at that time
    destination            TEXT    NOT NULL,            -- empty: no route took the instance
    sop_class              TEXT    NOT NULL,
    sop_instance           TEXT    NOT NULL,
    study                  TEXT    NOT NULL,
    accession_number       TEXT    NOT NULL,
    calling_ae_title       TEXT    NOT NULL,
    size                   INTEGER NOT NULL,
    stored_transfer_syntax TEXT    NOT NULL,
    transfer_syntax        TEXT    NOT NULL,            -- of the last attempt; so are the others below
    strategy               TEXT    NOT NULL,
    associations           INTEGER NOT NULL,
    status                 INTEGER,
    cause                  TEXT,
    error                  TEXT    NOT NULL,
    error_comment          TEXT    NOT NULL
) STRICT;

CREATE INDEX happening_at ON happening (at);
CREATE INDEX happening_ulid ON happening (ulid);
CREATE INDEX happening_sop_instance ON happening (sop_instance);
CREATE INDEX happening_study ON happening (study, at);
CREATE INDEX happening_accession_number ON happening (accession_number, at) WHERE accession_number <> '';
CREATE INDEX happening_destination ON happening (destination, at);

-- What is rare is not to be looked for among all that was delivered.
CREATE INDEX happening_trouble ON happening (what, at) WHERE what <> 'delivered';
CREATE INDEX happening_trouble_destination ON happening (destination, what, at) WHERE what <> 'delivered';
