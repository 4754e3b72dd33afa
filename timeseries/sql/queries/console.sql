-- name: ready
-- Does the database answer, with the schema in it?
SELECT count(*) FROM schema_migrations;

-- name: version
-- A fingerprint that changes with anything the pages show; cheap, since every open page hangs on it. The synthetic patient
-- is on no page, and comes every minute.
SELECT concat_ws('/',
    (SELECT concat_ws(',', count(*), max(received_at), max(time)) FROM latest
     WHERE patient_key <> coalesce((SELECT patient_key FROM patients WHERE patient_id = 'vigil-synthetic'), 0)),
    (SELECT count(*) FROM patients),
    (SELECT concat_ws(',', count(*), max(stored_at), count(acknowledged_at), max(acknowledged_at)) FROM alerts));

-- name: patient_totals
-- How many people there are, and how many of them nothing has measured since %(since)s.
SELECT count(*) AS patients, count(*) FILTER (WHERE n.newest IS NULL OR n.newest < %(since)s) AS silent
FROM patients p
LEFT JOIN (SELECT patient_key, max(time) AS newest FROM latest GROUP BY patient_key) n USING (patient_key)
WHERE p.patient_id <> 'vigil-synthetic';

-- name: alert_totals
-- Open alerts by priority, and how many of them nobody has acknowledged.
SELECT priority, count(*) AS open, count(*) FILTER (WHERE acknowledged_at IS NULL) AS waiting
FROM alerts WHERE state <> 'cleared' GROUP BY priority;

-- name: patient_page
-- One page of people: those with open alerts first, the unseen and the most urgent of them before the others.
SELECT p.patient_id
FROM patients p
LEFT JOIN (
    SELECT patient_id, max(CASE WHEN acknowledged_at IS NULL THEN 10 ELSE 0 END
        + CASE priority WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END) AS urgency
    FROM alerts WHERE state <> 'cleared' GROUP BY patient_id) a USING (patient_id)
WHERE p.patient_id <> 'vigil-synthetic'
ORDER BY a.urgency DESC NULLS LAST, p.patient_id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: patient
-- Whoever was measured or alerted about: alerts may be stored before the first sample is. The synthetic patient is nobody.
SELECT patient_id FROM patients WHERE patient_id = %(patient)s AND patient_id <> 'vigil-synthetic'
UNION
SELECT patient_id FROM alerts WHERE patient_id = %(patient)s AND patient_id <> 'vigil-synthetic';

-- name: open_alerts
-- What waits for a person first, then by priority, then the newest.
SELECT alert_id, patient_id, kind, priority, rule, rule_version, metric, state, opened_at, raised_at, changed_at, cleared_at,
       measured_at, retrospective, individualised, sentence, evidence, acknowledged_by, acknowledged_at, device_id, policy,
       raised_sentence, raised_evidence
FROM alerts
WHERE state <> 'cleared'
ORDER BY acknowledged_at IS NOT NULL, CASE priority WHEN 'high' THEN 0 WHEN 'medium' THEN 1 ELSE 2 END,
         raised_at DESC, alert_id
LIMIT %(limit)s;

-- name: patient_alerts
-- One person's alerts, open ones first, then the newest.
SELECT alert_id, patient_id, kind, priority, rule, rule_version, metric, state, opened_at, raised_at, changed_at, cleared_at,
       measured_at, retrospective, individualised, sentence, evidence, acknowledged_by, acknowledged_at, device_id, policy,
       raised_sentence, raised_evidence
FROM alerts
WHERE patient_id = %(patient)s
ORDER BY state = 'cleared', raised_at DESC, alert_id
LIMIT %(limit)s;

-- name: latest
-- The newest value of every series of these people.
SELECT p.patient_id, m.code AS metric, d.device_id, o.source_app, l.time, l.value, l.quality, l.context
FROM patients p
JOIN latest l USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE p.patient_id = ANY (%(patients)s::text[])
ORDER BY p.patient_id, m.metric_key, l.time DESC, d.device_id, o.source_app;

-- name: fine_series
-- Trustworthy values of short ranges from the samples themselves, in buckets of %(step)s seconds.
SELECT p.patient_id, m.code AS metric, d.device_id, o.source_app, b.bucket, b.mean, b.low, b.high, b.n
FROM patients p
JOIN latest l USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
CROSS JOIN LATERAL (
    SELECT date_bin(make_interval(secs => %(step)s), s.time, %(from)s) AS bucket,
           avg(s.value) AS mean, min(s.value) AS low, max(s.value) AS high, count(*) AS n
    FROM samples s
    WHERE s.patient_key = l.patient_key AND s.metric_key = l.metric_key AND s.origin_key = l.origin_key
      AND s.time >= %(from)s AND s.time < %(to)s AND s.quality >= 0.5 AND s.flags & 128 = 0
    GROUP BY 1) b
WHERE p.patient_id = ANY (%(patients)s::text[]) AND m.code = ANY (%(metrics)s::text[])
ORDER BY p.patient_id, m.metric_key, d.device_id, o.source_app, b.bucket;

-- name: dirty_stretches
-- What no rollup has seen yet of these people, newest first, in whole buckets of %(width)s. A stretch stays within its
-- hour. Long charts take %(dirty)s of them (minutes: all, NULL), or one chart would read a year of samples after an import.
SELECT d.patient_key, date_bin(%(width)s, d.from_time, '2000-01-01 00:00:00+00') AS from_time,
       date_bin(%(width)s, d.to_time, '2000-01-01 00:00:00+00') + %(width)s AS to_time
FROM patients p JOIN dirty_ranges d USING (patient_key)
WHERE p.patient_id = ANY (%(patients)s::text[]) AND d.to_time >= %(from)s AND d.from_time < %(to)s
ORDER BY d.hour DESC
LIMIT %(dirty)s;

-- name: rollup_series
-- Trustworthy values from {view}, a rollup whose buckets are %(width)s wide; the dirty stretches from the samples, so that
-- a chart never waits for a refresh. Below the raw horizon of a metric only the history knows, and what is dirty there
-- says nothing. The bounds of all stretches say nothing new: they are constants, and only those keep TimescaleDB from
-- looking into every chunk.
WITH series AS (
    SELECT l.patient_key, l.metric_key, l.origin_key, coalesce(h.horizon, '-infinity') AS horizon
    FROM patients p JOIN latest l USING (patient_key) JOIN metrics m USING (metric_key)
    LEFT JOIN metric_horizons h USING (metric_key)
    WHERE p.patient_id = ANY (%(patients)s::text[]) AND m.code = ANY (%(metrics)s::text[])
), dirty AS (
    SELECT *
    FROM unnest(%(dirty_patients)s::integer[], %(dirty_froms)s::timestamptz[], %(dirty_tos)s::timestamptz[])
        AS d (patient_key, from_time, to_time)
), buckets AS (
    SELECT s.patient_key, s.metric_key, s.origin_key, v.bucket AS time, v.sum, v.min, v.max, v.n
    FROM series s
    CROSS JOIN LATERAL ( -- OFFSET keeps it a question about one series, so that the index answers it
        SELECT a.bucket, a.sum, a.min, a.max, a.n
        FROM {view} a
        WHERE a.patient_key = s.patient_key AND a.metric_key = s.metric_key AND a.origin_key = s.origin_key
          AND a.bucket >= date_bin(%(width)s, %(from)s::timestamptz, '2000-01-01 00:00:00+00') AND a.bucket < %(to)s
        OFFSET 0) v
    WHERE NOT EXISTS (SELECT 1 FROM dirty d
                      WHERE d.patient_key = s.patient_key AND d.from_time >= s.horizon
                        AND v.bucket >= d.from_time AND v.bucket < d.to_time)
    UNION ALL
    SELECT s.patient_key, s.metric_key, s.origin_key, v.time, v.value, v.value, v.value, 1
    FROM series s
    JOIN dirty d ON d.patient_key = s.patient_key AND d.from_time >= s.horizon
    CROSS JOIN LATERAL (
        SELECT a.time, a.value
        FROM samples a
        WHERE a.patient_key = s.patient_key AND a.metric_key = s.metric_key AND a.origin_key = s.origin_key
          AND a.time >= greatest(d.from_time, date_bin(%(width)s, %(from)s::timestamptz, '2000-01-01 00:00:00+00'))
          AND a.time < least(d.to_time, %(to)s::timestamptz)
          AND a.time >= %(dirty_from)s AND a.time < %(dirty_to)s
          AND a.quality >= 0.5 AND a.flags & 128 = 0
        OFFSET 0) v
)
SELECT p.patient_id, m.code AS metric, d.device_id, o.source_app,
       date_bin(make_interval(secs => %(step)s), t.time,
                date_bin(%(width)s, %(from)s::timestamptz, '2000-01-01 00:00:00+00')) AS bucket,
       sum(t.sum) / sum(t.n) AS mean, min(t.min) AS low, max(t.max) AS high, sum(t.n)::bigint AS n
FROM buckets t
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
GROUP BY p.patient_id, m.metric_key, m.code, d.device_id, o.source_app, 5
ORDER BY p.patient_id, m.metric_key, d.device_id, o.source_app, 5;

-- name: acknowledge
-- Only what the person saw: an alert that cleared, or rose to another priority meanwhile, is left alone.
UPDATE alerts SET acknowledged_by = %(actor)s, acknowledged_at = %(at)s, acknowledged_priority = priority
WHERE alert_id = %(alert)s AND state <> 'cleared' AND acknowledged_at IS NULL AND priority = %(priority)s
RETURNING alert_id;

-- name: acknowledged
-- Why nothing was acknowledged.
SELECT state, priority, acknowledged_by FROM alerts WHERE alert_id = %(alert)s;
