-- What the data team reads: views in the schema `data`, in words instead of keys, each showing a reader the patients and
-- classes that its role was granted. Rows are filtered here and not by row security, which columnstore tables refuse and
-- continuous aggregates ignore; so nobody but the views may read the tables (sql/roles.sql), and the views are barriers:
-- a function in a reader's query sees no row that the reader may not see.
--
-- phase: pre
-- locks: none that anybody waits for.

CREATE TABLE reader_scopes (
    scope_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role_name       text NOT NULL,
    patient_id      text REFERENCES patients (patient_id),
    retention_class text CHECK (retention_class IN ('vital', 'activity', 'sleep', 'reported', 'technical', 'waveform', 'alert')),
    granted_by      text NOT NULL CHECK (granted_by <> ''),
    granted_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (role_name, patient_id, retention_class)
);
COMMENT ON TABLE reader_scopes IS 'What each database role may see through the views in schema data; a reader has the scopes of every role that it is a member of.';
COMMENT ON COLUMN reader_scopes.patient_id IS 'One patient; NULL: all of them.';
COMMENT ON COLUMN reader_scopes.retention_class IS 'One class of the catalogue, or alert (alerts and annotations); NULL: everything.';
INSERT INTO reader_scopes (role_name, granted_by) VALUES ('vigil_reader', 'migration');

-- A view, so that current_user is the reader; inside it the owner's rights count.
CREATE VIEW my_scopes AS
SELECT patient_id, retention_class FROM reader_scopes
WHERE pg_has_role(current_user, to_regrole(quote_ident(role_name))::oid, 'member');
COMMENT ON VIEW my_scopes IS 'The scopes of whoever asks.';

CREATE SCHEMA IF NOT EXISTS data;
COMMENT ON SCHEMA data IS 'The views of the data team; docs/data.md explains them.';

CREATE VIEW data.metrics AS
SELECT code AS metric, loinc, unit, kind, retention_class, low, high, cadence_s FROM metrics;
COMMENT ON VIEW data.metrics IS 'The metric catalogue: what each channel means, its UCUM unit, and what it cannot mean.';

CREATE VIEW data.patients WITH (security_barrier) AS
SELECT p.patient_id, p.time_zone, p.created_at AS first_seen_at
FROM patients p
WHERE (SELECT bool_or(patient_id IS NULL) FROM my_scopes) OR EXISTS (SELECT FROM my_scopes s WHERE s.patient_id = p.patient_id);
COMMENT ON VIEW data.patients IS 'The patients you may see, by opaque id.';

CREATE VIEW data.samples WITH (security_barrier) AS
SELECT s.time, p.patient_id, m.code AS metric, m.unit, s.value, s.quality, s.quality >= 0.5 AS trustworthy, s.duration_ms,
       d.device_id, o.source_app, nullif(s.zone_offset_min, -32768) AS zone_offset_min, s.context, s.flags,
       s.written_at, s.received_at
FROM samples s
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE s.flags & 128 = 0 AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = m.retention_class)));
COMMENT ON VIEW data.samples IS 'Samples as they stand: newest versions, without what its source deleted. Ask with a patient, a metric and a time range.';

CREATE VIEW data.vitals_1m WITH (security_barrier) AS
SELECT v.bucket, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.sum / v.n AS mean,
       v.minute_mean_sum / v.minutes AS time_weighted_mean, v.min, v.max, v.first, v.last, v.sum, v.sum_sq, v.minutes,
       v.minute_mean_sum, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_1m_all v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = m.retention_class));
COMMENT ON VIEW data.vitals_1m IS 'A minute of a series, over trustworthy samples; one row an origin. An interval sample stands in the minute of its start.';

CREATE VIEW data.vitals_15m WITH (security_barrier) AS
SELECT v.bucket, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.sum / v.n AS mean,
       v.minute_mean_sum / v.minutes AS time_weighted_mean, v.min, v.max, v.first, v.last, v.sum, v.sum_sq, v.minutes,
       v.minute_mean_sum, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_15m_all v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = m.retention_class));
COMMENT ON VIEW data.vitals_15m IS 'A quarter of an hour of a series, made of its minutes.';

CREATE VIEW data.vitals_1h WITH (security_barrier) AS
SELECT v.bucket, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.sum / v.n AS mean,
       v.minute_mean_sum / v.minutes AS time_weighted_mean, v.min, v.max, v.first, v.last, v.sum, v.sum_sq, v.minutes,
       v.minute_mean_sum, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_1h_all v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = m.retention_class));
COMMENT ON VIEW data.vitals_1h IS 'An hour of a series, made of its quarters.';

CREATE VIEW data.vitals_1d WITH (security_barrier) AS
SELECT v.day, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.mean, v.time_weighted_mean, v.min,
       v.max, v.first, v.last, v.sum, v.total, v.minutes, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_1d v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = m.retention_class));
COMMENT ON VIEW data.vitals_1d IS 'A local day of the wearer, of a series; total apportions intervals over midnight.';

CREATE VIEW data.user_analytics WITH (security_barrier) AS
SELECT v.day, p.patient_id,
       v.zone_offset_min, v.day_length_min, v.sleep_total_min, v.sleep_in_bed_min, v.sleep_efficiency_pct,
       v.sleep_latency_min, v.sleep_core_min, v.sleep_deep_min, v.sleep_rem_min, v.sleep_unspecified_min,
       v.sleep_awake_min, v.sleep_disturbances, v.sleep_onset_at, v.sleep_midpoint_at, v.sleep_end_at,
       v.sleep_onset_local_min, v.sleep_midpoint_local_min, v.sleep_agreement, v.sleep_regularity_index,
       v.nap_count, v.nap_min, v.steps, v.distance_m, v.active_energy_kcal, v.exercise_min,
       v.moderate_vigorous_min, v.brisk_min, v.stand_min, v.daylight_min, v.heart_rate_minutes,
       v.heart_rate_mean_bpm, v.heart_rate_min_bpm, v.heart_rate_max_bpm, v.resting_heart_rate_bpm,
       v.resting_heart_rate_told_bpm, v.hrv_sdnn_ms, v.hrv_rmssd_ms, v.hrv_sdnn_24h_ms, v.hrv_rmssd_night_ms,
       v.wear_min, v.samples_expected, v.samples_received, v.completeness, v.quality_score, v.valid_day
FROM daily_summary v
JOIN patients p USING (patient_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s
              WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id) AND s.retention_class IS NULL);
COMMENT ON VIEW data.user_analytics IS 'The clinical daily view, one row a patient and local day: sleep, activity, heart, wear, quality. It mixes classes, so a scope of one class does not show it. Unworn is NULL, never zero.';

CREATE VIEW data.user_trends WITH (security_barrier) AS
SELECT v.until, p.patient_id, v.measure, v.span, v.direction, v.slope_per_day, v.confidence, v.days_used
FROM trends v
JOIN patients p USING (patient_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s
              WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id) AND s.retention_class IS NULL);
COMMENT ON VIEW data.user_trends IS 'Whether a measure of user_analytics rises, falls or stays, by week, month and quarter.';

CREATE VIEW data.waveforms WITH (security_barrier) AS
SELECT w.time, w.time + w.first_us * INTERVAL '1 microsecond' AS first_time, p.patient_id, m.code AS metric, m.unit,
       d.device_id, o.source_app, w.channel, w.sample_rate_hz, w.original_rate_hz, w.axes, w.scale, w."values", w.quality,
       w.duration_ms, nullif(w.zone_offset_min, -32768) AS zone_offset_min
FROM waveforms w
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = 'waveform'));
COMMENT ON VIEW data.waveforms IS 'Chunks of ECG, PPG and acceleration; value i of an axis is "values"[i] * scale at first_time + i / sample_rate_hz.';

CREATE VIEW data.alerts WITH (security_barrier) AS
SELECT p.alert_id, p.patient_id, p.kind, p.priority, p.rule, p.rule_version, p.metric, p.state, p.opened_at, p.raised_at,
       p.cleared_at, p.retrospective, p.sentence, p.evidence, p.acknowledged_at
FROM alerts p
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = 'alert'));
COMMENT ON VIEW data.alerts IS 'Alerts in their newest state. Who acknowledged one is not shown.';

CREATE VIEW data.annotations WITH (security_barrier) AS
SELECT a.from_time, a.to_time, p.patient_id, m.code AS metric, a.kind, a.source, a.rule, a.rule_version, a.label, a.detail
FROM annotations a
JOIN patients p USING (patient_key)
LEFT JOIN metrics m USING (metric_key)
WHERE a.retracted_at IS NULL AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = 'alert')))
UNION ALL
SELECT p.opened_at, coalesce(p.cleared_at, 'infinity'), p.patient_id, p.metric, 'anomaly', 'watch', p.rule, p.rule_version,
       p.sentence, p.evidence
FROM alerts p
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes)
   OR EXISTS (SELECT FROM my_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                        AND (s.retention_class IS NULL OR s.retention_class = 'alert'));
COMMENT ON VIEW data.annotations IS 'Notes on a stretch of a patient''s time, alerts among them: join on patient and overlapping time. to_time is infinity while an alert is open.';
