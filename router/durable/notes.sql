-- What the queue's writer has to tell the history: triggers, so that no statement can forget it. They are temporary, as
-- is the table: they live in the writer's connection, and what is undone there was never noted.

-- :begin
PRAGMA temp_store = MEMORY;

CREATE TEMP TABLE happened (
    id          INTEGER PRIMARY KEY,
    delivery    INTEGER NOT NULL,
    what        TEXT    NOT NULL,
    destination TEXT    NOT NULL
) STRICT;

-- What is owed from its arrival on, its ULID and its row say; not what is owed once more after it was settled.
CREATE TEMP TRIGGER delivery_ordered AFTER INSERT ON main.delivery
WHEN NEW.state IN ('held', 'dead', 'dropped')
  OR NEW.state = 'queued' AND EXISTS (SELECT 1 FROM delivery
                                      WHERE instance = NEW.instance AND state IN ('delivered', 'dropped'))
BEGIN
    INSERT INTO happened (delivery, what, destination) VALUES (NEW.id, NEW.state, NEW.destination);
END;

-- Only a settlement sets when the last attempt was.
CREATE TEMP TRIGGER delivery_settled AFTER UPDATE OF last_attempt_at ON main.delivery BEGIN
    INSERT INTO happened (delivery, what, destination)
    VALUES (NEW.id, CASE NEW.state WHEN 'queued' THEN 'deferred' ELSE NEW.state END, NEW.destination);
END;

CREATE TEMP TRIGGER delivery_readdressed AFTER UPDATE OF destination ON main.delivery
WHEN NEW.destination <> OLD.destination
BEGIN
    INSERT INTO happened (delivery, what, destination)
    VALUES (NEW.id, 'moved', OLD.destination),
           (NEW.id, CASE NEW.state WHEN 'in flight' THEN 'queued' ELSE NEW.state END, NEW.destination);
END;

-- Neither a claim nor what was given back is worth a line; a delivery that waits is queued again only by an operator.
CREATE TEMP TRIGGER delivery_kept AFTER UPDATE OF state ON main.delivery
WHEN NEW.destination = OLD.destination AND NEW.state <> 'in flight'
 AND (OLD.state <> 'in flight' OR NEW.state = 'dead' AND NEW.last_attempt_at IS OLD.last_attempt_at)
BEGIN
    INSERT INTO happened (delivery, what, destination)
    VALUES (NEW.id, CASE NEW.state WHEN 'queued' THEN 'resumed' ELSE NEW.state END, NEW.destination);
END;

-- :happened
SELECT happened.what, happened.destination, delivery.id, ulid, sop_class, sop_instance, study, accession_number,
       calling_ae_title, instance.size, instance.transfer_syntax AS stored_transfer_syntax, delivery.transfer_syntax,
       strategy, associations, status, cause, error, error_comment
FROM happened
CROSS JOIN delivery ON delivery.id = happened.delivery
CROSS JOIN instance ON instance.id = delivery.instance
CROSS JOIN series ON series.id = instance.series
ORDER BY happened.id

-- :told
DELETE FROM happened
