-- name: add_patient
INSERT INTO patients (patient_id) VALUES (%(patient_id)s) ON CONFLICT (patient_id) DO NOTHING;

-- name: put_annotation
-- The same key is the same note: it may grow and be taken back; one that was taken back stays so.
INSERT INTO annotations AS a (annotation_key, patient_key, metric_key, from_time, to_time, kind, source, rule, rule_version, label,
    detail, retracted_at)
SELECT %(annotation_key)s, p.patient_key, %(metric_key)s, %(from_time)s, %(to_time)s, %(kind)s, %(source)s, %(rule)s,
       %(rule_version)s, %(label)s, %(detail)s, CASE WHEN %(retracted)s THEN now() END
FROM patients p WHERE p.patient_id = %(patient_id)s
ON CONFLICT (annotation_key) DO UPDATE SET
    metric_key = excluded.metric_key, from_time = excluded.from_time, to_time = excluded.to_time, kind = excluded.kind,
    source = excluded.source, rule = excluded.rule, rule_version = excluded.rule_version, label = excluded.label,
    detail = excluded.detail, retracted_at = coalesce(a.retracted_at, excluded.retracted_at)
WHERE a.patient_key = excluded.patient_key;
