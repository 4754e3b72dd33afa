-- Stock PostgreSQL lets go of rows, a slice a transaction. Only `vigil db lifecycle --run` does so: there is no job. What
-- retention_policies said was taken over by 0015; a `vigil db lifecycle` of the release before fails from here on, harmlessly.
--
-- phase: pre
-- locks: SHARE on samples and vitals_1m while their time indexes are made, one reading each: recorders wait that long.

DROP VIEW retention_due;
DROP PROCEDURE apply_retention;
DROP PROCEDURE apply_waveform_retention;
DROP TABLE retention_policies;

-- The life of data is by time, and nothing else asks for samples without naming a patient: a few pages are enough.
CREATE INDEX samples_time ON samples USING brin (time) WITH (autosummarize = on);
CREATE INDEX vitals_1m_time ON vitals_1m USING brin (bucket) WITH (autosummarize = on);
CREATE INDEX vitals_1m_history_time ON vitals_1m_history USING brin (bucket) WITH (autosummarize = on);
CREATE INDEX vitals_15m_history_time ON vitals_15m_history USING brin (bucket) WITH (autosummarize = on);
CREATE INDEX vitals_1h_history_time ON vitals_1h_history USING brin (bucket) WITH (autosummarize = on);

CREATE FUNCTION drop_horizon(of_table regclass, horizon timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT horizon
$$;
COMMENT ON FUNCTION drop_horizon IS 'Rows go one by one: up to the horizon itself.';

CREATE FUNCTION drop_raw_day(of_class text, day date, moment timestamptz DEFAULT now()) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    from_time CONSTANT timestamptz := day::timestamp AT TIME ZONE 'UTC';
    to_time   CONSTANT timestamptz := from_time + INTERVAL '24 hours';
    of_class_metrics CONSTANT smallint[] := metrics_of(of_class);
    held      integer[];
    gone      bigint;
BEGIN
    -- One snapshot for the comparison and for the deletion: what is written meanwhile is in neither, and a row that is
    -- corrected meanwhile ends this transaction. So nobody who writes has to wait.
    IF current_setting('transaction_isolation') <> 'repeatable read' THEN
        RAISE EXCEPTION 'drop_raw_day takes a transaction that is repeatable read and has locked legal_holds in SHARE MODE first';
    END IF;
    PERFORM FROM raw_days d JOIN raw_horizons h USING (retention_class)
    WHERE d.retention_class = of_class AND d.utc_day = day AND d.state IN ('moved', 'dropped') AND h.horizon >= to_time
      AND lifecycle_horizon(of_class, 'raw', moment) >= to_time;
    IF NOT FOUND OR NOT archive_covers(of_class, day) THEN
        RETURN 0;
    END IF;
    SELECT coalesce(array_agg(patient_key), '{}') INTO held FROM patients_on_hold;
    DELETE FROM samples
    WHERE time >= from_time AND time < to_time AND metric_key = ANY (of_class_metrics) AND patient_key <> ALL (held);
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE raw_days SET state = 'dropped', changed_at = now(), held_patients = ARRAY(
        SELECT DISTINCT patient_key FROM samples
        WHERE time >= from_time AND time < to_time AND metric_key = ANY (of_class_metrics))
    WHERE retention_class = of_class AND utc_day = day;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION drop_raw_day IS 'Lets go of the samples of a class''s UTC day that is due, in the history and wholly in the archive, but for those of patients on hold.';

CREATE FUNCTION drop_waveforms(horizon timestamptz) RETURNS bigint LANGUAGE sql AS $$
    SELECT drop_rows('waveforms', 'time', horizon, NULL, 5000)
$$;

CREATE FUNCTION drop_history(of_class text, of_tier text, moment timestamptz) RETURNS bigint LANGUAGE sql AS $$
    SELECT drop_rows(
        CASE of_tier WHEN 'minute' THEN 'vitals_1m_history' WHEN 'quarter' THEN 'vitals_15m_history' WHEN 'hour' THEN 'vitals_1h_history' END,
        'bucket', least(lifecycle_horizon(of_class, of_tier, moment),
                        (SELECT coalesce(max(horizon), '-infinity') FROM raw_horizons WHERE retention_class = of_class)),
        metrics_of(of_class))
$$;
