-- name: changed_minutes
-- Which offsets the minutes of dirty ranges tell, by origin: the days they belong to follow from these.
SELECT array_agg(patient_key), array_agg(origin_key), array_agg(zone_offset_min), array_agg(first), array_agg(last)
FROM (SELECT d.patient_key, v.origin_key, v.zone_offset_min, min(v.bucket) AS first, max(v.bucket) AS last
      FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
      CROSS JOIN LATERAL (
          SELECT origin_key, bucket, zone_offset_min FROM vitals_1m_all
          WHERE patient_key = d.patient_key
            AND bucket >= date_trunc('minute', d.from_time) AND bucket <= d.to_time
            AND bucket >= date_trunc('minute', %(lowest)s::timestamptz) AND bucket <= %(highest)s
          OFFSET 0) v
      GROUP BY d.patient_key, d.from_time, v.origin_key, v.zone_offset_min) AS told;

-- name: note_zones
-- Notes the offsets that minutes told, by month (of UTC).
INSERT INTO zones_told AS z (patient_key, month, origin_key, zone_offset_min, first_day, last_day)
SELECT t.patient_key, m.month, t.origin_key, t.zone_offset_min,
       min(greatest(t.first_day, m.month)), max(least(t.last_day, (m.month + INTERVAL '1 month - 1 day')::date))
FROM (SELECT patient_key, origin_key, zone_offset_min,
             (first AT TIME ZONE 'UTC')::date AS first_day, (last AT TIME ZONE 'UTC')::date AS last_day
      FROM unnest(%(patients)s::integer[], %(origins)s::integer[], %(zones)s::smallint[], %(firsts)s::timestamptz[],
                  %(lasts)s::timestamptz[]) AS u (patient_key, origin_key, zone_offset_min, first, last)) t
CROSS JOIN LATERAL (
    SELECT g::date AS month
    FROM generate_series(date_trunc('month', t.first_day::timestamp), t.last_day, INTERVAL '1 month') AS g) m
GROUP BY t.patient_key, m.month, t.origin_key, t.zone_offset_min
ORDER BY t.patient_key, m.month, t.origin_key, t.zone_offset_min
ON CONFLICT (patient_key, month, origin_key, zone_offset_min) DO UPDATE
    SET first_day = least(z.first_day, excluded.first_day), last_day = greatest(z.last_day, excluded.last_day)
    WHERE z.first_day > excluded.first_day OR z.last_day < excluded.last_day;

-- name: changed_intervals
-- How far the interval and category samples that begin in dirty ranges reach. `around` widens those that belong to days
-- beside the ones they touch (sleep: its night). Deleted ones are looked at too: their days change as well.
SELECT array_agg(d.patient_key), array_agg(s.zone_offset_min),
       array_agg(s.time - k.around), array_agg(s.time + s.duration_ms * INTERVAL '1 millisecond' + k.around)
FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
CROSS JOIN unnest(%(metrics)s::smallint[], %(arounds)s::interval[]) AS k (metric_key, around)
CROSS JOIN LATERAL (
    SELECT time, duration_ms, zone_offset_min FROM samples
    WHERE patient_key = d.patient_key AND metric_key = k.metric_key
      AND time >= d.from_time AND time <= d.to_time AND time >= %(lowest)s AND time <= %(highest)s
    OFFSET 0) s;

-- name: changed_revisions
-- The older versions of samples in dirty ranges: the days they were counted on lose them, whatever zone they told.
SELECT array_agg(d.patient_key), array_agg(s.zone_offset_min),
       array_agg(s.time - coalesce(k.around, INTERVAL '0')),
       array_agg(s.time + CASE WHEN k.metric_key IS NULL THEN INTERVAL '0'
                               ELSE s.duration_ms * INTERVAL '1 millisecond' + k.around END)
FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
CROSS JOIN LATERAL (
    SELECT metric_key, time, duration_ms, zone_offset_min FROM sample_revisions
    WHERE patient_key = d.patient_key AND time >= d.from_time AND time <= d.to_time
    OFFSET 0) s
LEFT JOIN unnest(%(metrics)s::smallint[], %(arounds)s::interval[]) AS k (metric_key, around) USING (metric_key);

-- name: mark_days
-- Marks days; one that is marked already keeps the time at which it first was, and becomes due the earlier of two times.
INSERT INTO dirty_days AS d (patient_key, day, marked_at, due_at)
SELECT p, date '1970-01-01' + day, %(now)s, due
FROM unnest(%(patients)s::integer[], %(days)s::integer[], %(dues)s::timestamptz[]) AS m (p, day, due)
ORDER BY 1, 2
ON CONFLICT (patient_key, day) DO UPDATE SET due_at = least(d.due_at, excluded.due_at);

-- name: one_at_a_time
-- Two makers would write the same rows: neighbours of a day are made with it. Given back with the transaction.
SELECT pg_advisory_xact_lock(0x76696764);

-- name: take_days
-- Takes up to %(limit)s due days away; they come back if this transaction fails. In order, so that neighbours are together.
WITH taken AS (
    DELETE FROM dirty_days
    WHERE (patient_key, day) IN (SELECT patient_key, day FROM dirty_days WHERE due_at <= %(now)s AND day >= %(since)s
                                 ORDER BY patient_key, day LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING patient_key, day)
SELECT array_agg(patient_key), array_agg(day - date '1970-01-01') FROM taken;

-- name: days_after
-- Days whose night is compared with that of a day before which is made anew.
SELECT array_agg(s.patient_key), array_agg(s.day - date '1970-01-01')
FROM unnest(%(patients)s::integer[], %(days)s::integer[]) AS d (patient_key, day)
JOIN daily_summary s ON s.patient_key = d.patient_key AND s.day = date '1970-01-01' + d.day + 1;

-- name: patient_zones
SELECT patient_key, time_zone FROM patients WHERE patient_key = ANY (%(patients)s::integer[]);

-- name: origin_devices
SELECT array_agg(origin_key), array_agg(device_key) FROM origins WHERE origin_key = ANY (%(origins)s::integer[]);

-- name: horizons
SELECT retention_class, horizon FROM raw_horizons;

-- name: offsets_seen
-- The lowest and highest offset that the minutes of each range and origin told.
SELECT array_agg(i), array_agg(origin_key), array_agg(lowest), array_agg(highest)
FROM (SELECT d.i::integer, z.origin_key, min(z.zone_offset_min) AS lowest, max(z.zone_offset_min) AS highest
      FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[])
          WITH ORDINALITY AS d (patient_key, from_time, to_time, i)
      JOIN zones_told z ON z.patient_key = d.patient_key
          AND z.month >= date_trunc('month', d.from_time AT TIME ZONE 'UTC')::date
          AND z.month <= (d.to_time AT TIME ZONE 'UTC')::date
          AND z.last_day >= (d.from_time AT TIME ZONE 'UTC')::date
          AND z.first_day <= (d.to_time AT TIME ZONE 'UTC')::date
      GROUP BY d.i, z.origin_key
      ORDER BY d.i, z.origin_key) AS seen;

-- name: stretches
-- The rows of a rollup in some ranges of some patients, as one array a column; {rollup} is a level, or its view over all
-- of time. OFFSET 0 keeps the subquery whole: each range is one walk along the index, and only its chunks are opened.
SELECT array_agg(v.patient_key), array_agg(v.metric_key), array_agg(v.origin_key), array_agg(v.bucket), array_agg(v.n),
       array_agg(v.sum), array_agg(v.min), array_agg(v.max), array_agg(v.first), array_agg(v.last), array_agg(v.sum_sq),
       array_agg(v.minutes), array_agg(v.minute_mean_sum), array_agg(v.zone_offset_min)
FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
CROSS JOIN LATERAL (
    SELECT * FROM {rollup}
    WHERE patient_key = d.patient_key AND metric_key = ANY (%(metrics)s::smallint[])
      AND bucket >= d.from_time AND bucket < d.to_time AND bucket >= %(lowest)s AND bucket < %(highest)s
    OFFSET 0) v;

-- name: finer_stretches
-- The same of single stretches of single series: what stands in for a coarser row.
SELECT array_agg(v.patient_key), array_agg(v.metric_key), array_agg(v.origin_key), array_agg(v.bucket), array_agg(v.n),
       array_agg(v.sum), array_agg(v.min), array_agg(v.max), array_agg(v.first), array_agg(v.last), array_agg(v.sum_sq),
       array_agg(v.minutes), array_agg(v.minute_mean_sum), array_agg(v.zone_offset_min)
FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[], %(froms)s::timestamptz[],
            %(tos)s::timestamptz[]) AS d (patient_key, metric_key, origin_key, from_time, to_time)
CROSS JOIN LATERAL (
    SELECT * FROM {rollup}
    WHERE patient_key = d.patient_key AND metric_key = d.metric_key AND origin_key = d.origin_key
      AND bucket >= d.from_time AND bucket < d.to_time AND bucket >= %(lowest)s AND bucket < %(highest)s
    OFFSET 0) v;

-- name: told
-- Trustworthy interval and category samples that reach into some ranges of some patients. `earlier` and `later` widen the
-- ranges by metric, `longest` is the longest sample of a metric: one that began so long before may still reach in.
SELECT array_agg(d.patient_key), array_agg(k.metric_key), array_agg(s.origin_key), array_agg(s.time),
       array_agg(s.duration_ms), array_agg(s.value), array_agg(s.zone_offset_min)
FROM unnest(%(patients)s::integer[], %(froms)s::timestamptz[], %(tos)s::timestamptz[]) AS d (patient_key, from_time, to_time)
CROSS JOIN unnest(%(metrics)s::smallint[], %(earlier)s::interval[], %(later)s::interval[], %(longest)s::interval[])
    AS k (metric_key, earlier, later, longest)
CROSS JOIN LATERAL (
    SELECT origin_key, time, duration_ms, value, zone_offset_min FROM samples
    WHERE patient_key = d.patient_key AND metric_key = k.metric_key
      AND time >= d.from_time - k.earlier - k.longest AND time < d.to_time + k.later
      AND time >= %(lowest)s AND time < %(highest)s
      AND time + duration_ms * INTERVAL '1 millisecond' >= d.from_time - k.earlier
      AND quality >= 0.5 AND flags & 128 = 0
    OFFSET 0) s;

-- name: night_rmssd
-- RMSSD (Task Force 1996) of the RR intervals of some nights, over beats that follow each other (one begins where the one
-- before ends, to 50 ms) and differ by at most 20 %% of the first; from the origin with most such pairs, 300 at least.
SELECT i, rmssd FROM (
    SELECT DISTINCT ON (d.i) d.i, sqrt(avg(b.change * b.change)) AS rmssd, count(*) AS pairs
    FROM unnest(%(indices)s::integer[], %(patients)s::integer[], %(onsets)s::timestamptz[], %(ends)s::timestamptz[])
        AS d (i, patient_key, onset, until)
    CROSS JOIN LATERAL (
        SELECT origin_key, value - lag(value) OVER w AS change, lag(value) OVER w AS before,
               extract(epoch FROM time - lag(time) OVER w) * 1000 AS apart_ms
        FROM samples
        WHERE patient_key = d.patient_key AND metric_key = %(rr)s AND time >= d.onset AND time < d.until
          AND time >= %(lowest)s AND time < %(highest)s AND quality >= 0.5 AND flags & 128 = 0
        WINDOW w AS (PARTITION BY origin_key ORDER BY time)) b
    WHERE abs(b.apart_ms - b.before) <= 50 AND abs(b.change) <= 0.2 * b.before
    GROUP BY d.i, b.origin_key
    ORDER BY d.i, count(*) DESC, b.origin_key) AS best
WHERE pairs >= 300;

-- name: stored_counts
-- How many samples the stored days have of interval and category metrics, by retention class.
SELECT array_agg(d.i), array_agg(d.class), array_agg(d.n) FROM (
    SELECT w.i, k.class, sum(v.n)::bigint AS n
    FROM unnest(%(indices)s::integer[], %(patients)s::integer[], %(days)s::integer[]) AS w (i, patient_key, day)
    JOIN vitals_1d v ON v.patient_key = w.patient_key AND v.day = date '1970-01-01' + w.day
    JOIN unnest(%(metrics)s::smallint[], %(classes)s::integer[]) AS k (metric_key, class) ON k.metric_key = v.metric_key
    GROUP BY 1, 2) AS d;

-- name: forget_series_days
-- Takes away the rows of days that are made anew, but for the metrics of kept classes: those are kept as they stand.
DELETE FROM vitals_1d v
USING unnest(%(patients)s::integer[], %(days)s::integer[], %(kept)s::integer[]) AS d (patient_key, day, kept)
WHERE v.patient_key = d.patient_key AND v.day = date '1970-01-01' + d.day
  AND NOT EXISTS (SELECT FROM unnest(%(metrics)s::smallint[], %(classes)s::integer[]) AS k (metric_key, class)
                  WHERE k.metric_key = v.metric_key AND d.kept & (1 << k.class) <> 0);

-- name: put_series_days
INSERT INTO vitals_1d (patient_key, metric_key, origin_key, day, n, sum, min, max, mean, time_weighted_mean, minutes,
                       first, last, total, zone_offset_min)
SELECT p, m, o, date '1970-01-01' + day, n, nullif(sum, 'NaN'), nullif(min, 'NaN'), nullif(max, 'NaN'),
       nullif(mean, 'NaN'), nullif(weighted, 'NaN'), minutes, nullif(first, 'NaN'), nullif(last, 'NaN'),
       nullif(total, 'NaN'), zone
FROM unnest(%(patient)s::integer[], %(metric)s::smallint[], %(origin)s::integer[], %(day)s::integer[], %(n)s::bigint[],
            %(sum)s::float8[], %(min)s::float8[], %(max)s::float8[], %(mean)s::float8[],
            %(time_weighted_mean)s::float8[], %(minutes)s::float8[], %(first)s::float8[], %(last)s::float8[],
            %(total)s::float8[], %(zone_offset_min)s::smallint[])
    AS r (p, m, o, day, n, sum, min, max, mean, weighted, minutes, first, last, total, zone);

-- name: forget_summaries
DELETE FROM daily_summary s USING unnest(%(patients)s::integer[], %(days)s::integer[]) AS d (patient_key, day)
WHERE s.patient_key = d.patient_key AND s.day = date '1970-01-01' + d.day;

-- name: put_summaries
-- One row a patient and day; NaN stands for NULL, times are microseconds since 1970 UTC.
INSERT INTO daily_summary (patient_key, day,
    zone_offset_min, day_length_min, sleep_total_min, sleep_in_bed_min, sleep_efficiency_pct, sleep_latency_min,
    sleep_core_min, sleep_deep_min, sleep_rem_min, sleep_unspecified_min, sleep_awake_min, sleep_disturbances,
    sleep_onset_at, sleep_midpoint_at, sleep_end_at, sleep_onset_local_min, sleep_midpoint_local_min, sleep_agreement,
    sleep_regularity_index, nap_count, nap_min, steps, distance_m, active_energy_kcal, exercise_min,
    moderate_vigorous_min, brisk_min, stand_min, daylight_min, heart_rate_minutes, heart_rate_mean_bpm,
    heart_rate_min_bpm, heart_rate_max_bpm, resting_heart_rate_bpm, resting_heart_rate_told_bpm, hrv_sdnn_ms,
    hrv_rmssd_ms, hrv_sdnn_24h_ms, hrv_rmssd_night_ms, wear_min, samples_expected, samples_received, completeness,
    quality_score, valid_day, made_at)
SELECT patient_key, date '1970-01-01' + day,
       nullif(zone_offset_min, 'NaN'),
       day_length_min,
       nullif(sleep_total_min, 'NaN'),
       nullif(sleep_in_bed_min, 'NaN'),
       nullif(sleep_efficiency_pct, 'NaN'),
       nullif(sleep_latency_min, 'NaN'),
       nullif(sleep_core_min, 'NaN'),
       nullif(sleep_deep_min, 'NaN'),
       nullif(sleep_rem_min, 'NaN'),
       nullif(sleep_unspecified_min, 'NaN'),
       nullif(sleep_awake_min, 'NaN'),
       nullif(sleep_disturbances, 'NaN'),
       timestamptz 'epoch' + nullif(sleep_onset_at, 'NaN') * INTERVAL '1 microsecond',
       timestamptz 'epoch' + nullif(sleep_midpoint_at, 'NaN') * INTERVAL '1 microsecond',
       timestamptz 'epoch' + nullif(sleep_end_at, 'NaN') * INTERVAL '1 microsecond',
       nullif(sleep_onset_local_min, 'NaN'),
       nullif(sleep_midpoint_local_min, 'NaN'),
       nullif(sleep_agreement, 'NaN'),
       nullif(sleep_regularity_index, 'NaN'),
       nullif(nap_count, 'NaN'),
       nullif(nap_min, 'NaN'),
       nullif(steps, 'NaN'),
       nullif(distance_m, 'NaN'),
       nullif(active_energy_kcal, 'NaN'),
       nullif(exercise_min, 'NaN'),
       nullif(moderate_vigorous_min, 'NaN'),
       nullif(brisk_min, 'NaN'),
       nullif(stand_min, 'NaN'),
       nullif(daylight_min, 'NaN'),
       nullif(heart_rate_minutes, 'NaN'),
       nullif(heart_rate_mean_bpm, 'NaN'),
       nullif(heart_rate_min_bpm, 'NaN'),
       nullif(heart_rate_max_bpm, 'NaN'),
       nullif(resting_heart_rate_bpm, 'NaN'),
       nullif(resting_heart_rate_told_bpm, 'NaN'),
       nullif(hrv_sdnn_ms, 'NaN'),
       nullif(hrv_rmssd_ms, 'NaN'),
       nullif(hrv_sdnn_24h_ms, 'NaN'),
       nullif(hrv_rmssd_night_ms, 'NaN'),
       nullif(wear_min, 'NaN'),
       nullif(samples_expected, 'NaN'),
       nullif(samples_received, 'NaN'),
       nullif(completeness, 'NaN'),
       nullif(quality_score, 'NaN'),
       valid_day = 1,
       %(now)s
FROM unnest(%(patient_key)s::integer[], %(day)s::integer[],
            %(zone_offset_min)s::float8[], %(day_length_min)s::float8[], %(sleep_total_min)s::float8[],
            %(sleep_in_bed_min)s::float8[], %(sleep_efficiency_pct)s::float8[], %(sleep_latency_min)s::float8[],
            %(sleep_core_min)s::float8[], %(sleep_deep_min)s::float8[], %(sleep_rem_min)s::float8[],
            %(sleep_unspecified_min)s::float8[], %(sleep_awake_min)s::float8[], %(sleep_disturbances)s::float8[],
            %(sleep_onset_at)s::float8[], %(sleep_midpoint_at)s::float8[], %(sleep_end_at)s::float8[],
            %(sleep_onset_local_min)s::float8[], %(sleep_midpoint_local_min)s::float8[],
            %(sleep_agreement)s::float8[], %(sleep_regularity_index)s::float8[], %(nap_count)s::float8[],
            %(nap_min)s::float8[], %(steps)s::float8[], %(distance_m)s::float8[], %(active_energy_kcal)s::float8[],
            %(exercise_min)s::float8[], %(moderate_vigorous_min)s::float8[], %(brisk_min)s::float8[],
            %(stand_min)s::float8[], %(daylight_min)s::float8[], %(heart_rate_minutes)s::float8[],
            %(heart_rate_mean_bpm)s::float8[], %(heart_rate_min_bpm)s::float8[], %(heart_rate_max_bpm)s::float8[],
            %(resting_heart_rate_bpm)s::float8[], %(resting_heart_rate_told_bpm)s::float8[],
            %(hrv_sdnn_ms)s::float8[], %(hrv_rmssd_ms)s::float8[], %(hrv_sdnn_24h_ms)s::float8[],
            %(hrv_rmssd_night_ms)s::float8[], %(wear_min)s::float8[], %(samples_expected)s::float8[],
            %(samples_received)s::float8[], %(completeness)s::float8[], %(quality_score)s::float8[],
            %(valid_day)s::float8[])
    AS r (patient_key, day,
          zone_offset_min, day_length_min, sleep_total_min, sleep_in_bed_min, sleep_efficiency_pct, sleep_latency_min,
          sleep_core_min, sleep_deep_min, sleep_rem_min, sleep_unspecified_min, sleep_awake_min, sleep_disturbances,
          sleep_onset_at, sleep_midpoint_at, sleep_end_at, sleep_onset_local_min, sleep_midpoint_local_min,
          sleep_agreement, sleep_regularity_index, nap_count, nap_min, steps, distance_m, active_energy_kcal,
          exercise_min, moderate_vigorous_min, brisk_min, stand_min, daylight_min, heart_rate_minutes,
          heart_rate_mean_bpm, heart_rate_min_bpm, heart_rate_max_bpm, resting_heart_rate_bpm,
          resting_heart_rate_told_bpm, hrv_sdnn_ms, hrv_rmssd_ms, hrv_sdnn_24h_ms, hrv_rmssd_night_ms, wear_min,
          samples_expected, samples_received, completeness, quality_score, valid_day);

-- name: stored_summaries
-- The stored rows of days of which something is kept; numbers as they go in.
SELECT d.i,
       zone_offset_min, day_length_min, sleep_total_min, sleep_in_bed_min, sleep_efficiency_pct, sleep_latency_min,
       sleep_core_min, sleep_deep_min, sleep_rem_min, sleep_unspecified_min, sleep_awake_min, sleep_disturbances,
       extract(epoch FROM sleep_onset_at) * 1000000 AS sleep_onset_at, extract(epoch FROM sleep_midpoint_at) * 1000000
       AS sleep_midpoint_at, extract(epoch FROM sleep_end_at) * 1000000 AS sleep_end_at, sleep_onset_local_min,
       sleep_midpoint_local_min, sleep_agreement, sleep_regularity_index, nap_count, nap_min, steps, distance_m,
       active_energy_kcal, exercise_min, moderate_vigorous_min, brisk_min, stand_min, daylight_min,
       heart_rate_minutes, heart_rate_mean_bpm, heart_rate_min_bpm, heart_rate_max_bpm, resting_heart_rate_bpm,
       resting_heart_rate_told_bpm, hrv_sdnn_ms, hrv_rmssd_ms, hrv_sdnn_24h_ms, hrv_rmssd_night_ms, wear_min,
       samples_expected, samples_received, completeness, quality_score, valid_day::integer
FROM unnest(%(indices)s::integer[], %(patients)s::integer[], %(days)s::integer[]) AS d (i, patient_key, day)
JOIN daily_summary s ON s.patient_key = d.patient_key AND s.day = date '1970-01-01' + d.day;

-- name: agreements
-- Days around those that are made anew, by which the regularity of sleep is told; NaN for NULL.
SELECT array_agg(patient_key), array_agg(day), array_agg(agreement), array_agg(regularity) FROM (
    SELECT DISTINCT s.patient_key, s.day - date '1970-01-01' AS day, coalesce(s.sleep_agreement, 'NaN') AS agreement,
           coalesce(s.sleep_regularity_index, 'NaN') AS regularity
    FROM unnest(%(patients)s::integer[], %(firsts)s::integer[], %(lasts)s::integer[]) AS d (patient_key, first, last)
    JOIN daily_summary s ON s.patient_key = d.patient_key
        AND s.day BETWEEN date '1970-01-01' + d.first AND date '1970-01-01' + d.last) AS around;

-- name: put_regularity
UPDATE daily_summary s SET sleep_regularity_index = nullif(d.regularity, 'NaN')
FROM unnest(%(patients)s::integer[], %(days)s::integer[], %(regularity)s::float8[]) AS d (patient_key, day, regularity)
WHERE s.patient_key = d.patient_key AND s.day = date '1970-01-01' + d.day;

-- name: newest_days
-- Of each patient: the newest day that is over at %(now)s, and up to when there are trends.
SELECT array_agg(p), array_agg(newest), array_agg(coalesce(until, -1000000)) FROM (
    SELECT p.patient_key AS p, n.newest, t.until
    FROM unnest(%(patients)s::integer[]) AS p (patient_key)
    CROSS JOIN LATERAL (
        SELECT day - date '1970-01-01' AS newest FROM daily_summary
        WHERE patient_key = p.patient_key
          AND (day + 1)::timestamp AT TIME ZONE 'UTC' - coalesce(zone_offset_min, 0) * INTERVAL '1 minute' <= %(now)s
        ORDER BY day DESC LIMIT 1) n
    LEFT JOIN LATERAL (
        SELECT max(until) - date '1970-01-01' AS until FROM trends WHERE patient_key = p.patient_key) t ON true) AS found;

-- name: forget_trends
-- Trends that are made anew, those up to a newest day that is no longer one, and those beyond it.
DELETE FROM trends t
USING unnest(%(patients)s::integer[], %(firsts)s::integer[], %(lasts)s::integer[], %(newest)s::integer[])
    AS d (patient_key, first, last, newest)
WHERE t.patient_key = d.patient_key
  AND (t.until BETWEEN date '1970-01-01' + d.first AND date '1970-01-01' + d.last
       OR t.until >= date '1970-01-01' + d.newest OR extract(isodow FROM t.until) <> 7);

-- name: measured
-- The measures that trends are made of; NaN for NULL, and 1 where the day is valid.
SELECT array_agg(d.patient_key), array_agg(s.day - date '1970-01-01'), array_agg(s.valid_day::integer),
       array_agg(coalesce(s.steps, 'NaN')), array_agg(coalesce(s.active_energy_kcal, 'NaN')),
       array_agg(coalesce(s.exercise_min, 'NaN')), array_agg(coalesce(s.sleep_total_min, 'NaN')),
       array_agg(coalesce(s.sleep_efficiency_pct, 'NaN')), array_agg(coalesce(s.sleep_midpoint_local_min, 'NaN')),
       array_agg(coalesce(s.sleep_disturbances::float8, 'NaN')), array_agg(coalesce(s.heart_rate_mean_bpm, 'NaN')),
       array_agg(coalesce(s.resting_heart_rate_bpm, 'NaN')), array_agg(coalesce(s.resting_heart_rate_told_bpm, 'NaN')),
       array_agg(coalesce(s.hrv_sdnn_ms, 'NaN')), array_agg(coalesce(s.hrv_rmssd_ms, 'NaN'))
FROM unnest(%(patients)s::integer[], %(firsts)s::integer[], %(lasts)s::integer[]) AS d (patient_key, first, last)
JOIN daily_summary s ON s.patient_key = d.patient_key
    AND s.day BETWEEN date '1970-01-01' + d.first AND date '1970-01-01' + d.last;

-- name: put_trends
INSERT INTO trends (patient_key, measure, span, until, direction, slope_per_day, confidence, days_used)
SELECT p, measure, span, date '1970-01-01' + until, direction, nullif(slope, 'NaN'), nullif(confidence, 'NaN'), days
FROM unnest(%(patients)s::integer[], %(measures)s::text[], %(spans)s::text[], %(untils)s::integer[],
            %(directions)s::text[], %(slopes)s::float8[], %(confidences)s::float8[], %(days)s::integer[])
    AS r (p, measure, span, until, direction, slope, confidence, days);
