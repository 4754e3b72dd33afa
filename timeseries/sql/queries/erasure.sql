-- name: begin
INSERT INTO erasures (patient_key, who, why, classes) VALUES (%(patient)s, %(who)s, %(why)s, %(classes)s::text[]) RETURNING erasure_id;

-- name: unfinished
SELECT erasure_id, rows FROM erasures
WHERE patient_key = %(patient)s AND finished_at IS NULL AND classes IS NOT DISTINCT FROM %(classes)s::text[] ORDER BY erasure_id LIMIT 1;

-- name: note
UPDATE erasures SET rows = %(rows)s WHERE erasure_id = %(erasure)s;

-- name: finish
UPDATE erasures SET finished_at = now() WHERE erasure_id = %(erasure)s;

-- name: lock_holds
-- A hold that is being placed waits for the step under way; the next step sees it.
LOCK TABLE legal_holds IN SHARE MODE;

-- name: lock_writers
-- Waits for transactions that wrote to a table and have not committed: the deletion after it sees their rows.
LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;

-- name: is_held
SELECT EXISTS (SELECT FROM patients_on_hold WHERE patient_key = %(patient)s);

-- name: live_rollups
-- The tables that hold the live rollups: on TimescaleDB those in which the continuous aggregates are kept.
SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates
WHERE view_schema = current_schema() AND view_name IN ('vitals_1m', 'vitals_15m', 'vitals_1h') ORDER BY view_name;

-- name: delete_of_patient
DELETE FROM {table} WHERE patient_key = %(patient)s;

-- name: delete_of_id
DELETE FROM {table} WHERE patient_id = %(id)s;

-- name: delete_attempts
DELETE FROM delivery_attempts WHERE notification_id IN (SELECT notification_id FROM notifications WHERE patient_id = %(id)s);

-- name: delete_quarantined
DELETE FROM {table} q USING quarantine_records r
WHERE (r.patient_id = %(id)s OR r.key = convert_to(%(id)s, 'UTF8'))
  AND (q.topic, q.partition, q.epoch, q."offset") = (r.topic, r.partition, r.epoch, r."offset");

-- name: delete_quarantine_records
DELETE FROM quarantine_records WHERE patient_id = %(id)s OR key = convert_to(%(id)s, 'UTF8');

-- name: is_left
SELECT EXISTS (SELECT FROM samples WHERE patient_key = %(patient)s) OR EXISTS (SELECT FROM waveforms WHERE patient_key = %(patient)s);

-- name: forget_zone
UPDATE patients SET time_zone = NULL WHERE patient_key = %(patient)s AND time_zone IS NOT NULL;

-- name: revoke_tokens
-- What speaks for the person alone opens nothing any more; that it did is kept.
WITH gone AS (
    UPDATE access_tokens SET revoked_at = now(), revoked_by = %(who)s
    WHERE patient_key = %(patient)s AND (revoked_at IS NULL OR revoked_at > now()) RETURNING token_id)
INSERT INTO access_events (token_id, what, who, why) SELECT token_id, 'revoked', %(who)s, %(why)s FROM gone;

-- name: forget_anchors
DELETE FROM sync_anchors WHERE lineage IN (SELECT lineage FROM access_tokens WHERE patient_key = %(patient)s);

-- name: exists
SELECT to_regclass(%(table)s) IS NOT NULL;

-- name: delete_of_class
DELETE FROM {table} WHERE patient_key = %(patient)s AND metric_key = ANY (%(metrics)s::smallint[]);

-- name: forget_measures
-- What a day was made of goes at once; the rest of it is made anew by the next `vigil db rollup`.
UPDATE daily_summary SET {columns} WHERE patient_key = %(patient)s;

-- name: forget_trends
DELETE FROM trends WHERE patient_key = %(patient)s AND measure = ANY (%(measures)s::text[]);

-- name: mark_days
INSERT INTO dirty_days (patient_key, day) SELECT patient_key, day FROM daily_summary WHERE patient_key = %(patient)s
ORDER BY 1, 2 ON CONFLICT DO NOTHING;

-- name: delete_notes
-- Notes about metrics of the classes, and those that name no metric and may be of one of them (stream/annotator.py).
DELETE FROM annotations a WHERE patient_key = %(patient)s AND (
    metric_key = ANY (%(metrics)s::smallint[])
    OR CASE WHEN jsonb_typeof(detail -> 'metrics') = 'array' THEN detail -> 'metrics' ELSE '[]' END ?| %(codes)s::text[]
    OR (metric_key IS NULL AND coalesce(detail -> 'metrics', '[]') = '[]'
        AND CASE kind WHEN 'report' THEN 'reported' WHEN 'activity' THEN 'activity' WHEN 'environment' THEN 'activity'
                      ELSE (%(classes)s::text[])[1] END = ANY (%(classes)s::text[])));

-- name: thin_evidence
-- Of the samples around an alert only those of other classes stay.
UPDATE alert_evidence SET snapshot = jsonb_set(snapshot, '{series}', coalesce(
    (SELECT jsonb_agg(one) FROM jsonb_array_elements(snapshot -> 'series') AS one WHERE one ->> 'metric' <> ALL (%(codes)s::text[])), '[]'))
WHERE patient_key = %(patient)s
  AND EXISTS (SELECT FROM jsonb_array_elements(snapshot -> 'series') AS one WHERE one ->> 'metric' = ANY (%(codes)s::text[]));

-- name: delete_evidence
DELETE FROM alert_evidence
WHERE patient_key = %(patient)s AND alert_id IN (SELECT alert_id FROM alerts WHERE patient_id = %(id)s AND metric = ANY (%(codes)s::text[]));

-- name: delete_attempts_of_class
DELETE FROM delivery_attempts WHERE notification_id IN (
    SELECT n.notification_id FROM notifications n JOIN alerts a USING (alert_id)
    WHERE a.patient_id = %(id)s AND a.metric = ANY (%(codes)s::text[]));

-- name: delete_notifications_of_class
DELETE FROM notifications WHERE alert_id IN (SELECT alert_id FROM alerts WHERE patient_id = %(id)s AND metric = ANY (%(codes)s::text[]));

-- name: delete_alerts_of_class
DELETE FROM alerts WHERE patient_id = %(id)s AND metric = ANY (%(codes)s::text[]);

-- name: delete_reviews_of_class
-- Also what was made of this class and of another: its sentence and figures tell of both.
DELETE FROM reviews WHERE patient_key = %(patient)s AND metrics && %(codes)s::text[];

-- name: delete_outbox_of_class
DELETE FROM quarantine_outbox o USING quarantine q, quarantine_records r
WHERE (r.patient_id = %(id)s OR r.key = convert_to(%(id)s, 'UTF8')) AND q.metric = ANY (%(codes)s::text[])
  AND (q.topic, q.partition, q.epoch, q."offset") = (r.topic, r.partition, r.epoch, r."offset")
  AND (o.topic, o.partition, o.epoch, o."offset", o.index) = (q.topic, q.partition, q.epoch, q."offset", q.index);

-- name: delete_quarantined_of_class
DELETE FROM quarantine q USING quarantine_records r
WHERE (r.patient_id = %(id)s OR r.key = convert_to(%(id)s, 'UTF8')) AND q.metric = ANY (%(codes)s::text[])
  AND (q.topic, q.partition, q.epoch, q."offset") = (r.topic, r.partition, r.epoch, r."offset");

-- name: withhold_records
-- A raw record may hold any class beside what was rejected in it: of none of the person's the value stays.
UPDATE quarantine_records SET value = NULL, withheld = true
WHERE (patient_id = %(id)s OR key = convert_to(%(id)s, 'UTF8')) AND value IS NOT NULL;

-- name: is_left_of_class
SELECT EXISTS (SELECT FROM samples WHERE patient_key = %(patient)s AND metric_key = ANY (%(metrics)s::smallint[]))
    OR EXISTS (SELECT FROM waveforms WHERE patient_key = %(patient)s AND metric_key = ANY (%(metrics)s::smallint[]))
    OR EXISTS (SELECT FROM vitals_1m_all WHERE patient_key = %(patient)s AND metric_key = ANY (%(metrics)s::smallint[]))
    OR EXISTS (SELECT FROM vitals_1h_all WHERE patient_key = %(patient)s AND metric_key = ANY (%(metrics)s::smallint[]))
    OR EXISTS (SELECT FROM vitals_1d WHERE patient_key = %(patient)s AND metric_key = ANY (%(metrics)s::smallint[]));

-- name: note_erased
INSERT INTO consent_events (patient_key, what, purpose, categories, who, document, detail)
SELECT patient_key, 'erased', 'care', classes, who, why, jsonb_build_object('rows', rows) FROM erasures WHERE erasure_id = %(erasure)s;
