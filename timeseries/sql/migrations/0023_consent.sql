-- Consent: who agreed to what, for which purpose, from when to when, and what becomes of stored data when it is withdrawn.
-- `care` lets Vigil store and watch at all: samples are judged by it as they come (vitals/gate.py), and what it does not
-- cover is counted and kept nowhere. `research` lets readers with that purpose see what is stored, through the views.
--
-- phase: pre
-- locks: ACCESS EXCLUSIVE on quarantine_records, erasures and reader_scopes for a moment each: columns with a constant
-- default, nothing is rewritten. The views are replaced.

CREATE TABLE consents (
    consent_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_key      integer NOT NULL REFERENCES patients,
    category         text NOT NULL CHECK (category IN ('vital', 'activity', 'sleep', 'reported', 'technical', 'waveform')),
    purpose          text NOT NULL CHECK (purpose IN ('care', 'research')),
    valid_from       timestamptz NOT NULL CHECK (isfinite(valid_from)),
    valid_until      timestamptz CHECK (isfinite(valid_until)) CONSTRAINT consents_end_after_start CHECK (valid_until > valid_from),
    on_withdrawal    text NOT NULL CHECK (on_withdrawal IN ('keep', 'erase')),
    document         text NOT NULL CHECK (document <> ''),
    recorded_by      text NOT NULL CHECK (recorded_by <> ''),
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    withdrawn_at     timestamptz,
    withdrawn_by     text CHECK (withdrawn_by <> ''),
    withdrawn_for    text CHECK (withdrawn_for <> ''),
    withdrawn_stored text CHECK (withdrawn_stored IN ('keep', 'erase')),
    CHECK (num_nulls(withdrawn_at, withdrawn_by, withdrawn_for, withdrawn_stored) IN (0, 4)),
    CHECK (purpose = 'care' OR 'erase' NOT IN (on_withdrawal, coalesce(withdrawn_stored, 'keep')))
);
CREATE INDEX consents_by_patient ON consents (patient_key, category);
CREATE INDEX consents_to_research ON consents (patient_key, category) WHERE purpose = 'research' AND withdrawn_at IS NULL;
CREATE TRIGGER only_ends BEFORE UPDATE ON consents
    FOR EACH ROW EXECUTE FUNCTION only_ends('withdrawn_at', 'withdrawn_by', 'withdrawn_for', 'withdrawn_stored');
CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON consents FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
CREATE TRIGGER gate_moved AFTER INSERT OR UPDATE ON consents FOR EACH STATEMENT EXECUTE FUNCTION gate_moved();
COMMENT ON TABLE consents IS 'One consent: of a patient, to one category of data, for one purpose. Several may overlap. A row is never deleted and never rewritten: a withdrawal fills its last four columns, once.';
COMMENT ON COLUMN consents.category IS 'A retention class of the catalogue.';
COMMENT ON COLUMN consents.purpose IS 'care: Vigil may store and watch. research: readers with that purpose may see it.';
COMMENT ON COLUMN consents.valid_from IS 'The first moment of event time that it covers; valid_until is the first after it, NULL: no end. Once that has passed, samples measured before may still come.';
COMMENT ON COLUMN consents.on_withdrawal IS 'What was agreed to become of stored data on withdrawal: keep or erase. Of research always keep: it only ends who may see.';
COMMENT ON COLUMN consents.document IS 'Number of the document that it is written in; never a name.';
COMMENT ON COLUMN consents.recorded_by IS 'Opaque id of who noted it; withdrawn_by of who noted the withdrawal.';
COMMENT ON COLUMN consents.withdrawn_at IS 'From then on it covers nothing, whenever it was measured.';
COMMENT ON COLUMN consents.withdrawn_for IS 'Number of the document of the withdrawal.';
COMMENT ON COLUMN consents.withdrawn_stored IS 'What becomes of stored data: keep, or erase (the row in erasures says how far that is).';

CREATE TABLE consent_events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_key integer NOT NULL REFERENCES patients,
    at          timestamptz NOT NULL DEFAULT now(),
    what        text NOT NULL CHECK (what IN ('granted', 'refused', 'withdrawn', 'erased')),
    purpose     text NOT NULL CHECK (purpose IN ('care', 'research')),
    categories  text[] NOT NULL CHECK (cardinality(categories) > 0),
    who         text NOT NULL CHECK (who <> ''),
    document    text NOT NULL CHECK (document <> ''),
    detail      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX consent_events_by_patient ON consent_events (patient_key, event_id);
CREATE TRIGGER never_goes BEFORE UPDATE OR DELETE OR TRUNCATE ON consent_events
    FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE consent_events IS 'What was said of consent and done about it, by whom, when, by which document. Rows are only ever added.';
COMMENT ON COLUMN consent_events.what IS 'refused: a patient of whom no consent was noted said no. erased: stored data went, as the withdrawal said.';
COMMENT ON COLUMN consent_events.who IS 'Opaque id of the person or program that noted it.';
COMMENT ON COLUMN consent_events.detail IS 'from, until and on_withdrawal of a grant; what becomes of stored data; rows erased by table.';

CREATE TABLE not_consented (
    day        date NOT NULL,
    adapter    text NOT NULL,
    metric_key smallint NOT NULL,
    samples    bigint NOT NULL,
    PRIMARY KEY (day, adapter, metric_key)
);
COMMENT ON TABLE not_consented IS 'Samples that no consent covers, counted by day, adapter and metric, never by patient: nothing else of them is kept. A chunk of a waveform counts as one.';
COMMENT ON COLUMN not_consented.metric_key IS '0: a metric that the catalogue lacks.';

-- A raw record may hold a sample that is quarantined and one that no consent covers.
ALTER TABLE quarantine_records ADD COLUMN withheld boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN quarantine_records.withheld IS 'Its value is not kept (NULL), because no consent covers all that it holds: a replay cannot bring back what was rejected in it.';

ALTER TABLE erasures ADD COLUMN classes text[] CHECK (cardinality(classes) > 0);
COMMENT ON COLUMN erasures.classes IS 'Only data of these classes, after a withdrawal; NULL: the whole person.';

-- Readers of a purpose. The scopes of care are what they were.
ALTER TABLE reader_scopes ADD COLUMN purpose text NOT NULL DEFAULT 'care' CHECK (purpose IN ('care', 'research'));
ALTER TABLE reader_scopes DROP CONSTRAINT reader_scopes_role_name_patient_id_retention_class_key;
ALTER TABLE reader_scopes ADD CONSTRAINT reader_scopes_once UNIQUE NULLS NOT DISTINCT (role_name, patient_id, retention_class, purpose);
COMMENT ON COLUMN reader_scopes.purpose IS 'care: all that is stored. research: only what the patient''s standing consent to research covers.';

CREATE OR REPLACE VIEW my_scopes AS
SELECT patient_id, retention_class, purpose FROM reader_scopes
WHERE pg_has_role(current_user, to_regrole(quote_ident(role_name))::oid, 'member');

CREATE VIEW my_care_scopes AS SELECT patient_id, retention_class FROM my_scopes WHERE purpose = 'care';
COMMENT ON VIEW my_care_scopes IS 'Those scopes of whoever asks that no consent to research limits.';

-- The standing consents to research within the research scopes of whoever asks. Looked up row by row: the scope of everything
-- is looked at once a query.
CREATE VIEW my_research AS
SELECT c.patient_key, c.category, c.valid_from, coalesce(c.valid_until, 'infinity') AS valid_until
FROM consents c
WHERE c.purpose = 'research' AND c.withdrawn_at IS NULL AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes WHERE purpose = 'research')
   OR EXISTS (SELECT FROM my_scopes s JOIN patients p ON s.patient_id IS NULL OR s.patient_id = p.patient_id
              WHERE p.patient_key = c.patient_key AND s.purpose = 'research' AND (s.retention_class IS NULL OR s.retention_class = c.category)));
COMMENT ON VIEW my_research IS 'Standing consents to research of classes that whoever asks may read for it.';

CREATE VIEW my_research_days AS
SELECT c.patient_key, c.category, c.valid_from, coalesce(c.valid_until, 'infinity') AS valid_until
FROM consents c
WHERE c.purpose = 'research' AND c.withdrawn_at IS NULL AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes WHERE purpose = 'research')
   OR EXISTS (SELECT FROM my_scopes s JOIN patients p ON s.patient_id IS NULL OR s.patient_id = p.patient_id
              WHERE p.patient_key = c.patient_key AND s.purpose = 'research' AND s.retention_class IS NULL));
COMMENT ON VIEW my_research_days IS 'The same for what mixes classes: a scope of one class does not reach it.';

CREATE VIEW my_research_notes AS
SELECT c.patient_key, c.category, c.valid_from, coalesce(c.valid_until, 'infinity') AS valid_until
FROM consents c
WHERE c.purpose = 'research' AND c.withdrawn_at IS NULL AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_scopes WHERE purpose = 'research')
   OR EXISTS (SELECT FROM my_scopes s JOIN patients p ON s.patient_id IS NULL OR s.patient_id = p.patient_id
              WHERE p.patient_key = c.patient_key AND s.purpose = 'research' AND (s.retention_class IS NULL OR s.retention_class = 'alert')));
COMMENT ON VIEW my_research_notes IS 'The same for alerts and annotations.';

CREATE OR REPLACE VIEW data.patients WITH (security_barrier) AS
SELECT p.patient_id, p.time_zone, p.created_at AS first_seen_at
FROM patients p
WHERE (SELECT bool_or(patient_id IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE s.patient_id = p.patient_id)
   OR EXISTS (SELECT FROM my_research r WHERE r.patient_key = p.patient_key)
   OR EXISTS (SELECT FROM my_research_notes r WHERE r.patient_key = p.patient_key);

CREATE OR REPLACE VIEW data.samples WITH (security_barrier) AS
SELECT s.time, p.patient_id, m.code AS metric, m.unit, s.value, s.quality, s.quality >= 0.5 AS trustworthy, s.duration_ms,
       d.device_id, o.source_app, nullif(s.zone_offset_min, -32768) AS zone_offset_min, s.context, s.flags,
       s.written_at, s.received_at
FROM samples s
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE s.flags & 128 = 0 AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes c WHERE (c.patient_id IS NULL OR c.patient_id = p.patient_id)
                                             AND (c.retention_class IS NULL OR c.retention_class = m.retention_class))
   OR EXISTS (SELECT FROM my_research r WHERE r.patient_key = s.patient_key AND r.category = m.retention_class
                                          AND s.time >= r.valid_from AND s.time < r.valid_until));

-- A bucket is shown where a consent covers all of it.
CREATE OR REPLACE VIEW data.vitals_1m WITH (security_barrier) AS
SELECT v.bucket, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.sum / v.n AS mean,
       v.minute_mean_sum / v.minutes AS time_weighted_mean, v.min, v.max, v.first, v.last, v.sum, v.sum_sq, v.minutes,
       v.minute_mean_sum, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_1m_all v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = m.retention_class))
   OR EXISTS (SELECT FROM my_research r WHERE r.patient_key = v.patient_key AND r.category = m.retention_class
                                          AND v.bucket >= r.valid_from AND v.bucket + INTERVAL '1 minute' <= r.valid_until);

CREATE OR REPLACE VIEW data.vitals_15m WITH (security_barrier) AS
SELECT v.bucket, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.sum / v.n AS mean,
       v.minute_mean_sum / v.minutes AS time_weighted_mean, v.min, v.max, v.first, v.last, v.sum, v.sum_sq, v.minutes,
       v.minute_mean_sum, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_15m_all v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = m.retention_class))
   OR EXISTS (SELECT FROM my_research r WHERE r.patient_key = v.patient_key AND r.category = m.retention_class
                                          AND v.bucket >= r.valid_from AND v.bucket + INTERVAL '15 minutes' <= r.valid_until);

CREATE OR REPLACE VIEW data.vitals_1h WITH (security_barrier) AS
SELECT v.bucket, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.sum / v.n AS mean,
       v.minute_mean_sum / v.minutes AS time_weighted_mean, v.min, v.max, v.first, v.last, v.sum, v.sum_sq, v.minutes,
       v.minute_mean_sum, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_1h_all v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = m.retention_class))
   OR EXISTS (SELECT FROM my_research r WHERE r.patient_key = v.patient_key AND r.category = m.retention_class
                                          AND v.bucket >= r.valid_from AND v.bucket + INTERVAL '1 hour' <= r.valid_until);

-- A local day begins up to 14 hours before the UTC day of its date and ends up to 12 hours after it.
CREATE OR REPLACE VIEW data.vitals_1d WITH (security_barrier) AS
SELECT v.day, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, v.n, v.mean, v.time_weighted_mean, v.min,
       v.max, v.first, v.last, v.sum, v.total, v.minutes, nullif(v.zone_offset_min, -32768) AS zone_offset_min
FROM vitals_1d v
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = m.retention_class))
   OR EXISTS (SELECT FROM my_research r
              WHERE r.patient_key = v.patient_key AND r.category = m.retention_class
                AND r.valid_from <= (v.day - INTERVAL '14 hours') AT TIME ZONE 'UTC'
                AND r.valid_until >= (v.day + INTERVAL '36 hours') AT TIME ZONE 'UTC');

-- A day's row is made of four classes, and its sleep regularity of the eight days before it.
CREATE OR REPLACE VIEW data.user_analytics WITH (security_barrier) AS
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
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s
              WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id) AND s.retention_class IS NULL)
   OR (SELECT count(DISTINCT r.category) FROM my_research_days r
       WHERE r.patient_key = v.patient_key AND r.category IN ('vital', 'activity', 'sleep', 'technical')
         AND r.valid_from <= (v.day - INTERVAL '9 days') AT TIME ZONE 'UTC'
         AND r.valid_until >= (v.day + INTERVAL '36 hours') AT TIME ZONE 'UTC') = 4;

-- The longest trend looks back 91 days, each of which looks back itself.
CREATE OR REPLACE VIEW data.user_trends WITH (security_barrier) AS
SELECT v.until, p.patient_id, v.measure, v.span, v.direction, v.slope_per_day, v.confidence, v.days_used
FROM trends v
JOIN patients p USING (patient_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s
              WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id) AND s.retention_class IS NULL)
   OR (SELECT count(DISTINCT r.category) FROM my_research_days r
       WHERE r.patient_key = v.patient_key AND r.category IN ('vital', 'activity', 'sleep', 'technical')
         AND r.valid_from <= (v.until - CASE v.span WHEN 'week' THEN 16 WHEN 'month' THEN 39 ELSE 100 END)::timestamp AT TIME ZONE 'UTC'
         AND r.valid_until >= (v.until + INTERVAL '36 hours') AT TIME ZONE 'UTC') = 4;

CREATE OR REPLACE VIEW data.waveforms WITH (security_barrier) AS
SELECT w.time, w.time + w.first_us * INTERVAL '1 microsecond' AS first_time, p.patient_id, m.code AS metric, m.unit,
       d.device_id, o.source_app, w.channel, w.sample_rate_hz, w.original_rate_hz, w.axes, w.scale, w."values", w.quality,
       w.duration_ms, nullif(w.zone_offset_min, -32768) AS zone_offset_min
FROM waveforms w
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = 'waveform'))
   OR EXISTS (SELECT FROM my_research r
              WHERE r.patient_key = w.patient_key AND r.category = 'waveform'
                AND w.time >= r.valid_from
                AND w.time + w.first_us * INTERVAL '1 microsecond' + w.duration_ms * INTERVAL '1 millisecond' <= r.valid_until);

-- Alerts and notes: by the class of their metric, over all of their time; what names no metric of the catalogue takes all classes.
CREATE OR REPLACE VIEW data.alerts WITH (security_barrier) AS
SELECT p.alert_id, p.patient_id, p.kind, p.priority, p.rule, p.rule_version, p.metric, p.state, p.opened_at, p.raised_at,
       p.cleared_at, p.retrospective, p.sentence, p.evidence, p.acknowledged_at
FROM alerts p
LEFT JOIN patients k ON k.patient_id = p.patient_id
LEFT JOIN metrics m ON m.code = p.metric
WHERE (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = 'alert'))
   OR (SELECT count(DISTINCT r.category) FILTER (WHERE r.category = coalesce(m.retention_class, r.category))
              = CASE WHEN m.code IS NULL THEN 6 ELSE 1 END
       FROM my_research_notes r
       WHERE r.patient_key = k.patient_key AND r.valid_from <= p.opened_at - INTERVAL '1 day'
         AND coalesce(p.cleared_at, p.changed_at) < r.valid_until);

CREATE OR REPLACE VIEW data.annotations WITH (security_barrier) AS
SELECT a.from_time, a.to_time, p.patient_id, m.code AS metric, a.kind, a.source, a.rule, a.rule_version, a.label, a.detail
FROM annotations a
JOIN patients p USING (patient_key)
LEFT JOIN metrics m USING (metric_key)
WHERE a.retracted_at IS NULL AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = 'alert'))
   OR (SELECT count(DISTINCT r.category) FILTER (WHERE r.category = coalesce(m.retention_class, r.category))
              = CASE WHEN m.code IS NULL THEN 6 ELSE 1 END
       FROM my_research_notes r
       WHERE r.patient_key = a.patient_key AND a.from_time >= r.valid_from AND a.to_time < r.valid_until))
UNION ALL
SELECT opened_at, coalesce(cleared_at, 'infinity'), patient_id, metric, 'anomaly', 'watch', rule, rule_version, sentence, evidence
FROM data.alerts;
