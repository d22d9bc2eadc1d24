-- What the queue knows of payloads; `values.statements` reads them by name.

-- :sound
PRAGMA quick_check(1)

-- :of_payloads
SELECT ulid, path, size, digest FROM instance WHERE ulid IN (SELECT value FROM json_each(:ulids))

-- :needed
SELECT id, path FROM instance
WHERE id > :after AND (:ulid IS NULL OR ulid = :ulid)
  AND EXISTS (SELECT 1 FROM delivery
              WHERE instance = instance.id AND state NOT IN ('delivered', 'dropped') AND kept)
ORDER BY id LIMIT :limit
