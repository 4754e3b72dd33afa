-- name: put_alert
-- The later event counts: by time, then by state, priority and being live. An acknowledgement stays, unless the
-- priority rose beyond what was acknowledged, or an old finding turned out to go on now. What was said while it was open stays beside what is said of its end.
-- Returns whether it is of somebody who was erased: then it is not written.
WITH erased AS (
    SELECT EXISTS (SELECT FROM erased_people WHERE patient_id = %(patient_id)s AND %(opened_at)s < until) AS is_so
), put AS (
INSERT INTO alerts AS a (
    alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, source_app, state, opened_at, raised_at,
    changed_at, cleared_at, measured_at, retrospective, individualised, evidence, sentence, policy, raised_evidence,
    raised_sentence
)
SELECT
    %(alert_id)s, %(patient_id)s, %(kind)s, %(priority)s, %(rule)s, %(rule_version)s, %(metric)s, %(device_id)s,
    %(source_app)s, %(state)s, %(opened_at)s, %(raised_at)s, %(changed_at)s, %(cleared_at)s, %(measured_at)s,
    %(retrospective)s, %(individualised)s, %(evidence)s::jsonb, %(sentence)s, %(policy)s,
    CASE WHEN %(state)s <> 'cleared' THEN %(evidence)s::jsonb END, CASE WHEN %(state)s <> 'cleared' THEN %(sentence)s END
FROM erased WHERE NOT is_so
ON CONFLICT (alert_id) DO UPDATE SET
    priority = excluded.priority,
    rule_version = excluded.rule_version,
    state = excluded.state,
    opened_at = excluded.opened_at,
    raised_at = excluded.raised_at,
    changed_at = excluded.changed_at,
    cleared_at = excluded.cleared_at,
    measured_at = excluded.measured_at,
    retrospective = excluded.retrospective,
    individualised = excluded.individualised,
    evidence = excluded.evidence,
    sentence = excluded.sentence,
    policy = CASE WHEN excluded.state = 'cleared' THEN coalesce(a.policy, excluded.policy) ELSE excluded.policy END,
    raised_evidence = coalesce(excluded.raised_evidence, a.raised_evidence),
    raised_sentence = coalesce(excluded.raised_sentence, a.raised_sentence),
    stored_at = now(),
    acknowledged_by = CASE WHEN (a.retrospective AND NOT excluded.retrospective AND excluded.state <> 'cleared')
        OR array_position(ARRAY['low', 'medium', 'high'], excluded.priority)
        > array_position(ARRAY['low', 'medium', 'high'], a.acknowledged_priority) THEN NULL ELSE a.acknowledged_by END,
    acknowledged_at = CASE WHEN (a.retrospective AND NOT excluded.retrospective AND excluded.state <> 'cleared')
        OR array_position(ARRAY['low', 'medium', 'high'], excluded.priority)
        > array_position(ARRAY['low', 'medium', 'high'], a.acknowledged_priority) THEN NULL ELSE a.acknowledged_at END,
    acknowledged_priority = CASE WHEN (a.retrospective AND NOT excluded.retrospective AND excluded.state <> 'cleared')
        OR array_position(ARRAY['low', 'medium', 'high'], excluded.priority)
        > array_position(ARRAY['low', 'medium', 'high'], a.acknowledged_priority) THEN NULL ELSE a.acknowledged_priority END
WHERE (excluded.changed_at, array_position(ARRAY['raised', 'escalated', 'cleared'], excluded.state),
       array_position(ARRAY['low', 'medium', 'high'], excluded.priority), NOT excluded.retrospective)
    > (a.changed_at, array_position(ARRAY['raised', 'escalated', 'cleared'], a.state),
       array_position(ARRAY['low', 'medium', 'high'], a.priority), NOT a.retrospective)
)
SELECT is_so FROM erased;

-- name: put_notification
-- The first decision stays: a repeat has the same id and tells the same. Returns what put_alert returns.
WITH erased AS (
    SELECT EXISTS (SELECT FROM erased_people WHERE patient_id = %(patient_id)s AND %(opened_at)s < until) AS is_so
), put AS (
INSERT INTO notifications (
    notification_id, alert_id, patient_id, state, priority, recipient, channel, created_at, delayed
)
SELECT
    %(notification_id)s, %(alert_id)s, %(patient_id)s, %(state)s, %(priority)s, %(recipient)s, %(channel)s,
    %(created_at)s, %(delayed)s
FROM erased WHERE NOT is_so
ON CONFLICT DO NOTHING
)
SELECT is_so FROM erased;

-- name: put_attempt
-- Returns what put_alert returns; an attempt began when it was made.
WITH erased AS (
    SELECT EXISTS (SELECT FROM erased_people WHERE patient_id = %(patient_id)s AND %(at)s < until) AS is_so
), put AS (
INSERT INTO delivery_attempts (notification_id, attempted_at, attempt, outcome, detail)
SELECT %(notification_id)s, %(at)s, %(attempt)s, %(outcome)s, %(detail)s
FROM erased WHERE NOT is_so
ON CONFLICT DO NOTHING
)
SELECT is_so FROM erased;

-- name: open_alerts
-- Open alerts, newest first.
SELECT alert_id, patient_id, kind, priority, rule, metric, state, opened_at, raised_at, measured_at, retrospective,
       sentence, acknowledged_by, acknowledged_at
FROM alerts
WHERE state <> 'cleared'
ORDER BY raised_at DESC
LIMIT %(limit)s;

-- name: acknowledge_alert
-- The first person stays; returns nothing where the alert is unknown or was acknowledged before.
UPDATE alerts SET acknowledged_by = %(actor)s, acknowledged_at = %(at)s, acknowledged_priority = priority
WHERE alert_id = %(alert_id)s AND acknowledged_at IS NULL
RETURNING alert_id;
