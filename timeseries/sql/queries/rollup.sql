-- name: take_dirty
-- Takes up to %(limit)s dirty ranges away from other refreshers; they come back if this transaction fails.
DELETE FROM dirty_ranges
WHERE (patient_key, hour) IN (
    SELECT patient_key, hour FROM dirty_ranges ORDER BY hour DESC, patient_key LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING patient_key, from_time, to_time;

-- name: delete_minutes
-- Stock PostgreSQL: forgets the minutes that a dirty range touches.
DELETE FROM vitals_1m r
USING unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
WHERE r.patient_key = d.patient_key
  AND r.bucket >= date_trunc('minute', d.from_time) AND r.bucket <= d.to_time;

-- name: insert_minutes
-- Stock PostgreSQL: counts those minutes again from the samples.
INSERT INTO vitals_1m
SELECT date_trunc('minute', s.time), s.patient_key, s.metric_key, s.origin_key,
       count(*), sum(s.value), min(s.value), max(s.value),
       (array_agg(s.value ORDER BY s.time, s.duration_ms))[1], (array_agg(s.value ORDER BY s.time DESC, s.duration_ms DESC))[1],
       sum(s.value * s.value)
FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
JOIN samples s ON s.patient_key = d.patient_key
  AND s.time >= date_trunc('minute', d.from_time)
  AND s.time < date_trunc('minute', d.to_time) + INTERVAL '1 minute'
WHERE s.quality >= 0.5 AND s.flags & 128 = 0
GROUP BY 1, 2, 3, 4
ON CONFLICT (patient_key, metric_key, origin_key, bucket) DO UPDATE SET
    n = excluded.n, sum = excluded.sum, min = excluded.min, max = excluded.max,
    first = excluded.first, last = excluded.last, sum_sq = excluded.sum_sq;

-- name: see_dirty
-- TimescaleDB: looks at up to %(limit)s dirty ranges; the version of a row changes whenever someone writes to it.
SELECT patient_key, from_time, to_time, hour, xmin::text FROM dirty_ranges ORDER BY hour DESC, patient_key LIMIT %(limit)s;

-- name: forget_dirty
-- TimescaleDB: takes away the ranges that are as they were seen.
DELETE FROM dirty_ranges d
USING unnest(%(patients)s::integer[], %(hours)s::timestamptz[], %(versions)s::text[]) AS s (patient_key, hour, version)
WHERE d.patient_key = s.patient_key AND d.hour = s.hour AND d.xmin::text = s.version;
