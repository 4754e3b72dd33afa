-- Stock PostgreSQL: a plain table with the same unique identity, and a procedure in the place of native retention.

CREATE UNIQUE INDEX waveforms_identity ON waveforms (patient_key, metric_key, origin_key, channel, time);
CREATE INDEX waveforms_time ON waveforms USING brin (time);

CREATE PROCEDURE apply_waveform_retention()
LANGUAGE plpgsql AS $$
DECLARE
    horizon timestamptz;
    slice timestamptz;
BEGIN
    SELECT date_trunc('day', now() - drop_after) INTO horizon
    FROM retention_policies WHERE retention_class = 'waveform' AND tier = 'raw';
    LOOP
        SELECT min(time) INTO slice FROM waveforms WHERE time < horizon;
        EXIT WHEN slice IS NULL;
        DELETE FROM waveforms WHERE time >= slice AND time < least(horizon, slice + INTERVAL '1 day');
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE apply_waveform_retention IS 'Deletes waveforms beyond their retention, a day a transaction.';
