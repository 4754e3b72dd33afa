-- name: put_sample_ids
-- Under which ids these samples were told. A deletion of such an id that came before its sample, or that this telling is not
-- newer than, is looked at again: nobody else would know when. Locked in the order of the key, as whoever marks does.
WITH told AS (
    INSERT INTO sample_ids AS i (time, written_at, sample_id, patient_key, origin_key, duration_ms, metric_key)
    SELECT DISTINCT ON (patient_key, sample_id, time, metric_key, origin_key, duration_ms) *
    FROM unnest(%(times)s::timestamptz[], %(written)s::timestamptz[], %(ids)s::uuid[], %(patients)s::integer[],
                %(origins)s::integer[], %(durations)s::integer[], %(metrics)s::smallint[])
         AS a (time, written_at, sample_id, patient_key, origin_key, duration_ms, metric_key)
    ORDER BY patient_key, sample_id, time, metric_key, origin_key, duration_ms, written_at DESC
    ON CONFLICT (patient_key, sample_id, time, metric_key, origin_key, duration_ms) DO UPDATE SET
        written_at = excluded.written_at
    WHERE i.written_at < excluded.written_at
    RETURNING patient_key, sample_id, written_at
), awaited AS MATERIALIZED (
    SELECT d.patient_key, d.sample_id FROM told t
    CROSS JOIN LATERAL (
        SELECT patient_key, sample_id FROM deletions_told d
        WHERE d.patient_key = t.patient_key AND d.sample_id = t.sample_id
          AND t.written_at <= greatest(d.told_at, d.received_at)
        FOR UPDATE) d
)
UPDATE deletions_told d SET look_at = now(), looks = 0, settled_at = NULL, outcome = NULL
FROM awaited a WHERE d.patient_key = a.patient_key AND d.sample_id = a.sample_id;

-- name: add_patient
INSERT INTO patients (patient_id) VALUES (%(patient)s) ON CONFLICT (patient_id) DO NOTHING;

-- name: put_deletions
-- One record's ids. Told again later it is looked at again; the same telling once more, or an older one, changes nothing.
-- Of whom nothing is stored under any id, and nothing may be as they withdrew all consents, not even the ids are kept.
INSERT INTO deletions_told AS d (patient_key, sample_id, told_at, received_at, device_id, source_app, adapter)
SELECT p.patient_key, i.sample_id, %(told)s, %(received)s, %(device)s, %(app)s, %(adapter)s
FROM patients p CROSS JOIN (SELECT DISTINCT unnest(%(ids)s::uuid[]) AS sample_id) i
WHERE p.patient_id = %(patient)s
  AND (EXISTS (SELECT FROM sample_ids s WHERE s.patient_key = p.patient_key)
       OR NOT EXISTS (SELECT FROM consents c WHERE c.patient_key = p.patient_key AND c.purpose = 'care')
       OR EXISTS (SELECT FROM consents c WHERE c.patient_key = p.patient_key AND c.purpose = 'care' AND c.withdrawn_at IS NULL))
ORDER BY i.sample_id
ON CONFLICT (patient_key, sample_id) DO UPDATE SET
    told_at = excluded.told_at, received_at = excluded.received_at, device_id = excluded.device_id,
    source_app = excluded.source_app, adapter = excluded.adapter, look_at = now(), looks = 0, settled_at = NULL,
    outcome = NULL
WHERE greatest(d.told_at, d.received_at) < greatest(excluded.told_at, excluded.received_at);

-- name: open_deletions
-- Deletions that are due to be looked at, and whether a sample was told under their id, whether one of those still stands, and
-- whether one does that was written later than the deletion was told. Looked up one by one: as an EXISTS the planner may read all ids that there are.
SELECT d.patient_key, d.sample_id, d.look_at, d.looks, i.found IS NOT NULL, s.found IS NOT NULL, l.found IS NOT NULL
FROM (SELECT patient_key, sample_id, look_at, looks FROM deletions_told
      WHERE settled_at IS NULL AND look_at <= now() ORDER BY look_at LIMIT %(most)s) d
LEFT JOIN LATERAL (SELECT true AS found FROM sample_ids t
                   WHERE t.patient_key = d.patient_key AND t.sample_id = d.sample_id LIMIT 1) i ON true
LEFT JOIN LATERAL (SELECT true AS found FROM samples_to_delete t
                   WHERE t.patient_key = d.patient_key AND t.sample_id = d.sample_id LIMIT 1) s ON i.found
LEFT JOIN LATERAL (SELECT true AS found FROM samples_written_later t
                   WHERE t.patient_key = d.patient_key AND t.sample_id = d.sample_id LIMIT 1) l ON i.found;

-- name: samples_to_delete
-- Samples of these deletions that still stand.
SELECT s.patient_id, s.device_id, s.source_app, s.adapter, s.metric_key, s.time, s.duration_ms, s.written_at, s.received_at
FROM unnest(%(patients)s::integer[], %(ids)s::uuid[]) AS a (patient_key, sample_id)
CROSS JOIN LATERAL (SELECT * FROM samples_to_delete t
                    WHERE t.patient_key = a.patient_key AND t.sample_id = a.sample_id LIMIT %(most)s) s
LIMIT %(most)s;

-- name: mark_deletions
-- Settles deletions, or says when they are looked at next, unless one was told again or its sample came since we looked.
WITH same AS MATERIALIZED (
    SELECT d.patient_key, d.sample_id, a.looks, a.pause_s, a.outcome
    FROM (SELECT * FROM unnest(%(patients)s::integer[], %(ids)s::uuid[], %(looked)s::timestamptz[], %(looks)s::integer[],
                               %(pauses)s::float8[], %(outcomes)s::text[])
              AS u (patient_key, sample_id, look_at, looks, pause_s, outcome)
          ORDER BY patient_key, sample_id) a
    CROSS JOIN LATERAL (
        SELECT patient_key, sample_id FROM deletions_told d
        WHERE d.patient_key = a.patient_key AND d.sample_id = a.sample_id AND d.look_at = a.look_at
          AND d.settled_at IS NULL
        FOR UPDATE) d
)
UPDATE deletions_told d SET
    look_at = clock_timestamp() + make_interval(secs => s.pause_s), looks = s.looks, outcome = s.outcome,
    settled_at = CASE WHEN s.outcome IS NOT NULL THEN now() END
FROM same s WHERE d.patient_key = s.patient_key AND d.sample_id = s.sample_id
RETURNING d.outcome;

-- name: count_open
SELECT count(*), coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8
FROM deletions_told WHERE settled_at IS NULL;
