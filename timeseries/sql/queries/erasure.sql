-- name: begin
INSERT INTO erasures (patient_key, who, why) VALUES (%(patient)s, %(who)s, %(why)s) RETURNING erasure_id;

-- name: unfinished
SELECT erasure_id, rows FROM erasures WHERE patient_key = %(patient)s AND finished_at IS NULL ORDER BY erasure_id LIMIT 1;

-- name: note
UPDATE erasures SET rows = %(rows)s WHERE erasure_id = %(erasure)s;

-- name: finish
UPDATE erasures SET finished_at = now() WHERE erasure_id = %(erasure)s;

-- name: lock_holds
-- A hold that is being placed waits for the step under way; the next step sees it.
LOCK TABLE legal_holds IN SHARE MODE;

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
