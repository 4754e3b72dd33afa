-- name: add_patient
INSERT INTO patients (patient_id) VALUES (%(patient)s) ON CONFLICT (patient_id) DO NOTHING;

-- name: lock_patient
-- The key of a patient, whose row waits for whoever changes the profile.
SELECT patient_key FROM patients WHERE patient_id = %(patient)s FOR UPDATE;

-- name: newest
SELECT coalesce(max(version), 0) FROM care_profiles WHERE patient_key = %(key)s;

-- name: end
-- Ends the profile that holds. A profile of this very moment ends a microsecond after it began.
UPDATE care_profiles
SET valid_to = greatest(clock_timestamp(), valid_from + INTERVAL '1 microsecond'), ended_by = %(who)s, end_reason = %(reason)s
WHERE patient_key = %(key)s AND valid_to IS NULL
RETURNING version, valid_to;

-- name: set
INSERT INTO care_profiles (patient_key, version, valid_from, limits, profile, created_by, reason)
VALUES (%(key)s, %(version)s, greatest(clock_timestamp(), %(from)s::timestamptz), %(limits)s, %(profile)s, %(who)s, %(reason)s)
RETURNING valid_from;

-- name: history
SELECT c.version, c.limits, c.profile, c.valid_from, c.valid_to, c.created_by, c.created_at, c.reason, c.ended_by, c.end_reason
FROM care_profiles c JOIN patients p USING (patient_key)
WHERE p.patient_id = %(patient)s ORDER BY c.version;

-- name: people_version
SELECT version FROM people_version;

-- name: standing
-- The profile of everybody who has one now.
SELECT p.patient_id, c.version, c.limits, c.profile FROM care_profiles c JOIN patients p USING (patient_key)
WHERE c.valid_from <= now() AND (c.valid_to IS NULL OR c.valid_to > now());

-- name: medical
-- Devices that their maker means for medicine: only their alerts may have high priority.
SELECT d.device_id FROM device_registry r JOIN devices d USING (device_key)
WHERE r.intended_use = 'medical' AND r.state = 'active';

-- name: turn
-- One policy is applied after the other.
SELECT pg_advisory_xact_lock(7204026);

-- name: apply_policy
INSERT INTO policy_versions (version, label, sha256, body, applied_by, reason, changes)
VALUES (%(version)s, %(label)s, %(sha256)s, %(body)s, %(who)s, %(reason)s, %(changes)s)
RETURNING applied_at;

-- name: policies
SELECT version, label, sha256, body, applied_by, applied_at, reason, changes FROM policy_versions
WHERE %(version)s::integer IS NULL OR version = %(version)s ORDER BY version;

-- name: policy_in_force
SELECT version, label, sha256, body, applied_by, applied_at, reason, changes FROM policy_versions
ORDER BY version DESC LIMIT 1;

-- name: unknown_patients
-- Those of these ids that are nobody's yet.
SELECT named FROM unnest(%(patients)s::text[]) AS named
WHERE NOT EXISTS (SELECT FROM patients p WHERE p.patient_id = named) ORDER BY named;
