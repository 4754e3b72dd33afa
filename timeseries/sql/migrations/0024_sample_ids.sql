-- Deletions by id: under which ids senders told samples, and which ids were told to be no more. A HealthKit client hears of a
-- deleted object its UUID and nothing else. Decision: docs/decisions/0018-deletions-by-id.md.
-- phase: pre
-- locks: none that anybody waits for: two new tables, and functions that only the lifecycle calls are replaced.

-- A plain table in both modes. It is asked by id and never by time, so a hypertable would look into every chunk; ids are
-- random bytes that no columnstore makes smaller; and its rows go one by one, because a hold keeps some of them.
CREATE TABLE sample_ids (
    time        timestamptz NOT NULL,
    written_at  timestamptz NOT NULL,
    sample_id   uuid NOT NULL,
    patient_key integer NOT NULL,
    origin_key  integer NOT NULL,
    duration_ms integer NOT NULL,
    metric_key  smallint NOT NULL,
    PRIMARY KEY (patient_key, sample_id, time, metric_key, origin_key, duration_ms)
);
CREATE INDEX sample_ids_time ON sample_ids USING brin (time) WITH (autosummarize = on);
COMMENT ON TABLE sample_ids IS 'Under which id a sender told a sample. One id may name several samples (a series, both values of a blood pressure), and one sample may have been told under several ids. Only samples that came with an id have a row, written in the transaction that stores them.';
COMMENT ON COLUMN sample_ids.sample_id IS 'Chosen by the sender: unique to it, so it names nothing of another patient.';
COMMENT ON COLUMN sample_ids.written_at IS 'The newest version that was told under this id; a deletion of the id takes that version away, and none that is newer.';

CREATE TABLE deletions_told (
    patient_key integer NOT NULL,
    sample_id   uuid NOT NULL,
    told_at     timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    look_at     timestamptz NOT NULL DEFAULT now(),
    settled_at  timestamptz,
    looks       smallint NOT NULL DEFAULT 0,
    outcome     text,
    device_id   text NOT NULL,
    source_app  text NOT NULL,
    adapter     text NOT NULL,
    PRIMARY KEY (patient_key, sample_id),
    CHECK (outcome IN ('done', 'unknown', 'refused')),
    CHECK ((outcome IS NULL) = (settled_at IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX deletions_told_open ON deletions_told (look_at) WHERE settled_at IS NULL;
CREATE INDEX deletions_told_received ON deletions_told USING brin (received_at);
COMMENT ON TABLE deletions_told IS 'Sample ids that were told to be no more, the newest telling of each: looked for in sample_ids until every sample that they name is deleted, or given up.';
COMMENT ON COLUMN deletions_told.told_at IS 'When the sender told of it, by its own clock.';
COMMENT ON COLUMN deletions_told.look_at IS 'When it is looked for next. Storing a sample under this id sets it to now.';
COMMENT ON COLUMN deletions_told.looks IS 'How often it was looked for since it was told, or since its sample came: pauses grow with it.';
COMMENT ON COLUMN deletions_told.outcome IS 'done: no sample under this id stands. unknown: none ever came. refused: samples stand, and their tombstones were not stored.';
COMMENT ON COLUMN deletions_told.device_id IS 'Which device told of it, through which source_app and adapter: the sample may have come by another of its patient.';

CREATE VIEW samples_to_delete AS
SELECT d.patient_key, d.sample_id, d.look_at, p.patient_id, v.device_id, o.source_app, d.adapter,
       i.metric_key, i.time, i.duration_ms, i.written_at, d.received_at
FROM deletions_told d
JOIN sample_ids i USING (patient_key, sample_id)
JOIN patients p USING (patient_key)
JOIN origins o USING (origin_key)
JOIN devices v USING (device_key)
LEFT JOIN LATERAL (
    SELECT s.written_at, s.flags & 128 <> 0 AS is_tombstone FROM samples s
    WHERE s.patient_key = i.patient_key AND s.metric_key = i.metric_key AND s.origin_key = i.origin_key
      AND s.time = i.time AND s.duration_ms = i.duration_ms LIMIT 1) s ON true
WHERE d.settled_at IS NULL AND i.written_at <= greatest(d.told_at, d.received_at)
  AND (s.written_at IS NULL OR (s.written_at <= i.written_at AND NOT s.is_tombstone));
COMMENT ON VIEW samples_to_delete IS 'Samples that open deletions name and that still stand, or that only the archive has: what the deleter writes tombstones for. A version written later than the deletion was told is not among them, nor a sample of which another version stands.';

-- Their life: ids as long as their samples can be deleted by id, deletions as long as it may be asked what became of them.

CREATE OR REPLACE FUNCTION drop_tier(of_class text, of_tier text, moment timestamptz DEFAULT now()) RETURNS bigint
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
        WHEN of_class = 'sample_ids' THEN drop_rows('sample_ids', 'time', horizon)
        WHEN of_class = 'deletions' THEN drop_rows('deletions_told', 'received_at', horizon)
        ELSE 0
    END;
END
$$;

-- Two functions list the classes that have no archive and no columnstore (the second one on TimescaleDB only).
DO $$
DECLARE
    one     regproc;
    before  text;
    longer  text;
BEGIN
    FOREACH one IN ARRAY array_remove(
        ARRAY[to_regproc('check_lifecycle_policies'), to_regproc('apply_columnstore_policies')], NULL)
    LOOP
        before := pg_get_functiondef(one);
        longer := replace(before, $q$'audit', 'evidence')$q$, $q$'audit', 'evidence', 'sample_ids', 'deletions')$q$);
        IF longer = before THEN
            RAISE EXCEPTION 'the classes without an archive are not where they were in %', one;
        END IF;
        EXECUTE longer;
    END LOOP;
END
$$;

INSERT INTO lifecycle_policies (retention_class, tier, drop_after) VALUES
    ('sample_ids', 'raw', INTERVAL '400 days'), ('deletions', 'raw', INTERVAL '90 days');
COMMENT ON COLUMN lifecycle_policies.retention_class IS 'A class of the metric catalogue, or waveform, quarantine, audit (alerts, notifications, attempts, revisions), evidence, sample_ids or deletions.';
