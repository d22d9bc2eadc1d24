-- The desk's statements, as in queue.sql. Those named find... are continued by `desk` with the conditions of a query.

-- :by_number
SELECT delivery.id, ulid, delivery.destination, state, cause, error, attempts, coalesce(until, due) AS due,
       last_attempt_at, status, strategy, delivery.transfer_syntax AS sent_transfer_syntax, priority, first_of,
       calling_ae_title, called_ae_title, peer_host, peer_port, association, received_at, sop_class, sop_instance,
       instance.transfer_syntax, series.study, series.series, instance.size, instance.path, error_comment
FROM json_each(:deliveries)
CROSS JOIN delivery ON delivery.id = value
CROSS JOIN instance ON instance.id = delivery.instance
CROSS JOIN series ON series.id = instance.series
LEFT JOIN quiet ON due = :not_yet AND quiet.destination = delivery.destination AND quiet.study = series.study
ORDER BY delivery.id

-- :find_by_instance
SELECT delivery.id
FROM instance
CROSS JOIN series ON series.id = instance.series
CROSS JOIN delivery ON delivery.instance = instance.id
WHERE delivery.id > :after

-- :find_by_study
SELECT delivery.id
FROM series
CROSS JOIN instance ON instance.series = series.id
CROSS JOIN delivery ON delivery.instance = instance.id
WHERE delivery.id > :after

-- :find
SELECT delivery.id
FROM delivery
CROSS JOIN instance ON instance.id = delivery.instance
WHERE delivery.id > :after

-- :destinations
SELECT destination FROM tally WHERE state = iif(:state = 'in flight', 'queued', :state) AND deliveries > 0

-- :tallies
WITH in_flight AS (SELECT destination, count(*) AS deliveries, sum(size) AS bytes, min(id), instance
                   FROM delivery WHERE state = 'in flight' GROUP BY destination)
SELECT destination, state,
       tally.deliveries - iif(state = 'queued', coalesce(in_flight.deliveries, 0), 0) AS deliveries,
       tally.bytes - iif(state = 'queued', coalesce(in_flight.bytes, 0), 0) AS bytes,
       (SELECT received_at FROM instance
        WHERE id = CASE state
            WHEN 'queued' THEN (SELECT instance FROM delivery
                                WHERE state = 'queued' AND destination = tally.destination ORDER BY id LIMIT 1)
            WHEN 'held' THEN (SELECT instance FROM delivery
                              WHERE state = 'held' AND destination = tally.destination ORDER BY id LIMIT 1)
            WHEN 'dead' THEN (SELECT instance FROM delivery
                              WHERE state = 'dead' AND destination = tally.destination ORDER BY id LIMIT 1)
        END) AS oldest
FROM tally
LEFT JOIN in_flight USING (destination)
WHERE tally.deliveries > iif(state = 'queued', coalesce(in_flight.deliveries, 0), 0)
UNION ALL
SELECT destination, 'in flight', deliveries, bytes, received_at
FROM in_flight
CROSS JOIN instance ON instance.id = in_flight.instance
ORDER BY destination, state

-- :causes
SELECT destination, state, cause, deliveries, bytes, received_at AS oldest, error
FROM (SELECT destination, state, cause, count(*) AS deliveries, sum(size) AS bytes, min(id), instance, error
      FROM delivery WHERE state = 'dead' GROUP BY cause, destination
      UNION ALL
      SELECT destination, state, cause, count(*) AS deliveries, sum(size) AS bytes, min(id), instance, error
      FROM delivery WHERE state = 'held' GROUP BY cause, destination) AS causes
CROSS JOIN instance ON instance.id = causes.instance
ORDER BY deliveries DESC, destination, state, cause

-- :matching_studies
SELECT study FROM series
WHERE study <> '' AND (:study IS NULL OR study = :study)
  AND (:accession_number IS NULL
       OR study IN (SELECT study FROM series WHERE accession_number = :accession_number AND accession_number <> ''))
  AND (:patient_id IS NULL
       OR study IN (SELECT study FROM series WHERE patient_id = :patient_id AND patient_id <> ''))
GROUP BY study
ORDER BY max((SELECT max(instance.id) FROM instance WHERE instance.series = series.id)) DESC
LIMIT :limit

-- :studies
SELECT study, max(accession_number) AS accession_number, count(*) AS instances, sum(size) AS size,
       min(received_at) AS first_received, max(received_at) AS last_received
FROM json_each(:studies)
CROSS JOIN series ON study = value
CROSS JOIN instance ON instance.series = series.id
GROUP BY study

-- :study_deliveries
SELECT study, destination, state, count(*) AS deliveries
FROM json_each(:studies)
CROSS JOIN series ON study = value
CROSS JOIN instance ON instance.series = series.id
CROSS JOIN delivery ON delivery.instance = instance.id
GROUP BY study, destination, state

-- :chosen
SELECT destination, max(delivery.id)
FROM series
CROSS JOIN delivery ON delivery.id =
    (SELECT recent.id
     FROM instance
     CROSS JOIN delivery AS recent ON recent.instance = instance.id
     WHERE instance.series = series.id AND recent.first_of = :first_of
       AND recent.destination IN (SELECT value FROM json_each(:first_of))
     ORDER BY instance.id DESC
     LIMIT 1)
WHERE study = :study AND study <> ''
GROUP BY study

-- :standings
SELECT * FROM destination WHERE configured

-- :known
SELECT ulid FROM instance WHERE ulid IN (SELECT value FROM json_each(:ulids))

-- :paths
SELECT path FROM instance
