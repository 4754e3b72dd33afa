-- name: without_evidence
-- The next alerts whose window is stored as far as it will ever be: the patient has a later sample (samples of one
-- patient are stored in the order of their partition), or a day went by. An alert about a patient of whom nothing was
-- ever stored has no samples to keep, and waits.
SELECT a.alert_id, p.patient_key, a.opened_at - %(before)s::interval, a.raised_at + %(after)s::interval
FROM alerts a
JOIN patients p USING (patient_id)
WHERE NOT a.evidence_taken
  AND (a.raised_at + %(after)s::interval + INTERVAL '1 day' <= now()
       OR EXISTS (SELECT FROM latest l WHERE l.patient_key = p.patient_key AND l.time > a.raised_at + %(after)s::interval))
ORDER BY a.raised_at
LIMIT %(limit)s;

-- name: take_evidence
-- One alert's snapshot: what stands now of every series of the patient within the window, the samples nearest to the
-- moment of opening first where a series or the whole has too many. Taken once, whoever takes it.
WITH inside AS (
    SELECT s.*, row_number() OVER (PARTITION BY metric_key, origin_key ORDER BY abs(extract(epoch FROM s.time - %(opened)s::timestamptz)), s.time) AS nth,
           count(*) OVER (PARTITION BY metric_key, origin_key) AS samples
    FROM samples s
    WHERE s.patient_key = %(patient)s AND s.time >= %(from)s AND s.time <= %(to)s AND s.flags & 128 = 0
), kept AS (
    SELECT * FROM inside WHERE nth <= %(per_series)s ORDER BY nth LIMIT %(in_all)s
), series AS (
    SELECT jsonb_build_object(
        'metric', m.code, 'unit', m.unit, 'device_id', d.device_id, 'source_app', o.source_app, 'samples', max(k.samples),
        'offset_us', jsonb_agg((extract(epoch FROM k.time - %(from)s::timestamptz) * 1000000)::bigint ORDER BY k.time, k.duration_ms),
        'duration_ms', jsonb_agg(k.duration_ms ORDER BY k.time, k.duration_ms),
        'value', jsonb_agg(k.value ORDER BY k.time, k.duration_ms),
        'quality', jsonb_agg(k.quality ORDER BY k.time, k.duration_ms),
        'context', jsonb_agg(k.context ORDER BY k.time, k.duration_ms)) AS one
    FROM kept k
    JOIN metrics m USING (metric_key)
    JOIN origins o USING (origin_key)
    JOIN devices d USING (device_key)
    GROUP BY m.code, m.unit, d.device_id, o.source_app
), taken AS (
    UPDATE alerts SET evidence_taken = true WHERE alert_id = %(alert)s AND NOT evidence_taken RETURNING alert_id
)
INSERT INTO alert_evidence (alert_id, patient_key, from_time, to_time, snapshot)
SELECT alert_id, %(patient)s, %(from)s, %(to)s,
       jsonb_build_object('series', coalesce((SELECT jsonb_agg(one ORDER BY one ->> 'metric') FROM series), '[]'))
FROM taken
ON CONFLICT (alert_id) DO NOTHING;
