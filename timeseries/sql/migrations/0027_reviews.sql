-- What a named clinician may want to look at: changes of behaviour over days to weeks, under a plan agreed with the patient.
-- Reviews are no alerts: no topic, notification, console or view has them, and no role but the owner reads them.
-- Decision: docs/detectors.md, "Sleep and activity over weeks".
-- phase: pre
-- locks: none that anybody waits for: two new tables, and a function that only the lifecycle calls is replaced.

CREATE TABLE reviews (
    review_id    text PRIMARY KEY CHECK (review_id ~ '^[0-9a-f]{32}$'),
    patient_key  integer NOT NULL REFERENCES patients,
    rule         text NOT NULL CHECK (rule <> ''),
    rule_version integer NOT NULL CHECK (rule_version > 0),
    metric       text NOT NULL,
    metrics      text[] NOT NULL CHECK (metric = ANY (metrics)),
    state        text NOT NULL CHECK (state IN ('raised', 'cleared')),
    opened_at    timestamptz NOT NULL,
    raised_at    timestamptz NOT NULL,
    changed_at   timestamptz NOT NULL,
    cleared_at   timestamptz,
    ended        text CHECK (ended IN ('usual_again', 'joined', 'corrected', 'not_looked_for')),
    review_by    text NOT NULL CHECK (review_by <> ''),
    policy       text NOT NULL,
    sentence     text NOT NULL CHECK (sentence <> ''),
    evidence     jsonb NOT NULL CHECK (jsonb_typeof(evidence) = 'object'),
    seen_by      text CHECK (seen_by <> ''),
    seen_at      timestamptz,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (opened_at <= raised_at AND raised_at <= changed_at),
    CHECK ((state = 'cleared') = (cleared_at IS NOT NULL) AND (state = 'cleared') = (ended IS NOT NULL)),
    CHECK (num_nulls(seen_by, seen_at) IN (0, 2))
);
-- Late and corrected days may move when a change began: it stays the same review.
CREATE UNIQUE INDEX reviews_one_open ON reviews (patient_key, rule) WHERE state = 'raised';
CREATE INDEX reviews_patient ON reviews (patient_key, opened_at);
CREATE INDEX reviews_listed ON reviews (review_by, raised_at);
COMMENT ON TABLE reviews IS 'A change of sleep or activity against the person''s own usual days, for the review list of the clinician whom the care profile names (review_by); of nobody else it is looked for. It goes nowhere by itself. Informs; it does not diagnose.';
COMMENT ON COLUMN reviews.review_id IS 'Hash of patient, rule, metric and when it opened as it was first told: whoever looks at the same days again finds its row.';
COMMENT ON COLUMN reviews.patient_key IS 'Whose days changed.';
COMMENT ON COLUMN reviews.rule IS 'What was looked for: activity_changed, sleep_timing_changed, sleep_length_changed, sleep_broken, less_activity_and_later_sleep. One of a rule is open at a time.';
COMMENT ON COLUMN reviews.rule_version IS 'Version of the rule that told it last.';
COMMENT ON COLUMN reviews.metric IS 'The metric that it is filed under.';
COMMENT ON COLUMN reviews.metrics IS 'All metrics that it is made of: if a class of any of them is erased, so is the review.';
COMMENT ON COLUMN reviews.state IS 'raised: it lasts; cleared: it ended, see ended.';
COMMENT ON COLUMN reviews.opened_at IS 'Beginning of the wearer''s day on which it began to add up; late or corrected days may move it.';
COMMENT ON COLUMN reviews.raised_at IS 'End of the day on which it was enough.';
COMMENT ON COLUMN reviews.changed_at IS 'When it came into its state.';
COMMENT ON COLUMN reviews.cleared_at IS 'End of the day on which it was as usual again; if it ended for another reason, when that was found. NULL while it lasts.';
COMMENT ON COLUMN reviews.ended IS 'usual_again: the days are as usual. joined: told on as less_activity_and_later_sleep. corrected: late or corrected days show no such change. not_looked_for: the plan or the consent ended. NULL while it lasts.';
COMMENT ON COLUMN reviews.review_by IS 'Opaque id of the clinician on whose list it stands: whom the care profile names while it lasts.';
COMMENT ON COLUMN reviews.policy IS 'Policy and version that it was last judged by.';
COMMENT ON COLUMN reviews.sentence IS 'What is seen, in plain words; never a disorder, never a name. Refreshed while it lasts.';
COMMENT ON COLUMN reviews.evidence IS '{"since", "unit", "figures": {name: number}, "readings": [{"at", "value"}]}: the wearer''s day on which it began, what is usual, what it is since, how unusual that is, and the newest days. Refreshed while it lasts.';
COMMENT ON COLUMN reviews.seen_by IS 'Opaque id of who looked at it first: the clinician on whose list it stood then.';
COMMENT ON COLUMN reviews.seen_at IS 'When they said so.';
COMMENT ON COLUMN reviews.stored_at IS 'When the row was last written by the look at the days.';

CREATE TABLE review_looks (
    patient_key   integer PRIMARY KEY REFERENCES patients,
    looked_at     timestamptz NOT NULL,
    until_day     date,
    activity_days integer NOT NULL CHECK (activity_days >= 0),
    sleep_days    integer NOT NULL CHECK (sleep_days >= 0),
    needed_days   integer NOT NULL CHECK (needed_days > 0)
);
COMMENT ON TABLE review_looks IS 'When the days of a person under a plan were last looked at, and whether enough of them are known: an empty review list alone would not say that anybody looked.';
COMMENT ON COLUMN review_looks.patient_key IS 'Whose days.';
COMMENT ON COLUMN review_looks.looked_at IS 'When.';
COMMENT ON COLUMN review_looks.until_day IS 'The newest day that was over. NULL: there was none.';
COMMENT ON COLUMN review_looks.activity_days IS 'Days with enough wear and a number of steps, since 90 days before the plan.';
COMMENT ON COLUMN review_looks.sleep_days IS 'Days with a night that was told, since then.';
COMMENT ON COLUMN review_looks.needed_days IS 'So many are learned before anything is judged.';

CREATE OR REPLACE FUNCTION drop_audit(horizon timestamptz, at_most integer DEFAULT 50000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    notes    bigint;
    attempts bigint;
    cleared  bigint;
    reviewed bigint;
BEGIN
    PERFORM lock_holds();
    WITH gone AS (
        DELETE FROM notifications WHERE ctid = ANY (ARRAY (
            SELECT n.ctid FROM notifications n
            WHERE n.stored_at < horizon AND n.patient_id NOT IN (SELECT patient_id FROM patients_on_hold) LIMIT at_most))
        RETURNING notification_id
    ), told AS (
        DELETE FROM delivery_attempts a USING gone g WHERE a.notification_id = g.notification_id
    )
    SELECT count(*) INTO notes FROM gone;
    -- Attempts whose notification never came or went before them speak of nobody any more.
    DELETE FROM delivery_attempts WHERE ctid = ANY (ARRAY (
        SELECT a.ctid FROM delivery_attempts a
        WHERE a.stored_at < horizon
          AND NOT EXISTS (SELECT FROM notifications n WHERE n.notification_id = a.notification_id) LIMIT at_most));
    GET DIAGNOSTICS attempts = ROW_COUNT;
    DELETE FROM alerts WHERE ctid = ANY (ARRAY (
        SELECT a.ctid FROM alerts a
        WHERE a.stored_at < horizon AND a.state = 'cleared'
          AND a.patient_id NOT IN (SELECT patient_id FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS cleared = ROW_COUNT;
    DELETE FROM reviews WHERE ctid = ANY (ARRAY (
        SELECT r.ctid FROM reviews r
        WHERE r.stored_at < horizon AND r.state = 'cleared'
          AND r.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS reviewed = ROW_COUNT;
    RETURN notes + attempts + cleared + reviewed + drop_rows('sample_revisions', 'superseded_at', horizon, NULL, at_most);
END
$$;
COMMENT ON FUNCTION drop_audit IS 'Cleared alerts and reviews, notifications, attempts, and older versions of samples. An alert or a review that is open stays, however old.';
COMMENT ON COLUMN lifecycle_policies.retention_class IS 'A class of the metric catalogue, or waveform, quarantine, audit (alerts, reviews, notifications, attempts, revisions), evidence, sample_ids or deletions.';
