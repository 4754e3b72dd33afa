-- name: counts
-- Samples stored, those of the synthetic patient left out, and samples or records quarantined.
SELECT (SELECT count(*) FROM samples WHERE patient_key NOT IN (SELECT patient_key FROM patients WHERE patient_id = 'vigil-synthetic')),
       (SELECT count(*) FROM quarantine);

-- name: patients
-- The newest vitals of each patient, one row a patient; quality 0 is not shown as a value.
SELECT p.patient_id,
       max(l.value) FILTER (WHERE m.code = 'heart_rate' AND l.quality > 0),
       max(l.value) FILTER (WHERE m.code = 'spo2' AND l.quality > 0),
       max(l.value) FILTER (WHERE m.code = 'respiratory_rate' AND l.quality > 0),
       max(l.value) FILTER (WHERE m.code = 'body_temperature' AND l.quality > 0),
       extract(epoch FROM now() - max(l.time))::float8
FROM latest l JOIN patients p USING (patient_key) JOIN metrics m USING (metric_key)
WHERE p.patient_id <> 'vigil-synthetic'
GROUP BY p.patient_id ORDER BY p.patient_id LIMIT 20;

-- name: alerts
-- The newest alerts.
SELECT patient_id, priority, state, sentence FROM alerts ORDER BY opened_at DESC LIMIT 8;
