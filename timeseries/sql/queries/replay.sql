-- name: replay_patient
-- The short key of a patient; no row for an unknown one. The synthetic patient is nobody.
SELECT patient_key FROM patients WHERE patient_id = %(patient)s AND patient_id <> 'vigil-synthetic';

-- name: replay_consent
-- Whether a consent to care was ever noted, and the classes to which one stands now: nothing else is looked at again.
SELECT count(*) > 0, coalesce(array_agg(DISTINCT category) FILTER (
    WHERE withdrawn_at IS NULL AND (valid_until IS NULL OR valid_until > now())), '{}')
FROM consents WHERE patient_key = %(key)s AND purpose = 'care';

-- name: replay_samples
-- A patient's standing samples of a stretch of measured time as arrays, deletions left out; times are microseconds UTC.
-- With %(classes)s only of these retention classes.
SELECT array_agg(s.origin_key), array_agg(s.metric_key), array_agg((extract(epoch FROM s."time") * 1000000)::bigint),
       array_agg((extract(epoch FROM s.written_at) * 1000000)::bigint),
       array_agg((extract(epoch FROM s.received_at) * 1000000)::bigint),
       array_agg(s.duration_ms), array_agg(s.context), array_agg(s.zone_offset_min), array_agg(s.value),
       array_agg(s.quality::double precision)
FROM samples s
WHERE s.patient_key = %(key)s AND s."time" >= %(start)s AND s."time" < %(end)s AND s.flags & 128 = 0
  AND (%(classes)s::text[] IS NULL
       OR s.metric_key IN (SELECT m.metric_key FROM metrics m WHERE m.retention_class = ANY (%(classes)s::text[])));

-- name: replay_origins
-- Device and application of origins.
SELECT o.origin_key, d.device_id, o.source_app FROM origins o JOIN devices d USING (device_key)
WHERE o.origin_key = ANY (%(origins)s);

-- name: replay_alerts
-- What was raised in a stretch of time, by rule: how often, as a page, found late, cleared by itself, and how long open.
SELECT rule, min(kind), count(*)::integer,
       (count(*) FILTER (WHERE priority <> 'low' AND NOT retrospective))::integer,
       (count(*) FILTER (WHERE retrospective))::integer,
       (count(*) FILTER (WHERE state = 'cleared' AND acknowledged_at IS NULL))::double precision / count(*),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM cleared_at - opened_at)::double precision / 60),
       max(array_position(ARRAY['low', 'medium', 'high'], priority))
FROM alerts
WHERE patient_id = %(patient)s AND raised_at >= %(start)s AND raised_at < %(end)s
GROUP BY rule ORDER BY 3 DESC, rule;
