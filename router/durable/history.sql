-- The history's statements; `values.statements` reads them by name. One search for each index, as a condition that may
-- be absent cannot use one; the other conditions sort out what is left.

-- :note
INSERT INTO happening (at, what, ulid, delivery, destination, sop_class, sop_instance, study, accession_number,
                       calling_ae_title, size, stored_transfer_syntax, transfer_syntax, strategy, associations, status,
                       cause, error, error_comment)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- :by_study
SELECT * FROM happening
WHERE study = :study AND at >= :since AND at < :until
  AND (:accession_number IS NULL OR accession_number = :accession_number)
  AND (:destination IS NULL OR destination = :destination) AND (:what IS NULL OR what = :what)
ORDER BY at DESC, id DESC LIMIT :limit

-- :by_accession_number
SELECT * FROM happening
WHERE accession_number = :accession_number AND accession_number <> '' AND at >= :since AND at < :until
  AND (:destination IS NULL OR destination = :destination) AND (:what IS NULL OR what = :what)
ORDER BY at DESC, id DESC LIMIT :limit

-- :by_trouble_at_destination
SELECT * FROM happening
WHERE destination = :destination AND what = :what AND what <> 'delivered' AND at >= :since AND at < :until
ORDER BY at DESC, id DESC LIMIT :limit

-- :by_trouble
SELECT * FROM happening
WHERE what = :what AND what <> 'delivered' AND at >= :since AND at < :until
ORDER BY at DESC, id DESC LIMIT :limit

-- :by_destination
SELECT * FROM happening INDEXED BY happening_destination
WHERE destination = :destination AND at >= :since AND at < :until AND (:what IS NULL OR what = :what)
ORDER BY at DESC, id DESC LIMIT :limit

-- :by_time
SELECT * FROM happening
WHERE at >= :since AND at < :until AND (:what IS NULL OR what = :what)
ORDER BY at DESC, id DESC LIMIT :limit

-- :story_of_ulid
SELECT * FROM happening WHERE ulid = :instance ORDER BY id LIMIT :limit

-- :story_of_sop_instance
SELECT * FROM happening WHERE sop_instance = :instance ORDER BY id LIMIT :limit

-- :of_instances
SELECT * FROM happening WHERE ulid IN (SELECT value FROM json_each(:ulids)) ORDER BY id

-- :forget_old
DELETE FROM happening WHERE id IN (SELECT id FROM happening WHERE at < :before ORDER BY at LIMIT :limit)

-- :forget_oldest
DELETE FROM happening WHERE id IN (SELECT id FROM happening ORDER BY id LIMIT :limit)
