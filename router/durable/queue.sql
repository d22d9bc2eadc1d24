-- The queue's statements; `values.statements` reads them by name. A partial index is used only where the state is
-- written out, so it is. The planner knows nothing of the sizes: CROSS JOIN keeps the order in which tables are looked
-- up, and `+state` keeps it from an index that has more than the join.
-- A destination's working clock at :now is `worked + coalesce(max(0, :now - working_since), 0)`.

-- :known_of
SELECT (SELECT id FROM series
        WHERE study = :study AND series = :series AND accession_number = :accession_number AND patient_id = :patient_id)
       AS series_id,
       EXISTS (SELECT 1 FROM instance WHERE sop_instance = :sop_instance AND digest <> :digest) AS changed_content

-- :insert_series
INSERT INTO series (study, series, accession_number, patient_id)
VALUES (:study, :series, :accession_number, :patient_id)

-- :insert_instance
INSERT INTO instance (ulid, path, calling_ae_title, called_ae_title, peer_host, peer_port, association, received_at,
                      sop_class, sop_instance, transfer_syntax, series, size, header_size, digest)
VALUES (:ulid, :path, :calling_ae_title, :called_ae_title, :peer_host, :peer_port, :association, :received_at,
        :sop_class, :sop_instance, :transfer_syntax, :series_id, :size, :header_size, :digest)

-- :insert_delivery
INSERT INTO delivery (instance, destination, state, kept, size, priority, first_of, failover_after, cause, error, due,
                      worked_from)
VALUES (:instance, :destination, :state, :kept, :size, :priority, :first_of, :failover_after, :cause, :error, :due,
        coalesce((SELECT worked + coalesce(max(0, :now - working_since), 0)
                  FROM destination WHERE name = :destination), 0))

-- :has_row
SELECT 1 FROM instance WHERE ulid = :ulid

-- :accepted_before
SELECT 1
FROM instance
CROSS JOIN delivery ON delivery.instance = instance.id
WHERE sop_instance = :sop_instance AND digest = :digest AND instance.transfer_syntax = :transfer_syntax
  AND received_at >= :since AND destination = :destination AND state IN ('queued', 'in flight', 'delivered')
LIMIT 1

-- :load
SELECT waiting - in_flight AS yielding, held + in_flight AS bound
FROM (SELECT coalesce(sum(kept_bytes) FILTER (WHERE state IN ('queued', 'dead')), 0) AS waiting,
             coalesce(sum(kept_bytes) FILTER (WHERE state = 'held'), 0) AS held
      FROM tally WHERE destination = :destination)
CROSS JOIN (SELECT coalesce(sum(size), 0) AS in_flight
            FROM delivery WHERE state = 'in flight' AND destination = :destination)

-- :dead_kept
SELECT id, instance, size, state FROM delivery WHERE state = 'dead' AND kept AND destination = :destination ORDER BY id

-- :oldest_queued
SELECT id, instance, size, state FROM delivery WHERE state = 'queued' AND destination = :destination ORDER BY id

-- :give_up_claim
UPDATE delivery SET kept = 0 WHERE id = :delivery

-- :give_up
UPDATE delivery SET state = 'dead', kept = 0, cause = :cause, error = :error WHERE id = :delivery

-- :stamp_settled
UPDATE instance SET settled_at = :now
WHERE id = :instance AND settled_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM delivery
                  WHERE instance = :instance AND state NOT IN ('delivered', 'dropped') AND kept)

-- :reopen
UPDATE instance SET settled_at = NULL WHERE id = :instance

-- :await_quiet
INSERT INTO quiet VALUES (:destination, :study, :until) ON CONFLICT DO UPDATE SET until = max(until, :until)

-- :quiet_by_now
DELETE FROM quiet WHERE destination = :destination AND until <= :now RETURNING study

-- :end_quiet
UPDATE delivery SET due = min(:now, (SELECT received_at FROM instance WHERE instance.id = delivery.instance))
WHERE id IN (SELECT delivery.id
             FROM series
             CROSS JOIN instance ON instance.series = series.id
             CROSS JOIN delivery ON delivery.instance = instance.id
             WHERE study = :study AND destination = :destination AND due = :not_yet)

-- :next_token
UPDATE claim SET token = token + 1 RETURNING token

-- :due_first
SELECT delivery.id, series.study, series.series
FROM delivery
CROSS JOIN instance ON instance.id = delivery.instance
CROSS JOIN series ON series.id = instance.series
WHERE delivery.state = 'queued' AND destination = :destination AND priority = :priority AND due <= :now
ORDER BY due, delivery.id
LIMIT :limit

-- :due_last
SELECT delivery.id, series.study, series.series
FROM delivery
CROSS JOIN instance ON instance.id = delivery.instance
CROSS JOIN series ON series.id = instance.series
WHERE delivery.state = 'queued' AND destination = :destination AND priority = :priority AND due <= :now
ORDER BY due DESC, delivery.id DESC
LIMIT :limit

-- :due_of_study
SELECT delivery.id
FROM series
CROSS JOIN instance ON instance.series = series.id
CROSS JOIN delivery ON delivery.instance = instance.id
WHERE study = :group AND +state = 'queued' AND destination = :destination AND priority = :priority AND due <= :now
ORDER BY due * :direction, delivery.id * :direction
LIMIT :limit

-- :due_of_series
SELECT delivery.id
FROM series
CROSS JOIN instance ON instance.series = series.id
CROSS JOIN delivery ON delivery.instance = instance.id
WHERE series.series = :group AND +state = 'queued' AND destination = :destination AND priority = :priority
  AND due <= :now
ORDER BY due * :direction, delivery.id * :direction
LIMIT :limit

-- :in_flight_groups
SELECT DISTINCT series.study, series.series
FROM delivery
CROSS JOIN instance ON instance.id = delivery.instance
CROSS JOIN series ON series.id = instance.series
WHERE delivery.state = 'in flight' AND destination = :destination

-- :claim
UPDATE delivery SET state = 'in flight', owner = :owner, token = :token WHERE id = :delivery

-- :claimed
SELECT delivery.id, ulid, destination, instance.path, calling_ae_title, called_ae_title, peer_host, peer_port,
       association, received_at, sop_class, sop_instance, instance.transfer_syntax, instance.size, header_size, digest, study,
       series.series, priority, chosen_strategy, attempts, tries, uncertain,
       coalesce(worked + coalesce(max(0, :now - working_since), 0), 0) - worked_from AS worked_for
FROM json_each(:selected)
CROSS JOIN delivery ON delivery.id = value
CROSS JOIN instance ON instance.id = delivery.instance
CROSS JOIN series ON series.id = instance.series
LEFT JOIN destination ON destination.name = delivery.destination
ORDER BY json_each.key

-- :settle
UPDATE delivery
SET state = :state, due = :due, token = NULL, owner = NULL,
    attempts = attempts + :charged, tries = tries + :tried, uncertain = uncertain OR :uncertain,
    cause = :cause, error = :error, error_comment = :error_comment, status = :status, strategy = :strategy,
    transfer_syntax = :transfer_syntax, associations = :associations, last_attempt_at = :now
WHERE id = :delivery AND token = :token
RETURNING instance, destination

-- :tick
UPDATE destination SET worked = worked + max(0, :now - working_since), working_since = :now
WHERE name = :destination AND working_since IS NOT NULL

-- :give_back
UPDATE delivery SET state = 'queued', token = NULL, owner = NULL WHERE id = :delivery AND token = :token
RETURNING instance, destination

-- :recover
UPDATE delivery SET state = 'queued', token = NULL, owner = NULL, uncertain = 1
WHERE state = 'in flight' AND owner = :owner
RETURNING instance, destination

-- :next_due
SELECT min(at)
FROM (SELECT (SELECT min(due) FROM delivery
              WHERE state = 'queued' AND destination = :destination AND priority = value AND due > coalesce(:after, -1))
             AS at
      FROM json_each('[0, 1, 2]')
      UNION ALL
      SELECT min(until) FROM quiet WHERE destination = :destination AND until > coalesce(:after, -1))

-- :knows_strangers
SELECT 1 FROM destination WHERE NOT configured LIMIT 1

-- :hold_strangers
UPDATE delivery SET state = 'held', cause = :cause, error = :error
WHERE state = 'queued' AND destination IN (SELECT name FROM destination WHERE NOT configured)

-- :queue_returned
UPDATE delivery SET state = 'queued', cause = NULL, error = ''
WHERE state = 'held' AND cause = :cause AND destination IN (SELECT name FROM destination WHERE configured)

-- :know_strangers
INSERT OR IGNORE INTO destination (name, configured)
SELECT destination, 0 FROM tally WHERE state = 'queued' AND deliveries > 0

-- :forget_configuration
UPDATE destination SET configured = 0

-- :configure
INSERT INTO destination (name) VALUES (:destination) ON CONFLICT DO UPDATE SET configured = 1

-- :stopped_clocks
SELECT name, worked FROM destination WHERE name IN (:old, :new)

-- :rename_destination
UPDATE destination SET name = :new WHERE name = :old

-- :carry_pause_over
UPDATE destination SET paused = 1
WHERE name = :new AND EXISTS (SELECT 1 FROM destination WHERE name = :old AND paused)

-- :remove_destination
DELETE FROM destination WHERE name = :old

-- :carry_over
UPDATE delivery SET destination = :new, worked_from = worked_from + :shift
WHERE destination = :old AND state IN ('queued', 'in flight', 'held', 'dead')
  AND EXISTS (SELECT 1 FROM tally
              WHERE destination = :old AND deliveries > 0 AND state IN ('queued', 'held', 'dead'))

-- :carry_quiet_over
INSERT INTO quiet SELECT :new, study, until FROM quiet WHERE destination = :old
ON CONFLICT DO UPDATE SET until = max(until, excluded.until)

-- :remove_quiet
DELETE FROM quiet WHERE destination = :old

-- :leave_name
INSERT INTO destination (name, configured) VALUES (:old, 0)

-- :stop_clocks
UPDATE destination SET worked = worked + max(0, :now - working_since), working_since = NULL
WHERE working_since IS NOT NULL

-- :start_clocks
UPDATE destination SET working_since = CASE WHEN configured AND failures = 0 AND NOT held AND NOT paused THEN :now END

-- :standing
SELECT * FROM destination WHERE name = :destination

-- :stand
INSERT INTO destination (name, failures, retry_at, held, cause, error, since, working_since)
VALUES (:destination, :failures, :retry_at, :held, :cause, :error, :since,
        CASE WHEN :failures = 0 AND NOT :held THEN :now END)
ON CONFLICT DO UPDATE
SET failures = :failures, retry_at = :retry_at, held = :held, cause = :cause, error = :error, since = :since,
    working_since = CASE WHEN configured AND :failures = 0 AND NOT :held AND NOT paused THEN :now END

-- :pause
INSERT INTO destination (name, paused, working_since) VALUES (:destination, :paused, CASE WHEN NOT :paused THEN :now END)
ON CONFLICT DO UPDATE
SET paused = :paused,
    working_since = CASE WHEN configured AND failures = 0 AND NOT held AND NOT :paused THEN :now END

-- :paused
SELECT name FROM destination WHERE paused

-- :revive
UPDATE delivery
SET state = 'queued', kept = 1, due = :now, attempts = 0, tries = 0, cause = NULL, error = '',
    chosen_strategy = coalesce(:strategy, chosen_strategy),
    worked_from = coalesce((SELECT worked + coalesce(max(0, :now - working_since), 0)
                            FROM destination WHERE name = delivery.destination), 0)
WHERE id = :delivery AND state IN ('dead', 'held', 'queued') AND destination <> ''
  AND destination NOT IN (SELECT name FROM destination WHERE NOT configured)
  AND instance NOT IN (SELECT id FROM instance WHERE id = delivery.instance AND removing)
RETURNING instance, destination

-- :hold
UPDATE delivery SET state = 'held', cause = :cause, error = :error WHERE id = :delivery AND state = 'queued'
RETURNING instance

-- :drop
UPDATE delivery SET state = 'dropped', kept = 1, cause = :cause, error = :error
WHERE id = :delivery AND state IN ('queued', 'held', 'dead')
RETURNING instance

-- :readdress
UPDATE delivery
SET destination = :destination, state = 'queued', kept = 1, due = :now, attempts = 0, tries = 0, uncertain = 0,
    chosen_strategy = NULL, cause = NULL, error = '',
    worked_from = (SELECT worked + coalesce(max(0, :now - working_since), 0)
                   FROM destination WHERE name = :destination)
WHERE id = :delivery AND state IN ('queued', 'held', 'dead')
  AND :destination IN (SELECT name FROM destination WHERE configured)
  AND instance NOT IN (SELECT id FROM instance WHERE id = delivery.instance AND removing)
RETURNING instance, destination

-- :resend
INSERT INTO delivery (instance, destination, state, size, priority, first_of, due, worked_from)
SELECT settled.instance, name, 'queued', settled.size, priority, '[]', :now,
       worked + coalesce(max(0, :now - working_since), 0)
FROM delivery AS settled
CROSS JOIN instance ON instance.id = settled.instance AND NOT removing
CROSS JOIN destination ON name = coalesce(:destination, settled.destination) AND configured
WHERE settled.id = :delivery AND state IN ('delivered', 'dropped')
  AND NOT EXISTS (SELECT 1 FROM delivery
                  WHERE instance = settled.instance AND destination = name AND state IN ('queued', 'in flight'))
RETURNING instance, destination

-- :movable
SELECT id FROM delivery
WHERE state = 'queued' AND failover_after IS NOT NULL AND destination = :destination
  AND failover_after <= :now - :since AND due <> :not_yet
  AND EXISTS (SELECT 1 FROM json_each(first_of) WHERE value = :to)
  AND EXISTS (SELECT 1 FROM json_each(first_of) WHERE value = :destination)
ORDER BY failover_after, id
LIMIT :limit

-- :mark_removing
UPDATE instance SET removing = 1
WHERE id IN (SELECT id FROM instance
             WHERE settled_at < :before
               AND NOT EXISTS (SELECT 1 FROM delivery
                               WHERE instance = instance.id AND state NOT IN ('delivered', 'dropped') AND kept)
             ORDER BY settled_at LIMIT :limit)
RETURNING id, path

-- :remove_deliveries
DELETE FROM delivery WHERE instance = :instance

-- :remove_instance
DELETE FROM instance WHERE id = :instance RETURNING series

-- :remove_series
DELETE FROM series WHERE id = :series AND NOT EXISTS (SELECT 1 FROM instance WHERE series = :series)

-- :lose
UPDATE delivery SET state = 'dead', token = NULL, owner = NULL, cause = :cause, error = :error
WHERE instance = (SELECT id FROM instance WHERE ulid = :ulid AND path = :path) AND state IN ('queued', 'in flight')

-- :learn
INSERT INTO capability (destination, sop_class, transfer_syntax, accepted, learned_at)
VALUES (:destination, :sop_class, :transfer_syntax, :accepted, :now)
ON CONFLICT DO UPDATE SET accepted = :accepted, learned_at = :now

-- :expire
DELETE FROM capability WHERE destination = :destination AND learned_at < :since

-- :learned
SELECT sop_class, transfer_syntax, accepted, learned_at FROM capability WHERE destination = :destination

-- :forget
DELETE FROM capability WHERE destination = :destination

-- :identify
UPDATE destination SET address = :address WHERE name = :destination AND address IS NOT :address
RETURNING name
