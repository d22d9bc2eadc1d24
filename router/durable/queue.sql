-- The queue's statements; `database.statements` reads them by name. A partial index is used only where the state is
-- written out, so it is. A destination's working clock at :now is `worked + coalesce(max(0, :now - working_since), 0)`.

-- :insert_instance
INSERT INTO instance (ulid, path, calling_ae_title, called_ae_title, peer_host, peer_port, association, received_at,
                      sop_class, sop_instance, transfer_syntax, study, size, header_size, digest)
VALUES (:ulid, :path, :calling_ae_title, :called_ae_title, :peer_host, :peer_port, :association, :received_at,
        :sop_class, :sop_instance, :transfer_syntax, :study, :size, :header_size, :digest)
RETURNING id

-- :insert_delivery
INSERT INTO delivery (instance, destination, state, cause, error, due, worked_from)
VALUES (:instance, :destination, :state, :cause, :error, :due,
        coalesce((SELECT worked + coalesce(max(0, :now - working_since), 0)
                  FROM destination WHERE name = :destination), 0))

-- :has_row
SELECT 1 FROM instance WHERE ulid = :ulid

-- :stamp_settled
UPDATE instance SET settled_at = :now
WHERE id = :instance AND settled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM delivery WHERE instance = :instance AND state NOT IN ('delivered', 'dropped'))

-- :next_token
UPDATE claim SET token = token + 1 RETURNING token

-- :due
SELECT delivery.id, ulid, destination, path, calling_ae_title, called_ae_title, peer_host, peer_port, association,
       received_at, sop_class, sop_instance, instance.transfer_syntax, size, header_size, digest, study, attempts, tries,
       uncertain,
       coalesce(worked + coalesce(max(0, :now - working_since), 0), 0) - worked_from AS worked_for
FROM delivery
JOIN instance ON instance.id = delivery.instance
LEFT JOIN destination ON destination.name = delivery.destination
WHERE delivery.destination = :destination AND delivery.state = 'queued' AND delivery.due <= :now
ORDER BY delivery.due, delivery.id
LIMIT :limit

-- :claim
UPDATE delivery SET state = 'in flight', owner = :owner, token = :token WHERE id = :delivery

-- :settle
UPDATE delivery
SET state = :state, due = :due, token = NULL, owner = NULL,
    attempts = attempts + :charged, tries = tries + :tried, uncertain = uncertain OR :uncertain,
    cause = :cause, error = :error, error_comment = :error_comment, status = :status, strategy = :strategy,
    transfer_syntax = :transfer_syntax, associations = :associations, last_attempt_at = :now
WHERE id = :delivery AND token = :token
RETURNING instance

-- :tick
UPDATE destination SET worked = worked + max(0, :now - working_since), working_since = :now
WHERE name = :destination AND working_since IS NOT NULL

-- :give_back
UPDATE delivery SET state = 'queued', token = NULL, owner = NULL WHERE id = :delivery AND token = :token
RETURNING destination

-- :recover
UPDATE delivery SET state = 'queued', token = NULL, owner = NULL, uncertain = 1
WHERE state = 'in flight' AND owner = :owner
RETURNING destination

-- :next_due
SELECT min(due) FROM delivery WHERE state = 'queued' AND destination = :destination

-- :hold_strangers
UPDATE delivery SET state = 'held', cause = :cause, error = :error
WHERE state = 'queued' AND destination IN (SELECT name FROM destination WHERE NOT configured)

-- :queue_returned
UPDATE delivery SET state = 'queued', cause = NULL, error = ''
WHERE state = 'held' AND cause = :cause AND destination IN (SELECT name FROM destination WHERE configured)

-- :know_strangers
INSERT OR IGNORE INTO destination (name, configured)
SELECT destination, 0 FROM delivery WHERE state = 'queued'
UNION
SELECT destination, 0 FROM delivery WHERE state = 'in flight'

-- :forget_configuration
UPDATE destination SET configured = 0

-- :configure
INSERT INTO destination (name) VALUES (:destination) ON CONFLICT DO UPDATE SET configured = 1

-- :stopped_clocks
SELECT name, worked FROM destination WHERE name IN (:old, :new)

-- :rename_destination
UPDATE destination SET name = :new WHERE name = :old

-- :remove_destination
DELETE FROM destination WHERE name = :old

-- :carry_over
UPDATE delivery SET destination = :new, worked_from = worked_from + :shift
WHERE destination = :old AND state IN ('queued', 'in flight', 'held', 'dead')

-- :stop_clocks
UPDATE destination SET worked = worked + max(0, :now - working_since), working_since = NULL
WHERE working_since IS NOT NULL

-- :start_clocks
UPDATE destination SET working_since = CASE WHEN configured AND failures = 0 AND NOT held THEN :now END

-- :standing
SELECT * FROM destination WHERE name = :destination

-- :stand
INSERT INTO destination (name, failures, retry_at, held, cause, error, since, working_since)
VALUES (:destination, :failures, :retry_at, :held, :cause, :error, :since,
        CASE WHEN :failures = 0 AND NOT :held THEN :now END)
ON CONFLICT DO UPDATE
SET failures = :failures, retry_at = :retry_at, held = :held, cause = :cause, error = :error, since = :since,
    working_since = CASE WHEN configured AND :failures = 0 AND NOT :held THEN :now END

-- :revive
UPDATE delivery
SET state = 'queued', due = :now, attempts = 0, tries = 0, cause = NULL, error = '',
    worked_from = coalesce((SELECT worked + coalesce(max(0, :now - working_since), 0)
                            FROM destination WHERE name = delivery.destination), 0)
WHERE id = :delivery AND state IN ('dead', 'held', 'queued') AND destination <> ''
  AND destination NOT IN (SELECT name FROM destination WHERE NOT configured)
RETURNING destination

-- :mark_removing
UPDATE instance SET removing = 1
WHERE id IN (SELECT id FROM instance
             WHERE settled_at < :before
               AND NOT EXISTS (SELECT 1 FROM delivery
                               WHERE instance = instance.id AND state NOT IN ('delivered', 'dropped'))
             ORDER BY settled_at LIMIT :limit)
RETURNING id, path

-- :remove_deliveries
DELETE FROM delivery WHERE instance = :instance

-- :remove_instance
DELETE FROM instance WHERE id = :instance

-- :lose
UPDATE delivery SET state = 'dead', token = NULL, owner = NULL, cause = :cause, error = :error
WHERE instance = (SELECT id FROM instance WHERE ulid = :ulid AND path = :path) AND state IN ('queued', 'in flight')

-- :entries
SELECT delivery.id, ulid, destination, state, cause, error, attempts, due, last_attempt_at, status, strategy,
       delivery.transfer_syntax AS sent_transfer_syntax, calling_ae_title, called_ae_title, peer_host, peer_port,
       association, received_at, sop_class, sop_instance, instance.transfer_syntax, study, size, path, error_comment
FROM delivery
JOIN instance ON instance.id = delivery.instance
WHERE (:delivery IS NULL OR delivery.id = :delivery)
  AND (:destination IS NULL OR destination = :destination)
  AND (:state IS NULL OR state = :state)
  AND (:cause IS NULL OR cause = :cause)
  AND (:calling_ae_title IS NULL OR calling_ae_title = :calling_ae_title)
  AND (:received_before IS NULL OR received_at < :received_before)
ORDER BY delivery.id
LIMIT :limit

-- :tallies
SELECT destination, state, count(*) AS deliveries, sum(size) AS size, min(received_at) AS oldest
FROM delivery
JOIN instance ON instance.id = delivery.instance
GROUP BY destination, state
ORDER BY destination, state

-- :standings
SELECT * FROM destination WHERE configured

-- :known
SELECT ulid FROM instance WHERE ulid IN (SELECT value FROM json_each(:ulids))

-- :paths
SELECT path FROM instance

-- :learn
INSERT INTO capability (destination, sop_class, transfer_syntax, accepted, learned_at)
VALUES (:destination, :sop_class, :transfer_syntax, :accepted, :now)
ON CONFLICT DO UPDATE SET accepted = :accepted, learned_at = :now

-- :learned
SELECT sop_class, transfer_syntax, accepted, learned_at FROM capability
WHERE destination = :destination AND learned_at >= :since

-- :forget
DELETE FROM capability WHERE destination = :destination

-- :identify
UPDATE destination SET address = :address WHERE name = :destination AND address IS NOT :address
RETURNING name
