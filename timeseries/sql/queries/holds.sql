-- name: place
-- Returns nothing for a patient nobody knows. Waits for a step of the lifecycle that is under way, which locks this table.
INSERT INTO legal_holds (patient_key, reason, placed_by)
SELECT patient_key, %(why)s, %(who)s FROM patients WHERE patient_id = %(patient)s
RETURNING hold_id, %(patient)s, reason, placed_by, placed_at, lifted_by, lifted_at, lift_reason;

-- name: lift
-- Returns nothing where there is no such hold, or it was lifted before.
UPDATE legal_holds h SET lifted_by = %(who)s, lifted_at = now(), lift_reason = %(why)s
FROM patients p
WHERE h.hold_id = %(hold)s AND h.lifted_at IS NULL AND p.patient_key = h.patient_key
RETURNING h.hold_id, p.patient_id, h.reason, h.placed_by, h.placed_at, h.lifted_by, h.lifted_at, h.lift_reason;

-- name: holds
-- Those that stand first, the newest first; with %(all)s also those that were lifted.
SELECT h.hold_id, p.patient_id, h.reason, h.placed_by, h.placed_at, h.lifted_by, h.lifted_at, h.lift_reason
FROM legal_holds h JOIN patients p USING (patient_key)
WHERE (%(all)s OR h.lifted_at IS NULL) AND (%(patient)s::text IS NULL OR p.patient_id = %(patient)s)
ORDER BY h.lifted_at IS NOT NULL, h.placed_at DESC, h.hold_id DESC;

-- name: lifted_before
SELECT EXISTS (SELECT FROM legal_holds WHERE hold_id = %(hold)s);
