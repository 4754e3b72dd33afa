-- name: take_turn
-- One at a time with everything that works on the life of data; the run that has the turn may take it again.
SELECT pg_try_advisory_lock(lifecycle_key());

-- name: let_go
SELECT pg_advisory_unlock(lifecycle_key());

-- name: lock_restore
SELECT pg_try_advisory_lock(hashtextextended('vigil restore ' || %(restore)s, 0));

-- name: unlock_restore
SELECT pg_advisory_unlock(hashtextextended('vigil restore ' || %(restore)s, 0));

-- name: one_snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: now
SELECT clock_timestamp();

-- name: metrics
SELECT metric_key, code, unit FROM metrics;

-- name: classes
SELECT DISTINCT retention_class FROM metrics WHERE kind <> 'waveform';

-- name: due_patients
-- Patients of whom samples hold something of this class and day that the archive may not have, in the order of a file;
-- whether any file of the day has rows of theirs already.
SELECT s.patient_key, p.patient_id, s.rows, EXISTS (
    SELECT FROM archive_files f JOIN archive_leaves l USING (file_id)
    WHERE f.retention_class = %(class)s AND f.utc_day = %(day)s AND l.patient_key = s.patient_key AND l.erased_at IS NULL)
FROM samples_of_day(%(class)s, %(day)s) s
LEFT JOIN patients p USING (patient_key)
LEFT JOIN archive_coverage c
    ON c.retention_class = %(class)s AND c.utc_day = %(day)s AND c.patient_key = s.patient_key
WHERE (c.rows, c.checksum) IS DISTINCT FROM (s.rows, s.checksum)
ORDER BY p.patient_id COLLATE "C";

-- name: held_of_patients
-- What samples hold of these patients in this snapshot.
SELECT patient_key, rows, checksum FROM samples_of_day(%(class)s, %(day)s, %(patients)s::integer[]);

-- name: rows_of_patients
-- Their rows in the order of a file.
SELECT {columns}
FROM unnest(%(patients)s::integer[]) WITH ORDINALITY AS p (patient_key, place)
JOIN samples s USING (patient_key)
WHERE s.time >= %(day)s::date::timestamp AT TIME ZONE 'UTC' AND s.time < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
  AND s.metric_key = ANY ((SELECT metrics_of(%(class)s))::smallint[])
ORDER BY p.place, s.metric_key, s.origin_key, s.time, s.duration_ms

-- name: origins_of_patients
-- The words of every origin that their rows name, as far as the tables have it.
SELECT o.origin_key, d.device_id, o.source_app
FROM origins o JOIN devices d USING (device_key)
WHERE o.origin_key IN (
    SELECT s.origin_key FROM samples s
    WHERE s.patient_key = ANY (%(patients)s::integer[])
      AND s.time >= %(day)s::date::timestamp AT TIME ZONE 'UTC' AND s.time < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
      AND s.metric_key = ANY ((SELECT metrics_of(%(class)s))::smallint[]));

-- name: files
-- The files of these classes and days, oldest link first.
SELECT {columns}
FROM archive_files
WHERE (%(class)s::text IS NULL OR retention_class = %(class)s)
  AND utc_day >= coalesce(%(from)s::date, '-infinity') AND utc_day < coalesce(%(to)s::date, 'infinity')
ORDER BY link;

-- name: file
SELECT {columns} FROM archive_files WHERE file_id = %(file)s;

-- name: files_of_patient
-- The files in which rows of a patient stand.
SELECT {columns} FROM archive_files
WHERE file_id IN (SELECT file_id FROM archive_leaves WHERE patient_key = %(patient)s AND erased_at IS NULL)
ORDER BY link;

-- name: unfinished_files
-- Files whose manifest is to be written or whose forerunner is to be removed.
SELECT {columns} FROM archive_files WHERE NOT manifest_written OR replaces IS NOT NULL ORDER BY link;

-- name: leaves
SELECT l.position, l.patient_key, CASE WHEN l.erased_at IS NULL THEN p.patient_id END, l.rows, l.sha256, l.salt, l.erased_at
FROM archive_leaves l LEFT JOIN patients p USING (patient_key)
WHERE l.file_id = %(file)s AND (%(patients)s::integer[] IS NULL OR l.patient_key = ANY (%(patients)s::integer[]))
ORDER BY l.position;

-- name: events
SELECT link, kind, file_id, positions, who, why, at, previous, chain FROM archive_events WHERE file_id = %(file)s ORDER BY link;

-- name: next_part
SELECT coalesce(max(part) + 1, 0) FROM archive_files WHERE retention_class = %(class)s AND utc_day = %(day)s;

-- name: lock_head
SELECT link, chain FROM archive_head FOR UPDATE;

-- name: move_head
UPDATE archive_head SET link = %(link)s, chain = %(chain)s;

-- name: head
SELECT link, chain FROM archive_head;

-- name: next_file_id
SELECT nextval(pg_get_serial_sequence('archive_files', 'file_id'));

-- name: put_file
INSERT INTO archive_files (file_id, retention_class, utc_day, part, uri, rows, size_bytes, min_time, max_time, sha256, leaf_root,
    link, previous, chain, verified_at, created_at)
OVERRIDING SYSTEM VALUE
VALUES (%(file_id)s, %(class)s, %(day)s, %(part)s, %(uri)s, %(rows)s, %(size_bytes)s, %(min_time)s, %(max_time)s, %(sha256)s,
    %(leaf_root)s, %(link)s, %(previous)s, %(chain)s, %(now)s, %(now)s);

-- name: put_leaves
INSERT INTO archive_leaves (file_id, patient_key, position, rows, sha256, salt)
SELECT %(file_id)s, * FROM unnest(%(patients)s::integer[], %(positions)s::integer[], %(rows)s::bigint[],
    %(hashes)s::bytea[], %(salts)s::bytea[]);

-- name: put_coverage
INSERT INTO archive_coverage (retention_class, utc_day, patient_key, rows, checksum)
SELECT %(class)s, %(day)s, * FROM unnest(%(patients)s::integer[], %(rows)s::bigint[], %(checksums)s::numeric[])
ON CONFLICT (retention_class, utc_day, patient_key) DO UPDATE SET rows = excluded.rows, checksum = excluded.checksum;

-- name: set_verified
UPDATE archive_files SET verified_at = greatest(verified_at, %(now)s) WHERE file_id = %(file)s AND sha256 = %(sha256)s;

-- name: set_finished
-- Its manifest says what this row says, and its forerunner is gone.
UPDATE archive_files SET manifest_written = true, replaces = NULL WHERE file_id = %(file)s;

-- name: covers
SELECT archive_covers(%(class)s, %(day)s);

-- name: chain
-- Every link, oldest first: of a file what its leaves come to now, of an event who and why.
SELECT link, file_id, previous, chain, retention_class, utc_day, part, leaf_root, (
           SELECT sha256(coalesce(string_agg(int8send(l.rows) || l.sha256, ''::bytea ORDER BY l.position), ''))
           FROM archive_leaves l WHERE l.file_id = f.file_id),
       NULL AS kind, NULL AS positions, NULL AS who, NULL AS why, NULL AS at
FROM archive_files f
UNION ALL
SELECT link, file_id, previous, chain, NULL, NULL, NULL, NULL, NULL, kind, positions, who, why, at FROM archive_events
ORDER BY link;

-- name: erased_without_event
-- Leaves that were marked erased by nobody whom the chain knows.
SELECT l.file_id, l.position FROM archive_leaves l
WHERE l.erased_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM archive_events e WHERE e.file_id = l.file_id AND l.position = ANY (e.positions))
ORDER BY 1, 2;

-- name: patient
SELECT patient_key FROM patients WHERE patient_id = %(patient)s;

-- name: held
-- Is this patient, or any of these, on hold? The caller has locked the holds.
SELECT patient_key FROM legal_holds WHERE lifted_at IS NULL AND patient_key = ANY (%(patients)s::integer[]);

-- name: holds_exist
SELECT to_regclass('legal_holds') IS NOT NULL;

-- name: lock_holds
LOCK TABLE legal_holds IN SHARE MODE;

-- name: replace_file
UPDATE archive_files SET replaces = uri, uri = %(uri)s, rows = %(rows)s, size_bytes = %(size_bytes)s, min_time = %(min_time)s,
    max_time = %(max_time)s, sha256 = %(sha256)s, verified_at = %(now)s, manifest_written = false
WHERE file_id = %(file_id)s AND uri = %(was)s;

-- name: erase_leaves
UPDATE archive_leaves SET salt = NULL, erased_at = %(now)s
WHERE file_id = %(file_id)s AND position = ANY (%(positions)s::integer[]) AND erased_at IS NULL;

-- name: put_event
INSERT INTO archive_events (link, kind, file_id, positions, who, why, at, previous, chain)
VALUES (%(link)s, %(kind)s, %(file_id)s, %(positions)s, %(who)s, %(why)s, %(now)s, %(previous)s, %(chain)s);

-- name: forget_coverage
DELETE FROM archive_coverage c USING archive_files f
WHERE f.file_id = %(file_id)s AND c.retention_class = f.retention_class AND c.utc_day = f.utc_day
  AND c.patient_key = ANY (%(patients)s::integer[]);

-- name: still_in_samples
SELECT EXISTS (SELECT FROM samples WHERE patient_key = %(patient)s
               AND (%(classes)s::text[] IS NULL OR metric_key IN (SELECT metric_key FROM metrics WHERE retention_class = ANY (%(classes)s::text[]))));

-- name: erase_restored
DELETE FROM restored_samples WHERE patient_key = %(patient)s
    AND (%(classes)s::text[] IS NULL OR metric_key IN (SELECT metric_key FROM metrics WHERE retention_class = ANY (%(classes)s::text[])));

-- name: erase_steps
DELETE FROM restore_steps
WHERE patient_key = %(patient)s AND (%(classes)s::text[] IS NULL OR retention_class = ANY (%(classes)s::text[]));

-- name: overlapping_restores
-- Restores that brought back, or are bringing back, any of this.
SELECT restore_id, patient_key, from_time, to_time, last_file, finished_at, rows FROM restores
WHERE discarded_at IS NULL AND from_time < %(to)s AND to_time > %(from)s
  AND (patient_key IS NULL OR %(patient)s::integer IS NULL OR patient_key = %(patient)s)
ORDER BY restore_id DESC;

-- name: lock_restores
LOCK TABLE restores IN SHARE ROW EXCLUSIVE MODE;

-- name: begin_restore
INSERT INTO restores (patient_key, from_time, to_time, last_file, requested_by)
VALUES (%(patient)s, %(from)s, %(to)s, (SELECT coalesce(max(file_id), 0) FROM archive_files), %(who)s)
RETURNING restore_id, last_file;

-- name: restore_todo
-- What of a restore is not done: days, and whose rows they hold, in the order of the files.
SELECT f.retention_class, f.utc_day, l.patient_key, sum(l.rows)::bigint
FROM archive_files f JOIN archive_leaves l USING (file_id) LEFT JOIN patients p USING (patient_key)
WHERE f.file_id <= %(last_file)s AND l.erased_at IS NULL
  AND f.max_time >= %(from)s AND f.min_time < %(to)s
  AND (%(patient)s::integer IS NULL OR l.patient_key = %(patient)s)
  AND NOT EXISTS (SELECT FROM restore_steps s
                  WHERE s.restore_id = %(restore)s AND s.retention_class = f.retention_class AND s.utc_day = f.utc_day
                    AND s.patient_key = l.patient_key)
GROUP BY 1, 2, 3, p.patient_id
ORDER BY 2, 1, p.patient_id COLLATE "C";

-- name: restore_extent
-- How many rows its files hold of it, done or not.
SELECT coalesce(sum(l.rows), 0)::bigint
FROM archive_files f JOIN archive_leaves l USING (file_id)
WHERE f.file_id <= %(last_file)s AND l.erased_at IS NULL AND f.max_time >= %(from)s AND f.min_time < %(to)s
  AND (%(patient)s::integer IS NULL OR l.patient_key = %(patient)s);

-- name: keep_leaves
-- No erasure overtakes this transaction; returns those of these patients that were erased meanwhile.
SELECT DISTINCT patient_key FROM (
    SELECT l.patient_key, l.erased_at FROM archive_leaves l JOIN archive_files f USING (file_id)
    WHERE f.retention_class = %(class)s AND f.utc_day = %(day)s AND f.file_id <= %(last_file)s
      AND l.patient_key = ANY (%(patients)s::integer[])
    FOR SHARE OF l) locked
WHERE erased_at IS NOT NULL;

-- name: put_restored
INSERT INTO restored_samples ({columns}, restore_id)
SELECT *, %(restore)s FROM unnest(
    %(time)s::timestamptz[], %(written_at)s::timestamptz[], %(received_at)s::timestamptz[], %(value)s::float8[],
    %(patient_key)s::integer[], %(origin_key)s::integer[], %(duration_ms)s::integer[], %(quality)s::real[],
    %(metric_key)s::smallint[], %(flags)s::smallint[], %(context)s::smallint[], %(zone_offset_min)s::smallint[]);

-- name: put_steps
INSERT INTO restore_steps (restore_id, retention_class, utc_day, patient_key, rows)
SELECT %(restore)s, %(class)s, %(day)s, * FROM unnest(%(patients)s::integer[], %(rows)s::bigint[]);

-- name: count_restored
UPDATE restores SET rows = rows + %(rows)s WHERE restore_id = %(restore)s AND discarded_at IS NULL RETURNING rows;

-- name: finish_restore
UPDATE restores SET finished_at = now() WHERE restore_id = %(restore)s RETURNING rows;

-- name: restore
SELECT restore_id, patient_key, from_time, to_time, last_file, finished_at, rows, discarded_at IS NOT NULL FROM restores
WHERE restore_id = %(restore)s;

-- name: discard_restored
DELETE FROM restored_samples WHERE restore_id = %(restore)s;

-- name: discard_steps
DELETE FROM restore_steps WHERE restore_id = %(restore)s;

-- name: discard_restore
UPDATE restores SET discarded_at = now() WHERE restore_id = %(restore)s;

-- name: overview
-- What the archive holds, by class and year.
SELECT retention_class, extract(year FROM utc_day)::integer, count(DISTINCT utc_day), count(*), sum(rows)::bigint,
       sum(size_bytes)::bigint, min(utc_day), max(utc_day), min(verified_at)
FROM archive_files
WHERE uri IS NOT NULL AND (%(class)s::text IS NULL OR retention_class = %(class)s)
  AND utc_day >= coalesce(%(from)s::date, '-infinity') AND utc_day < coalesce(%(to)s::date, 'infinity')
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: restores
SELECT r.restore_id, p.patient_id, r.from_time, r.to_time, r.requested_by, r.requested_at, r.finished_at, r.rows
FROM restores r LEFT JOIN patients p USING (patient_key)
WHERE r.discarded_at IS NULL ORDER BY r.restore_id;

-- name: expired
-- Files of a class older than a day that still hold rows of anybody who is not on hold.
SELECT {columns} FROM archive_files f
WHERE retention_class = %(class)s AND utc_day < %(before)s AND uri IS NOT NULL
  AND EXISTS (SELECT FROM archive_leaves l WHERE l.file_id = f.file_id AND l.erased_at IS NULL
              AND l.patient_key NOT IN (SELECT patient_key FROM legal_holds WHERE lifted_at IS NULL))
ORDER BY link;
