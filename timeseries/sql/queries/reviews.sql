-- name: one_at_a_time
-- Two looks would write the same rows. Given back with the transaction.
SELECT pg_advisory_xact_lock(0x76697265);

-- name: people
-- A page of people under a plan who are due: the profile that holds, since when one names somebody without a break, which classes
-- their consent covers today, their newest day that is over. Due: that day is new, or the last look is a day old, or the
-- profile is newer than it.
SELECT c.patient_key, p.patient_id, c.version, c.limits, c.profile, plan.since, agreed.activity, agreed.sleep, n.newest
FROM care_profiles c
JOIN patients p USING (patient_key)
LEFT JOIN review_looks l USING (patient_key)
CROSS JOIN LATERAL (
    SELECT max(v.valid_from) AS since FROM (
        SELECT valid_from, profile ->> 'review_by' IS NOT NULL AS planned,
               coalesce(lag(profile ->> 'review_by') OVER w IS NOT NULL AND lag(valid_to) OVER w = valid_from, false) AS goes_on
        FROM care_profiles WHERE patient_key = c.patient_key WINDOW w AS (ORDER BY version)) AS v
    WHERE v.planned AND NOT v.goes_on) AS plan
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(k.category = 'activity' AND k.stands), NOT %(require_consent)s) AS activity,
           coalesce(bool_or(k.category = 'sleep' AND k.stands), NOT %(require_consent)s) AS sleep
    FROM (SELECT category, withdrawn_at IS NULL AND valid_from <= %(now)s AND coalesce(valid_until > %(now)s, true) AS stands
          FROM consents WHERE patient_key = c.patient_key AND purpose = 'care') AS k) AS agreed
LEFT JOIN LATERAL (
    SELECT day - date '1970-01-01' AS newest FROM daily_summary
    WHERE patient_key = c.patient_key
      AND (day + 1)::timestamp AT TIME ZONE 'UTC' - coalesce(zone_offset_min, 0) * INTERVAL '1 minute' <= %(now)s
    ORDER BY day DESC LIMIT 1) AS n ON true
WHERE c.patient_key > %(after)s AND c.valid_from <= %(now)s AND (c.valid_to IS NULL OR c.valid_to > %(now)s)
  AND c.profile ->> 'review_by' IS NOT NULL
  AND (%(patient)s::text IS NULL OR p.patient_id = %(patient)s)
  AND (%(everybody)s OR l.patient_key IS NULL OR n.newest IS DISTINCT FROM l.until_day - date '1970-01-01'
       OR l.looked_at <= %(now)s - INTERVAL '1 day' OR c.valid_from > l.looked_at)
ORDER BY c.patient_key LIMIT %(limit)s;

-- name: days
-- What their days are judged by; NaN where it does not count. Steps on valid days only, as in trends.
SELECT array_agg(patient_key), array_agg(day), array_agg(zone), array_agg(steps), array_agg(midpoint), array_agg(total),
       array_agg(awake)
FROM (
    SELECT s.patient_key, s.day - date '1970-01-01' AS day, coalesce(s.zone_offset_min, 0)::integer AS zone,
           CASE WHEN s.valid_day THEN coalesce(s.steps, 'NaN') ELSE 'NaN' END AS steps,
           coalesce(s.sleep_midpoint_local_min, 'NaN') AS midpoint, coalesce(s.sleep_total_min, 'NaN') AS total,
           coalesce(s.sleep_awake_min, 'NaN') AS awake
    FROM unnest(%(patients)s::integer[], %(firsts)s::integer[], %(lasts)s::integer[]) AS d (patient_key, first, last)
    JOIN daily_summary s ON s.patient_key = d.patient_key
        AND s.day BETWEEN date '1970-01-01' + d.first AND date '1970-01-01' + d.last
    ORDER BY 1, 2) AS found;

-- name: stored
SELECT patient_key, review_id, rule, opened_at, cleared_at FROM reviews WHERE patient_key = ANY (%(patients)s::integer[])
ORDER BY patient_key, opened_at, review_id;

-- name: end
-- Reviews that nothing tells any more.
UPDATE reviews r
SET state = 'cleared', ended = e.ended, cleared_at = greatest(%(now)s, r.changed_at), changed_at = greatest(%(now)s, r.changed_at),
    stored_at = %(now)s
FROM unnest(%(reviews)s::text[], %(endeds)s::text[]) AS e (review_id, ended)
WHERE r.review_id = e.review_id AND r.state = 'raised';

-- name: put
-- What ended comes first: one of a rule is open at a time. What is past stays on the list on which it stood.
INSERT INTO reviews AS r (review_id, patient_key, rule, rule_version, metric, metrics, state, opened_at, raised_at, changed_at,
                          cleared_at, ended, review_by, policy, sentence, evidence, stored_at)
SELECT id, patient, rule, version, metric, string_to_array(metrics, ','), state, opened, raised, changed,
       CASE WHEN state = 'cleared' THEN changed END, CASE WHEN state = 'cleared' THEN 'usual_again' END, by, policy, sentence,
       evidence::jsonb, %(now)s
FROM unnest(%(ids)s::text[], %(patients)s::integer[], %(rules)s::text[], %(versions)s::integer[], %(metrics)s::text[],
            %(all_metrics)s::text[], %(states)s::text[], %(opened)s::timestamptz[], %(raised)s::timestamptz[],
            %(changed)s::timestamptz[], %(bys)s::text[], %(policies)s::text[], %(sentences)s::text[], %(evidence)s::text[])
    AS n (id, patient, rule, version, metric, metrics, state, opened, raised, changed, by, policy, sentence, evidence)
ORDER BY state, id
ON CONFLICT (review_id) DO UPDATE SET
    rule_version = excluded.rule_version, state = excluded.state, opened_at = excluded.opened_at,
    raised_at = excluded.raised_at, changed_at = excluded.changed_at, cleared_at = excluded.cleared_at,
    ended = excluded.ended, policy = excluded.policy, sentence = excluded.sentence, evidence = excluded.evidence,
    stored_at = excluded.stored_at,
    review_by = CASE WHEN excluded.state = 'raised' THEN excluded.review_by ELSE r.review_by END
WHERE (r.state, r.opened_at, r.raised_at, r.changed_at, r.ended, r.sentence, r.evidence)
      IS DISTINCT FROM (excluded.state, excluded.opened_at, excluded.raised_at, excluded.changed_at, excluded.ended,
                        excluded.sentence, excluded.evidence)
   OR (excluded.state = 'raised' AND r.review_by <> excluded.review_by);

-- name: note_looks
INSERT INTO review_looks AS l (patient_key, looked_at, until_day, activity_days, sleep_days, needed_days)
SELECT patient, %(now)s, date '1970-01-01' + nullif(until, -1), activity, sleep, needed
FROM unnest(%(patients)s::integer[], %(untils)s::integer[], %(activities)s::integer[], %(sleeps)s::integer[],
            %(needed)s::integer[]) AS n (patient, until, activity, sleep, needed)
ORDER BY patient
ON CONFLICT (patient_key) DO UPDATE SET looked_at = excluded.looked_at, until_day = excluded.until_day,
    activity_days = excluded.activity_days, sleep_days = excluded.sleep_days, needed_days = excluded.needed_days;

-- name: end_without_plan
-- No profile that holds names a clinician any more: what was open is closed where it stood, and nothing new is looked for.
UPDATE reviews r
SET state = 'cleared', ended = 'not_looked_for', cleared_at = greatest(%(now)s, changed_at),
    changed_at = greatest(%(now)s, changed_at), stored_at = %(now)s
WHERE state = 'raised'
  AND (%(patient)s::text IS NULL OR patient_key = (SELECT patient_key FROM patients WHERE patient_id = %(patient)s))
  AND NOT EXISTS (
    SELECT FROM care_profiles c
    WHERE c.patient_key = r.patient_key AND c.valid_from <= %(now)s AND (c.valid_to IS NULL OR c.valid_to > %(now)s)
      AND c.profile ->> 'review_by' IS NOT NULL);

-- name: listed
-- One clinician's list: what lasts, if the profile that holds names them (the next look moves it otherwise); with everything also
-- what ended while it was theirs.
SELECT r.review_id, p.patient_id, r.rule, r.rule_version, r.state, r.opened_at, r.raised_at, r.cleared_at, r.ended, r.sentence,
       r.evidence, r.policy, r.seen_by, r.seen_at
FROM reviews r JOIN patients p USING (patient_key)
WHERE r.review_by = %(who)s AND CASE r.state WHEN 'cleared' THEN %(everything)s ELSE EXISTS (
    SELECT FROM care_profiles c
    WHERE c.patient_key = r.patient_key AND c.valid_from <= now() AND (c.valid_to IS NULL OR c.valid_to > now())
      AND c.profile ->> 'review_by' = %(who)s) END
ORDER BY r.raised_at DESC, r.review_id;

-- name: looks
-- Those who are under a plan with this clinician, and how far their days were looked at.
SELECT p.patient_id, l.looked_at, l.until_day, l.activity_days, l.sleep_days, l.needed_days
FROM care_profiles c JOIN patients p USING (patient_key) LEFT JOIN review_looks l USING (patient_key)
WHERE c.valid_from <= now() AND (c.valid_to IS NULL OR c.valid_to > now()) AND c.profile ->> 'review_by' = %(who)s
ORDER BY p.patient_id;

-- name: find
-- By the first characters of its id, and only on the list of who asks.
SELECT review_id FROM reviews r
WHERE left(review_id, length(%(review)s)) = %(review)s AND review_by = %(who)s AND (r.state = 'cleared' OR EXISTS (
    SELECT FROM care_profiles c
    WHERE c.patient_key = r.patient_key AND c.valid_from <= now() AND (c.valid_to IS NULL OR c.valid_to > now())
      AND c.profile ->> 'review_by' = %(who)s))
LIMIT 2;

-- name: seen
-- Who looked first stays.
UPDATE reviews SET seen_by = %(who)s, seen_at = now() WHERE review_id = %(review)s AND review_by = %(who)s AND seen_at IS NULL;
