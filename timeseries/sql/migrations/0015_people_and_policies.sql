-- What is known about people beside their samples: who wore which device when, what was noted about a stretch of time,
-- which limits are a person's own, the raw samples around each alert, and who must be kept for a legal matter. Then how
-- long everything is kept, as data: policies by class and tier, the state of each raw day, and the functions that let go
-- of what has no chunks. Those for samples, waveforms and rollups follow in 0016, one file a mode.
--
-- phase: pre
-- locks: ACCESS EXCLUSIVE, then SHARE, on alerts for as long as it takes to index it (a second for some millions of rows).

-- What is told about a person ends, it is never told otherwise: only the end of a row may be set, and only once.
CREATE FUNCTION only_ends() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := to_jsonb(OLD);
    after  jsonb := to_jsonb(NEW);
BEGIN
    IF before - TG_ARGV <> after - TG_ARGV OR before -> TG_ARGV[0] <> 'null' THEN
        RAISE EXCEPTION '% keeps its history: end a row by setting % once, and add a new row', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION only_ends IS 'Trigger: of a row only the columns named in the trigger may be set, and only while the first of them is NULL.';

CREATE FUNCTION never_goes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% keeps every row for ever', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
COMMENT ON FUNCTION never_goes IS 'Trigger: no row is deleted.';

CREATE TABLE device_bindings (
    binding_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_key  integer NOT NULL REFERENCES devices,
    patient_key integer NOT NULL REFERENCES patients,
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz CONSTRAINT device_bindings_end_after_start CHECK (valid_to > valid_from),
    bound_by    text NOT NULL CHECK (bound_by <> ''),
    bound_at    timestamptz NOT NULL DEFAULT now(),
    -- A one-number range in the place of the key: the equality operator would need the extension btree_gist.
    CONSTRAINT device_bindings_one_wearer EXCLUDE USING gist (
        int4range(device_key, device_key, '[]') WITH &&, tstzrange(valid_from, valid_to) WITH &&)
);
CREATE INDEX device_bindings_patient ON device_bindings (patient_key, valid_from);
CREATE TRIGGER only_ends BEFORE UPDATE ON device_bindings FOR EACH ROW EXECUTE FUNCTION only_ends('valid_to');
COMMENT ON TABLE device_bindings IS 'Who wore a device from when to when; at one time a device has one wearer.';
COMMENT ON COLUMN device_bindings.valid_from IS 'The first moment of the binding, in the device''s event time; valid_to is the first moment after it, NULL while it lasts.';
COMMENT ON COLUMN device_bindings.bound_by IS 'Opaque id of the person or program that said so.';

CREATE TABLE annotations (
    annotation_key text PRIMARY KEY CHECK (annotation_key <> ''),
    patient_key    integer NOT NULL,
    metric_key     smallint,
    from_time      timestamptz NOT NULL,
    to_time        timestamptz NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('anomaly', 'trend', 'correlation', 'activity', 'environment', 'report')),
    source         text NOT NULL,
    rule           text,
    rule_version   integer,
    label          text NOT NULL,
    detail         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object'),
    created_at     timestamptz NOT NULL DEFAULT now(),
    retracted_at   timestamptz,
    CHECK (to_time >= from_time),
    CHECK ((rule IS NULL) = (rule_version IS NULL))
);
CREATE INDEX annotations_patient ON annotations (patient_key, from_time, to_time) WHERE retracted_at IS NULL;
COMMENT ON TABLE annotations IS 'Notes on a stretch of a person''s time: anomaly flags, trends, correlations, activity, environment, what the wearer reported.';
COMMENT ON COLUMN annotations.annotation_key IS 'Chosen by the writer from what was found: whoever finds it again writes the same row.';
COMMENT ON COLUMN annotations.metric_key IS 'The metric it speaks of; NULL: the person, not a metric.';
COMMENT ON COLUMN annotations.kind IS 'A correlation says "coincides with", never "is caused by".';
COMMENT ON COLUMN annotations.source IS 'Who found it: a detector, a device, the wearer, an opaque id of a person.';
COMMENT ON COLUMN annotations.label IS 'What is seen, in the words of the rule; never a diagnosis, never a name.';
COMMENT ON COLUMN annotations.retracted_at IS 'Taken back then; readers leave it out, the row stays.';

CREATE TABLE care_profiles (
    patient_key integer NOT NULL REFERENCES patients,
    version     integer NOT NULL CHECK (version > 0),
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz CONSTRAINT care_profiles_end_after_start CHECK (valid_to > valid_from),
    limits      jsonb NOT NULL CHECK (jsonb_typeof(limits) = 'object'),
    created_by  text NOT NULL CHECK (created_by <> ''),
    created_at  timestamptz NOT NULL DEFAULT now(),
    reason      text NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (patient_key, version),
    CONSTRAINT care_profiles_one_at_a_time EXCLUDE USING gist (
        int4range(patient_key, patient_key, '[]') WITH &&, tstzrange(valid_from, valid_to) WITH &&)
);
CREATE TRIGGER only_ends BEFORE UPDATE ON care_profiles FOR EACH ROW EXECUTE FUNCTION only_ends('valid_to');
COMMENT ON TABLE care_profiles IS 'A person''s own limits, by version: one holds at a time, and what held then can be read for ever.';
COMMENT ON COLUMN care_profiles.limits IS 'By metric code: {"spo2": {"low": 88}}; units are the catalogue''s.';
COMMENT ON COLUMN care_profiles.created_by IS 'Opaque id of the clinician who set them.';

CREATE TABLE alert_evidence (
    alert_id    text PRIMARY KEY,
    patient_key integer NOT NULL,
    from_time   timestamptz NOT NULL,
    to_time     timestamptz NOT NULL,
    taken_at    timestamptz NOT NULL DEFAULT now(),
    snapshot    jsonb NOT NULL
);
CREATE INDEX alert_evidence_taken ON alert_evidence (taken_at);
COMMENT ON TABLE alert_evidence IS 'The raw samples around an alert as they stood when it was new: they outlive the raw tier, by a policy of their own.';
COMMENT ON COLUMN alert_evidence.from_time IS '15 minutes before the alert was opened; to_time is 5 minutes after it was raised.';
COMMENT ON COLUMN alert_evidence.snapshot IS '{"series": [{"metric", "unit", "device_id", "source_app", "samples", "offset_us": [...], "duration_ms": [...], "value": [...], "quality": [...], "context": [...]}]}: offsets from from_time; "samples" is how many there were, the arrays hold those nearest to the alert.';

-- Noted at the alert itself, so that evidence which its policy let go is not taken again.
ALTER TABLE alerts ADD COLUMN evidence_taken boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN alerts.evidence_taken IS 'alert_evidence had a row for this alert, though its policy may have let it go since.';
CREATE INDEX alerts_without_evidence ON alerts (raised_at) WHERE NOT evidence_taken;

CREATE TABLE legal_holds (
    hold_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_key integer NOT NULL REFERENCES patients,
    reason      text NOT NULL CHECK (reason <> ''),
    placed_by   text NOT NULL CHECK (placed_by <> ''),
    placed_at   timestamptz NOT NULL DEFAULT now(),
    lifted_by   text CHECK (lifted_by <> ''),
    lifted_at   timestamptz CHECK (lifted_at >= placed_at),
    lift_reason text CHECK (lift_reason <> ''),
    CHECK (num_nulls(lifted_by, lifted_at, lift_reason) IN (0, 3))
);
CREATE INDEX legal_holds_standing ON legal_holds (patient_key) WHERE lifted_at IS NULL;
CREATE TRIGGER only_ends BEFORE UPDATE ON legal_holds
    FOR EACH ROW EXECUTE FUNCTION only_ends('lifted_at', 'lifted_by', 'lift_reason');
CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON legal_holds FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE legal_holds IS 'While a hold stands nothing of its patient is dropped or erased, whatever a policy says. Several may stand at once; each is lifted by itself. Rows are never deleted.';
COMMENT ON COLUMN legal_holds.reason IS 'The number of the matter; never a name.';
COMMENT ON COLUMN legal_holds.placed_by IS 'Opaque id of the person who placed it; lifted_by of who lifted it.';

CREATE VIEW patients_on_hold AS
SELECT patient_key, p.patient_id FROM patients p
WHERE EXISTS (SELECT FROM legal_holds h WHERE h.patient_key = p.patient_key AND h.lifted_at IS NULL);
COMMENT ON VIEW patients_on_hold IS 'Whose data nothing may drop or erase now. Whoever drops locks legal_holds in SHARE mode first and reads this after it: a hold waits for the step under way, and no step overtakes a hold.';

-- How long each class stays in each tier.

CREATE TABLE lifecycle_policies (
    retention_class   text NOT NULL,
    tier              text NOT NULL CHECK (tier IN ('raw', 'archive', 'minute', 'quarter', 'hour', 'day')),
    columnstore_after interval CHECK (columnstore_after >= INTERVAL '0' AND isfinite(columnstore_after)),
    archive_after     interval CHECK (archive_after >= INTERVAL '1 day' AND isfinite(archive_after)),
    drop_after        interval CHECK (drop_after >= INTERVAL '1 day' AND isfinite(drop_after)),
    PRIMARY KEY (retention_class, tier),
    CONSTRAINT lifecycle_policies_raw_only CHECK (tier = 'raw' OR num_nonnulls(columnstore_after, archive_after) = 0),
    -- Added to a day, because a year counts 360 days where intervals are compared.
    CONSTRAINT lifecycle_policies_archive_before_drop
        CHECK (TIMESTAMP '2001-01-01' + archive_after < TIMESTAMP '2001-01-01' + drop_after)
);
COMMENT ON TABLE lifecycle_policies IS 'After what age the data of a class leave a tier. No row, or NULL: never. Ages count from the beginning of the UTC day.';
COMMENT ON COLUMN lifecycle_policies.retention_class IS 'A class of the metric catalogue, or waveform, quarantine, audit (alerts, notifications, attempts, revisions) or evidence.';
COMMENT ON COLUMN lifecycle_policies.tier IS 'raw: rows as they came; archive: Parquet files; minute, quarter, hour, day: rollups.';
COMMENT ON COLUMN lifecycle_policies.columnstore_after IS 'TimescaleDB only. A chunk of samples holds all classes and follows the longest.';
COMMENT ON COLUMN lifecycle_policies.drop_after IS 'Raw samples are dropped no sooner than they are archived, verified and rolled up, however late that is.';

CREATE FUNCTION check_lifecycle_policies() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched text := coalesce(NEW.retention_class, OLD.retention_class);
    raw     lifecycle_policies;
    coarser record;
    epoch   CONSTANT timestamp := '2001-01-01';
BEGIN
    SELECT * INTO raw FROM lifecycle_policies WHERE retention_class = touched AND tier = 'raw';
    IF touched IN ('waveform', 'quarantine', 'audit', 'evidence') THEN
        IF raw.archive_after IS NOT NULL THEN
            RAISE EXCEPTION '% has no archive: archive_after must be NULL', touched USING ERRCODE = 'check_violation';
        END IF;
    ELSIF raw.drop_after IS NOT NULL AND raw.archive_after IS NULL THEN
        RAISE EXCEPTION 'raw samples of % would be dropped after % and never archived', touched, raw.drop_after
            USING ERRCODE = 'check_violation', HINT = 'Set archive_after, to less than drop_after.';
    ELSIF epoch + raw.drop_after < epoch + INTERVAL '14 days' THEN
        RAISE EXCEPTION 'raw samples of % would be dropped after %: rollups of the newest week are still being made', touched, raw.drop_after
            USING ERRCODE = 'check_violation', HINT = 'Keep raw samples for 14 days or longer.';
    END IF;
    -- Each tier is kept at least as long as the finer one that it can be made from.
    FOR coarser IN
        SELECT tier, drop_after, lag(tier) OVER finer AS finer_tier, lag(drop_after) OVER finer AS finer_after
        FROM lifecycle_policies WHERE retention_class = touched AND tier <> 'archive'
        WINDOW finer AS (ORDER BY array_position(ARRAY['raw', 'minute', 'quarter', 'hour', 'day'], tier))
        UNION ALL
        SELECT tier, drop_after, 'raw', raw.drop_after
        FROM lifecycle_policies WHERE retention_class = touched AND tier = 'archive' AND raw.tier IS NOT NULL
    LOOP
        IF coarser.finer_tier IS NOT NULL AND epoch + coarser.drop_after < coalesce(epoch + coarser.finer_after, 'infinity') THEN
            RAISE EXCEPTION 'tier % of % would be kept for %, shorter than tier % (%)', coarser.tier, touched,
                coarser.drop_after, coarser.finer_tier, coalesce(coarser.finer_after::text, 'for ever')
                USING ERRCODE = 'check_violation',
                HINT = 'Change both in one statement, or in one transaction after SET CONSTRAINTS ALL DEFERRED.';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER check_lifecycle_policies AFTER INSERT OR UPDATE ON lifecycle_policies
    DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION check_lifecycle_policies();

-- What the old table said is taken over. Classes that waited for an archive (NULL) get the defaults: nothing of them is
-- dropped before it is in an archive that somebody has set up.
INSERT INTO lifecycle_policies (retention_class, tier, columnstore_after, archive_after, drop_after)
SELECT c.retention_class, 'raw', INTERVAL '7 days',
       CASE WHEN p.drop_after < INTERVAL '2 years' THEN p.drop_after / 2 ELSE INTERVAL '1 year' END,
       greatest(coalesce(p.drop_after, INTERVAL '2 years'), INTERVAL '14 days')
FROM unnest(ARRAY['vital', 'activity', 'sleep', 'reported', 'technical']) AS c (retention_class)
LEFT JOIN retention_policies p ON p.retention_class = c.retention_class AND p.tier = 'raw';
INSERT INTO lifecycle_policies (retention_class, tier, columnstore_after, drop_after)
SELECT c.retention_class, 'raw', c.columnstore_after, coalesce(p.drop_after, c.drop_after)
FROM (VALUES ('waveform', INTERVAL '2 days', NULL), ('quarantine', NULL, NULL),
             ('audit', NULL, INTERVAL '7 years'), ('evidence', NULL, INTERVAL '7 years'))
     AS c (retention_class, columnstore_after, drop_after)
LEFT JOIN retention_policies p ON p.retention_class = c.retention_class AND p.tier = 'raw';
INSERT INTO lifecycle_policies (retention_class, tier, drop_after)
SELECT r.retention_class, t.tier, greatest(t.drop_after, r.drop_after)
FROM lifecycle_policies r
CROSS JOIN (VALUES ('archive', INTERVAL '5 years'), ('minute', INTERVAL '10 years'), ('quarter', INTERVAL '10 years'),
                   ('hour', INTERVAL '10 years'), ('day', INTERVAL '10 years')) AS t (tier, drop_after)
WHERE r.archive_after IS NOT NULL;

CREATE TABLE raw_days (
    retention_class text NOT NULL,
    utc_day         date NOT NULL,
    state           text NOT NULL CHECK (state IN ('archived', 'late', 'moved', 'dropped')),
    held_patients   integer[] NOT NULL DEFAULT '{}',
    changed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (retention_class, utc_day)
);
COMMENT ON TABLE raw_days IS 'How far the life of a class''s samples of one UTC day has come; Vigil''s command line writes it, the database''s own job reads it.';
COMMENT ON COLUMN raw_days.state IS 'archived: in verified files, when it was looked at; moved: and their rollups are history; dropped: and gone from samples, but for those of held_patients. late: samples came after that, and are not yet in the archive and in the history; then it is moved again.';
COMMENT ON COLUMN raw_days.held_patients IS 'Who was on hold when the rows of the others were dropped: theirs go after the hold was lifted.';

CREATE VIEW raw_days_to_drop AS
SELECT retention_class, utc_day FROM raw_days d
WHERE state = 'moved' OR (state = 'dropped' AND EXISTS (
    SELECT FROM unnest(held_patients) AS held WHERE held NOT IN (SELECT patient_key FROM patients_on_hold)));
COMMENT ON VIEW raw_days_to_drop IS 'Days that are archived and in the history and still have rows in samples that no hold keeps.';

-- The refresh of the rollups passes over what lies below a horizon, and forgets that it was dirty. Here it is remembered.
CREATE TABLE late_hours (
    patient_key integer NOT NULL,
    hour        timestamptz NOT NULL,
    noted_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (patient_key, hour)
);
COMMENT ON TABLE late_hours IS 'Hours below a raw horizon in which samples came, changed or went: their archive and their history are brought up to date by `vigil db lifecycle --run`.';

CREATE FUNCTION note_late_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO late_hours AS l (patient_key, hour)
    SELECT patient_key, hour FROM forgotten
    WHERE hour < (SELECT max(horizon) FROM raw_horizons)
    ORDER BY 1, 2
    ON CONFLICT (patient_key, hour) DO UPDATE SET noted_at = excluded.noted_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_late_hours AFTER DELETE ON dirty_ranges
    REFERENCING OLD TABLE AS forgotten FOR EACH STATEMENT EXECUTE FUNCTION note_late_hours();

-- Letting go, one at a time, whoever does it. Each drop_... deletes one slice and returns how many rows that was; 0 means
-- that nothing is left to do.

CREATE FUNCTION lifecycle_horizon(of_class text, of_tier text, moment timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT date_trunc('day', moment AT TIME ZONE 'UTC' - drop_after) AT TIME ZONE 'UTC'
    FROM lifecycle_policies WHERE retention_class = of_class AND tier = of_tier
$$;
COMMENT ON FUNCTION lifecycle_horizon IS 'What is older than this leaves the tier; NULL: nothing does.';

CREATE FUNCTION lifecycle_key() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 508656969827::bigint $$;
COMMENT ON FUNCTION lifecycle_key IS 'The advisory lock of whoever works on the life of data: one run or job at a time.';

CREATE FUNCTION metrics_of(of_class text) RETURNS smallint[]
LANGUAGE sql STABLE AS $$ SELECT coalesce(array_agg(metric_key), '{}') FROM metrics WHERE retention_class = of_class $$;

CREATE FUNCTION lock_holds() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'holds are read after they were locked: that takes a transaction that is read committed';
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    LOCK TABLE legal_holds IN SHARE MODE;
END
$$;
COMMENT ON FUNCTION lock_holds IS 'Until this transaction ends nobody places or lifts a hold; gives up after 5 s, as every lock after it in the transaction does.';

CREATE FUNCTION drop_rows(of_table regclass, time_column name, horizon timestamptz, of_metrics smallint[] DEFAULT NULL,
                          at_most integer DEFAULT 50000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
BEGIN
    PERFORM lock_holds();
    EXECUTE format(
        'DELETE FROM %1$s WHERE ctid = ANY (ARRAY (SELECT ctid FROM %1$s WHERE %2$I < $1 %3$s '
        'AND NOT EXISTS (SELECT FROM patients_on_hold h WHERE h.patient_key = %1$s.patient_key) LIMIT $3))',
        of_table, time_column, CASE WHEN of_metrics IS NOT NULL THEN 'AND metric_key = ANY ($2)' ELSE '' END)
        USING horizon, of_metrics, at_most;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION drop_rows IS 'Of a plain table with patient_key: up to at_most rows from before the horizon, of nobody on hold.';

CREATE FUNCTION drop_quarantine(horizon timestamptz, at_most integer DEFAULT 50000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    rejected bigint;
    records  bigint;
BEGIN
    PERFORM lock_holds();
    DELETE FROM quarantine WHERE ctid = ANY (ARRAY (
        SELECT q.ctid FROM quarantine q LEFT JOIN quarantine_records r USING (topic, partition, epoch, "offset")
        WHERE q.recorded_at < horizon AND NOT EXISTS (
            SELECT FROM patients_on_hold h WHERE h.patient_id = r.patient_id OR convert_to(h.patient_id, 'UTF8') = r.key)
        LIMIT at_most));
    GET DIAGNOSTICS rejected = ROW_COUNT;
    DELETE FROM quarantine_records WHERE ctid = ANY (ARRAY (
        SELECT r.ctid FROM quarantine_records r
        WHERE r.recorded_at < horizon
          AND NOT EXISTS (SELECT FROM quarantine q WHERE (q.topic, q.partition, q.epoch, q."offset")
                                                       = (r.topic, r.partition, r.epoch, r."offset"))
          AND NOT EXISTS (SELECT FROM patients_on_hold h
                          WHERE h.patient_id = r.patient_id OR convert_to(h.patient_id, 'UTF8') = r.key)
        LIMIT at_most));
    GET DIAGNOSTICS records = ROW_COUNT;
    RETURN rejected + records;
END
$$;
COMMENT ON FUNCTION drop_quarantine IS 'Rejections, and raw records of which no rejection is left; a hold finds its patient by the record''s id or key.';

CREATE FUNCTION drop_audit(horizon timestamptz, at_most integer DEFAULT 50000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    notes    bigint;
    attempts bigint;
    cleared  bigint;
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
    RETURN notes + attempts + cleared + drop_rows('sample_revisions', 'superseded_at', horizon, NULL, at_most);
END
$$;
COMMENT ON FUNCTION drop_audit IS 'Cleared alerts, notifications, attempts, and older versions of samples. An alert that is open stays, however old.';

CREATE FUNCTION drop_days(of_class text, moment timestamptz, at_most integer DEFAULT 50000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    until      CONSTANT date := (lifecycle_horizon(of_class, 'day', moment) AT TIME ZONE 'UTC')::date;
    of_metrics CONSTANT smallint[] := metrics_of(of_class);
    days       bigint;
    summaries  bigint;
    trending   bigint;
    last_until date;
BEGIN
    PERFORM lock_holds();
    DELETE FROM vitals_1d WHERE ctid = ANY (ARRAY (
        SELECT d.ctid FROM vitals_1d d
        WHERE d.day < until AND d.metric_key = ANY (of_metrics)
          AND d.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS days = ROW_COUNT;
    -- What is made of all classes stays as long as the longest of them.
    SELECT CASE WHEN bool_and(drop_after IS NOT NULL)
                THEN (min(lifecycle_horizon(retention_class, 'day', moment)) AT TIME ZONE 'UTC')::date END
    INTO last_until FROM lifecycle_policies WHERE tier = 'day';
    DELETE FROM daily_summary WHERE ctid = ANY (ARRAY (
        SELECT s.ctid FROM daily_summary s
        WHERE s.day < last_until AND s.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS summaries = ROW_COUNT;
    DELETE FROM trends WHERE ctid = ANY (ARRAY (
        SELECT t.ctid FROM trends t
        WHERE t.until < last_until AND t.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS trending = ROW_COUNT;
    RETURN days + summaries + trending;
END
$$;
COMMENT ON FUNCTION drop_days IS 'Days of a class''s metrics, and summaries and trends once every class lets go of that day.';

CREATE FUNCTION drop_tier(of_class text, of_tier text, moment timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    horizon timestamptz := lifecycle_horizon(of_class, of_tier, moment);
BEGIN
    RETURN CASE
        WHEN horizon IS NULL THEN 0
        WHEN of_tier IN ('minute', 'quarter', 'hour') THEN drop_history(of_class, of_tier, moment)
        WHEN of_tier = 'day' THEN drop_days(of_class, moment)
        WHEN of_class = 'quarantine' THEN drop_quarantine(horizon)
        WHEN of_class = 'audit' THEN drop_audit(horizon)
        WHEN of_class = 'evidence' THEN drop_rows('alert_evidence', 'taken_at', horizon)
        WHEN of_class = 'waveform' THEN drop_waveforms(horizon)
        ELSE 0
    END;
END
$$;
COMMENT ON FUNCTION drop_tier IS 'One slice of what a policy lets go without an archive; raw samples are not among that. drop_history and drop_waveforms are the mode''s own.';
