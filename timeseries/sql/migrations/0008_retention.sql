-- The first retention policies at work: what `retention_policies` lets go is deleted, a day's slice a transaction, so
-- that no lock is held for long and an interrupted run goes on where it stopped. Classes without a `drop_after` stay.

CREATE PROCEDURE apply_retention(job_id integer DEFAULT 0, config jsonb DEFAULT '{}')
LANGUAGE plpgsql AS $$
DECLARE
    policy record;
    slice timestamptz;
    horizon timestamptz;
BEGIN
    FOR policy IN SELECT retention_class, drop_after FROM retention_policies
                  WHERE tier = 'raw' AND drop_after IS NOT NULL ORDER BY retention_class
    LOOP
        horizon := date_trunc('day', now() - policy.drop_after);
        IF policy.retention_class = 'quarantine' THEN
            DELETE FROM quarantine WHERE recorded_at < horizon;
            DELETE FROM quarantine_records WHERE recorded_at < horizon;
            COMMIT;
        ELSIF policy.retention_class = 'waveform' THEN
            CALL apply_waveform_retention();
        ELSE
            LOOP
                SELECT min(s.time) INTO slice FROM samples s JOIN metrics m USING (metric_key)
                WHERE m.retention_class = policy.retention_class AND s.time < horizon;
                EXIT WHEN slice IS NULL;
                DELETE FROM samples s USING metrics m
                WHERE s.metric_key = m.metric_key AND m.retention_class = policy.retention_class
                  AND s.time >= slice AND s.time < least(horizon, slice + INTERVAL '1 day');
                COMMIT;
            END LOOP;
        END IF;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE apply_retention IS 'Deletes what retention_policies no longer keeps; TimescaleDB runs it daily, elsewhere `vigil db lifecycle --run` does.';

CREATE VIEW retention_due AS
SELECT p.retention_class, p.tier, p.drop_after,
       CASE p.retention_class
            WHEN 'quarantine'
            THEN (SELECT count(*) FROM quarantine_records q WHERE q.recorded_at < date_trunc('day', now() - p.drop_after))
            WHEN 'waveform'
            THEN (SELECT count(*) FROM waveforms w WHERE w.time < date_trunc('day', now() - p.drop_after))
            ELSE (SELECT count(*) FROM samples s JOIN metrics m USING (metric_key)
                  WHERE m.retention_class = p.retention_class AND s.time < date_trunc('day', now() - p.drop_after))
       END AS rows_due
FROM retention_policies p;
COMMENT ON VIEW retention_due IS 'What each retention policy would delete now; NULL drop_after: nothing, for ever.';
