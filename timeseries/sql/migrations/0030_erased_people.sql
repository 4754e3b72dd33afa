-- Of whom nothing may be written any more after an erasure: what the watch still tells of somebody who was erased comes to
-- the ledger later, and would stand in `alerts` and `notifications` again. And the data team sees what an alert said while
-- it was open, and by which policy it was found, as it sees its newest sentence and evidence.
--
-- phase: pre
-- locks: ACCESS EXCLUSIVE on the view data.alerts for a moment.

-- All that the ledger is to know of an erasure: not by whom, why, or how much went. An erasure that was begun counts once
-- the person's consents are withdrawn for it: one that a hold stopped before that has taken nothing of what is told of them.
CREATE VIEW erased_people AS
SELECT p.patient_id, max(CASE WHEN c.again THEN e.begun_at ELSE 'infinity' END) AS until
FROM erasures e
JOIN patients p USING (patient_key)
CROSS JOIN LATERAL (
    SELECT count(*) > 0 AS was_asked, coalesce(bool_or(withdrawn_at IS NULL OR recorded_at > e.finished_at), false) AS again
    FROM consents WHERE patient_key = e.patient_key AND purpose = 'care'
) c
WHERE e.classes IS NULL AND (e.finished_at IS NOT NULL OR (c.was_asked AND NOT c.again))
GROUP BY p.patient_id;
COMMENT ON VIEW erased_people IS 'Who was erased as a whole, and until when nothing told of them is stored: infinity, or the erasure where they consented to care again after it.';
COMMENT ON COLUMN erased_people.until IS 'What began before is not written.';

-- At once, not only by sql/roles.sql after this: without it a ledger that runs meanwhile would leave its rows out for good.
DO $$
BEGIN
    IF to_regrole('vigil_dispatch') IS NOT NULL THEN
        GRANT SELECT ON erased_people TO vigil_dispatch;
    END IF;
END
$$;

-- As it was (0023, 0028), and three columns, for whom it shows the others. Sentence and evidence are the program's words and
-- figures; the label of a policy is whatever somebody typed, and what they typed may be a name: it is not shown.
CREATE OR REPLACE VIEW data.alerts WITH (security_barrier) AS
SELECT p.alert_id, p.patient_id, p.kind, p.priority, p.rule, p.rule_version, p.metric, p.state, p.opened_at, p.raised_at,
       p.cleared_at, p.retrospective, p.sentence, p.evidence, p.acknowledged_at, p.raised_sentence, p.raised_evidence,
       substring(p.policy FROM '^default [0-9]+$|v[0-9]+ sha256:[0-9a-f]{12}$') AS policy
FROM alerts p
LEFT JOIN patients k ON k.patient_id = p.patient_id
LEFT JOIN metrics m ON m.code = p.metric
WHERE p.patient_id <> 'vigil-synthetic' AND (
      (SELECT bool_or(patient_id IS NULL AND retention_class IS NULL) FROM my_care_scopes)
   OR EXISTS (SELECT FROM my_care_scopes s WHERE (s.patient_id IS NULL OR s.patient_id = p.patient_id)
                                             AND (s.retention_class IS NULL OR s.retention_class = 'alert'))
   OR (SELECT count(DISTINCT r.category) FILTER (WHERE r.category = coalesce(m.retention_class, r.category))
              = CASE WHEN m.code IS NULL THEN 6 ELSE 1 END
       FROM my_research_notes r
       WHERE r.patient_key = k.patient_key AND r.valid_from <= p.opened_at - INTERVAL '1 day'
         AND coalesce(p.cleared_at, p.changed_at) < r.valid_until));
COMMENT ON COLUMN data.alerts.policy IS 'Version and hash of the policy by which it was found (default: the program''s own); its label is not shown, which people write. NULL: older than this column.';
