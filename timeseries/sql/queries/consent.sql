-- name: add_patient
INSERT INTO patients (patient_id) VALUES (%(patient)s) ON CONFLICT (patient_id) DO NOTHING;

-- name: lock_patient
-- The key of a patient; one who changes their consents waits for another.
SELECT patient_key FROM patients WHERE patient_id = %(patient)s FOR NO KEY UPDATE;

-- name: grant
INSERT INTO consents (patient_key, category, purpose, valid_from, valid_until, on_withdrawal, document, recorded_by)
SELECT %(key)s, category, %(purpose)s, coalesce(%(from)s::timestamptz, now()), %(until)s, %(stored)s, %(document)s, %(who)s
FROM unnest(%(categories)s::text[]) AS category
RETURNING valid_from;

-- name: standing
-- What of these categories and purposes stands: purpose, category, what was agreed to become of stored data.
SELECT purpose, category, on_withdrawal FROM consents
WHERE patient_key = %(key)s AND withdrawn_at IS NULL AND purpose = ANY (%(purposes)s::text[]) AND category = ANY (%(categories)s::text[]);

-- name: is_noted
SELECT EXISTS (SELECT FROM consents WHERE patient_key = %(key)s AND purpose = 'care');

-- name: withdraw
UPDATE consents SET withdrawn_at = now(), withdrawn_by = %(who)s, withdrawn_for = %(document)s,
    withdrawn_stored = CASE WHEN purpose = 'care' AND category = ANY (%(erased)s::text[]) THEN 'erase' ELSE 'keep' END
WHERE patient_key = %(key)s AND withdrawn_at IS NULL AND purpose = ANY (%(purposes)s::text[]) AND category = ANY (%(categories)s::text[]);

-- name: refuse
-- Rows that say no from the beginning, of a patient of whom nothing was noted: from now on they are judged by them.
INSERT INTO consents (patient_key, category, purpose, valid_from, on_withdrawal, document, recorded_by, withdrawn_at, withdrawn_by,
    withdrawn_for, withdrawn_stored)
SELECT %(key)s, category, 'care', now(), %(stored)s, %(document)s, %(who)s, now(), %(who)s, %(document)s, %(stored)s
FROM unnest(%(categories)s::text[]) AS category;

-- name: owe
-- What is to be erased stands before anything is erased: broken off at any moment, it goes on. One row for the same classes.
INSERT INTO erasures (patient_key, who, why, classes)
SELECT %(key)s, %(who)s, %(document)s, %(classes)s::text[]
WHERE NOT EXISTS (SELECT FROM erasures WHERE patient_key = %(key)s AND finished_at IS NULL AND classes = %(classes)s::text[]);

-- name: owed
SELECT e.classes, e.begun_at FROM erasures e JOIN patients p USING (patient_key)
WHERE p.patient_id = %(patient)s AND e.finished_at IS NULL AND e.classes IS NOT NULL ORDER BY e.erasure_id;

-- name: note
INSERT INTO consent_events (patient_key, what, purpose, categories, who, document, detail)
VALUES (%(key)s, %(what)s, %(purpose)s, %(categories)s::text[], %(who)s, %(document)s, %(detail)s);

-- name: consents
-- Those that stand first, by purpose and category.
SELECT c.consent_id, c.category, c.purpose, c.valid_from, c.valid_until, c.on_withdrawal, c.document, c.recorded_by, c.recorded_at,
       c.withdrawn_at, c.withdrawn_by, c.withdrawn_for, c.withdrawn_stored
FROM consents c JOIN patients p USING (patient_key)
WHERE p.patient_id = %(patient)s
ORDER BY c.withdrawn_at IS NOT NULL, c.purpose, array_position(ARRAY['vital', 'activity', 'sleep', 'reported', 'technical', 'waveform'], c.category), c.consent_id;

-- name: events
SELECT e.at, e.what, e.purpose, e.categories, e.who, e.document, e.detail
FROM consent_events e JOIN patients p USING (patient_key) WHERE p.patient_id = %(patient)s ORDER BY e.event_id;

-- name: people
-- Everybody of whom a consent was noted: the classes that stand for care and for research, and when either last changed.
SELECT p.patient_id,
       coalesce(array_agg(DISTINCT c.category) FILTER (WHERE c.purpose = 'care' AND c.withdrawn_at IS NULL), '{}'),
       coalesce(array_agg(DISTINCT c.category) FILTER (WHERE c.purpose = 'research' AND c.withdrawn_at IS NULL), '{}'),
       max(greatest(c.recorded_at, c.withdrawn_at)),
       EXISTS (SELECT FROM erasures e WHERE e.patient_key = p.patient_key AND e.finished_at IS NULL AND e.classes IS NOT NULL)
FROM consents c JOIN patients p USING (patient_key)
GROUP BY p.patient_id, p.patient_key ORDER BY p.patient_id;

-- name: counts
-- What was not let in for want of consent, of all patients, in the last days.
SELECT adapter, coalesce(m.code, 'unknown'), sum(samples)::bigint, max(day) FROM not_consented LEFT JOIN metrics m USING (metric_key)
WHERE day > current_date - %(days)s::integer GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2;
