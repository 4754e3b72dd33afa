-- name: is_continuous
-- Does TimescaleDB keep the levels, or are they tables that we rebuild?
SELECT relkind = 'v' FROM pg_class WHERE oid = 'vitals_1m'::regclass;

-- name: lock_refresh
-- One refresh at a time: of two that rebuild the same bucket, the one that saw less could write last.
SELECT pg_advisory_lock(0x726F6C6C, 0);

-- name: unlock_refresh
SELECT pg_advisory_unlock(0x726F6C6C, 0);

-- name: see_dirty
-- Looks at up to %(limit)s dirty ranges, newest hours first, after a place in that order; the version of a row changes
-- whenever someone writes to it. Nothing is locked: the recorder writes to these rows all the time.
SELECT patient_key, hour, from_time, to_time, xmin::text
FROM dirty_ranges
WHERE (hour, patient_key) < (%(hour)s::timestamptz, %(patient)s)
ORDER BY hour DESC, patient_key DESC
LIMIT %(limit)s;

-- name: forget_dirty
-- Takes away the ranges that are as they were seen. One that is locked is about to change, so nobody waits for it.
DELETE FROM dirty_ranges d
USING (
    SELECT d.patient_key, d.hour
    FROM dirty_ranges d
    JOIN unnest(%(patients)s::integer[], %(hours)s::timestamptz[], %(versions)s::text[]) AS s (patient_key, hour, version)
      ON d.patient_key = s.patient_key AND d.hour = s.hour AND d.xmin::text = s.version
    FOR UPDATE OF d SKIP LOCKED) AS seen
WHERE d.patient_key = seen.patient_key AND d.hour = seen.hour;

-- name: touched_series
-- Stock PostgreSQL: which series the ranges may have touched, but for those below their horizon (a range stays within its
-- hour, and so on one side). The series of a patient are found by going from one to the next in the index.
WITH RECURSIVE dirty AS (
    SELECT * FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[])
        AS d (patient_key, from_time, to_time)
), series AS (
    SELECT p.patient_key, s.metric_key, s.origin_key
    FROM (SELECT DISTINCT patient_key FROM dirty) p
    CROSS JOIN LATERAL (
        SELECT metric_key, origin_key FROM samples
        WHERE patient_key = p.patient_key ORDER BY metric_key, origin_key LIMIT 1) s
    UNION ALL
    SELECT r.patient_key, s.metric_key, s.origin_key
    FROM series r
    CROSS JOIN LATERAL (
        SELECT metric_key, origin_key FROM samples
        WHERE patient_key = r.patient_key AND (metric_key, origin_key) > (r.metric_key, r.origin_key)
        ORDER BY metric_key, origin_key LIMIT 1) s
)
SELECT s.patient_key, s.metric_key, s.origin_key, d.from_time, d.to_time
FROM dirty d
JOIN series s USING (patient_key)
LEFT JOIN metric_horizons h USING (metric_key)
WHERE h.horizon IS NULL OR d.from_time >= h.horizon
ORDER BY s.patient_key, s.metric_key, s.origin_key, d.from_time;

-- name: forget_minutes
-- Stock PostgreSQL: minutes in which no trustworthy sample is left. A row at a time by its place, whatever the planner
-- believes of the tables' sizes; so in the queries below.
DELETE FROM vitals_1m WHERE ctid = ANY (ARRAY(
    SELECT r.ctid
    FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[], %(froms)s::timestamptz[],
                %(tos)s::timestamptz[]) AS t (patient_key, metric_key, origin_key, from_time, to_time)
    CROSS JOIN LATERAL (
        SELECT v.ctid
        FROM vitals_1m v
        WHERE (v.patient_key, v.metric_key, v.origin_key) = (t.patient_key, t.metric_key, t.origin_key)
          AND v.bucket >= date_bin(INTERVAL '1 minute', t.from_time, '2000-01-01 00:00:00+00') AND v.bucket <= t.to_time
          AND (SELECT 1 FROM samples s
               WHERE (s.patient_key, s.metric_key, s.origin_key) = (v.patient_key, v.metric_key, v.origin_key)
                 AND s.time >= v.bucket AND s.time < v.bucket + INTERVAL '1 minute'
                 AND s.quality >= 0.5 AND s.flags & 128 = 0
               LIMIT 1) IS NULL
        OFFSET 0) r));

-- name: put_minutes
-- Stock PostgreSQL: counts the minutes that the ranges touch again, from the samples. What is as it was is not written.
INSERT INTO vitals_1m AS r
SELECT b.bucket, t.patient_key, t.metric_key, t.origin_key, b.n, b.sum, b.min, b.max, b.first, b.last, b.sum_sq,
       1, b.sum / b.n, b.zone_offset_min
FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[], %(froms)s::timestamptz[],
            %(tos)s::timestamptz[]) AS t (patient_key, metric_key, origin_key, from_time, to_time)
CROSS JOIN LATERAL (
    SELECT date_bin(INTERVAL '1 minute', s.time, '2000-01-01 00:00:00+00') AS bucket,
           count(*) AS n, sum(s.value) AS sum, min(s.value) AS min, max(s.value) AS max,
           (array_agg(s.value ORDER BY s.time, s.duration_ms))[1] AS first,
           (array_agg(s.value ORDER BY s.time DESC, s.duration_ms DESC))[1] AS last,
           sum(s.value * s.value) AS sum_sq,
           (array_agg(s.zone_offset_min ORDER BY s.time DESC, s.duration_ms DESC))[1] AS zone_offset_min
    FROM samples s
    WHERE (s.patient_key, s.metric_key, s.origin_key) = (t.patient_key, t.metric_key, t.origin_key)
      AND s.time >= date_bin(INTERVAL '1 minute', t.from_time, '2000-01-01 00:00:00+00')
      AND s.time < date_bin(INTERVAL '1 minute', t.to_time, '2000-01-01 00:00:00+00') + INTERVAL '1 minute'
      AND s.quality >= 0.5 AND s.flags & 128 = 0
    GROUP BY 1) b
ON CONFLICT (patient_key, metric_key, origin_key, bucket) DO UPDATE SET
    n = excluded.n, sum = excluded.sum, min = excluded.min, max = excluded.max, first = excluded.first,
    last = excluded.last, sum_sq = excluded.sum_sq, minute_mean_sum = excluded.minute_mean_sum,
    zone_offset_min = excluded.zone_offset_min
WHERE (r.*) IS DISTINCT FROM (excluded.*);

-- name: forget_coarser
-- Stock PostgreSQL: buckets of {level}, %(width)s wide, in which {finer} has none left.
DELETE FROM {level} WHERE ctid = ANY (ARRAY(
    SELECT r.ctid
    FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[], %(froms)s::timestamptz[],
                %(tos)s::timestamptz[]) AS t (patient_key, metric_key, origin_key, from_time, to_time)
    CROSS JOIN LATERAL (
        SELECT v.ctid
        FROM {level} v
        WHERE (v.patient_key, v.metric_key, v.origin_key) = (t.patient_key, t.metric_key, t.origin_key)
          AND v.bucket >= date_bin(%(width)s, t.from_time, '2000-01-01 00:00:00+00') AND v.bucket <= t.to_time
          AND (SELECT 1 FROM {finer} f
               WHERE (f.patient_key, f.metric_key, f.origin_key) = (v.patient_key, v.metric_key, v.origin_key)
                 AND f.bucket >= v.bucket AND f.bucket < v.bucket + %(width)s
               LIMIT 1) IS NULL
        OFFSET 0) r));

-- name: put_coarser
-- Stock PostgreSQL: the buckets of {level}, %(width)s wide, that the ranges touch, from those of {finer}.
INSERT INTO {level} AS r
SELECT b.bucket, t.patient_key, t.metric_key, t.origin_key, b.n, b.sum, b.min, b.max, b.first, b.last, b.sum_sq,
       b.minutes, b.minute_mean_sum, b.zone_offset_min
FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[], %(froms)s::timestamptz[],
            %(tos)s::timestamptz[]) AS t (patient_key, metric_key, origin_key, from_time, to_time)
CROSS JOIN LATERAL (
    SELECT date_bin(%(width)s, f.bucket, '2000-01-01 00:00:00+00') AS bucket,
           sum(f.n)::bigint AS n, sum(f.sum) AS sum, min(f.min) AS min, max(f.max) AS max,
           (array_agg(f.first ORDER BY f.bucket))[1] AS first, (array_agg(f.last ORDER BY f.bucket DESC))[1] AS last,
           sum(f.sum_sq) AS sum_sq, sum(f.minutes)::integer AS minutes, sum(f.minute_mean_sum) AS minute_mean_sum,
           (array_agg(f.zone_offset_min ORDER BY f.bucket DESC))[1] AS zone_offset_min
    FROM {finer} f
    WHERE (f.patient_key, f.metric_key, f.origin_key) = (t.patient_key, t.metric_key, t.origin_key)
      AND f.bucket >= date_bin(%(width)s, t.from_time, '2000-01-01 00:00:00+00')
      AND f.bucket < date_bin(%(width)s, t.to_time, '2000-01-01 00:00:00+00') + %(width)s
    GROUP BY 1) b
ON CONFLICT (patient_key, metric_key, origin_key, bucket) DO UPDATE SET
    n = excluded.n, sum = excluded.sum, min = excluded.min, max = excluded.max, first = excluded.first,
    last = excluded.last, sum_sq = excluded.sum_sq, minutes = excluded.minutes,
    minute_mean_sum = excluded.minute_mean_sum, zone_offset_min = excluded.zone_offset_min
WHERE (r.*) IS DISTINCT FROM (excluded.*);

-- name: refresh_level
-- TimescaleDB: brings one level up to date; only what changed in the window is computed again, a day of minutes a
-- transaction (newer versions take ten buckets unless told, which made it twenty times slower).
CALL refresh_continuous_aggregate(%(level)s, %(from)s::timestamptz, %(to)s::timestamptz,
    options => '{"buckets_per_batch": 1440}');

-- name: lowest_horizon
-- Below this time no class has samples to refresh from; NULL where one class still has all of its samples.
SELECT CASE WHEN bool_and(h.horizon IS NOT NULL) THEN min(h.horizon) END
FROM metrics m LEFT JOIN raw_horizons h USING (retention_class)
WHERE m.kind <> 'waveform';

-- name: drop_live
-- TimescaleDB: chunks of a level that lie below every horizon hold nothing that anybody reads.
SELECT count(*) FROM drop_chunks(%(level)s, older_than => %(horizon)s::timestamptz);

-- name: horizon
-- Where a class's samples begin, held against other movers until this transaction ends.
SELECT horizon FROM raw_horizons WHERE retention_class = %(class)s FOR UPDATE;

-- name: set_horizon
INSERT INTO raw_horizons (retention_class, horizon) VALUES (%(class)s, %(horizon)s)
ON CONFLICT (retention_class) DO UPDATE SET horizon = excluded.horizon;

-- name: dirty_between
-- Is there a stretch that the live rollups have not seen?
SELECT EXISTS (SELECT 1 FROM dirty_ranges WHERE to_time >= %(from)s::timestamptz AND from_time < %(to)s::timestamptz);

-- name: keep_history
-- Copies what {level} says of a class between two horizons.
INSERT INTO {level}_history
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq, v.minutes,
       v.minute_mean_sum, v.zone_offset_min
FROM {level} v
WHERE v.bucket >= %(from)s::timestamptz AND v.bucket < %(to)s::timestamptz
  AND v.metric_key IN (SELECT metric_key FROM metrics WHERE retention_class = %(class)s);

-- name: forget_live
-- Stock PostgreSQL: what was copied is not kept twice. (TimescaleDB lets go of whole chunks: drop_live.)
DELETE FROM {level} v
WHERE v.bucket >= %(from)s::timestamptz AND v.bucket < %(to)s::timestamptz
  AND v.metric_key IN (SELECT metric_key FROM metrics WHERE retention_class = %(class)s);

-- name: horizons
SELECT metric_key, horizon FROM metric_horizons;

-- name: any_number_of_tuples
-- A transaction may change as many rows in the columnstore as it has to; means nothing to stock PostgreSQL.
SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);

-- name: forget_history
-- One series at a time with its bounds as constants, so that the columnstore opens no other series.
DELETE FROM {level}_history
WHERE patient_key = %(patient)s AND metric_key = %(metric)s AND origin_key = %(origin)s
  AND bucket >= %(from)s::timestamptz AND bucket < %(to)s::timestamptz
  AND date_bin(INTERVAL '1 hour', bucket, '2000-01-01 00:00:00+00') = ANY (%(hours)s::timestamptz[]);

-- name: put_history
INSERT INTO {level}_history
SELECT * FROM unnest(%(bucket)s::timestamptz[], %(patient_key)s::integer[], %(metric_key)s::smallint[],
    %(origin_key)s::integer[], %(n)s::bigint[], %(sum)s::float8[], %(min)s::float8[], %(max)s::float8[],
    %(first)s::float8[], %(last)s::float8[], %(sum_sq)s::float8[], %(minutes)s::integer[],
    %(minute_mean_sum)s::float8[], %(zone_offset_min)s::smallint[]);
