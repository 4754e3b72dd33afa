-- The samples and what belongs to their transaction. No foreign keys here: one would cut the speed of COPY to a third
-- and let one unknown patient fail a whole batch; the store resolves keys before it writes.

CREATE TABLE samples (
    time            timestamptz NOT NULL,
    written_at      timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    value           double precision NOT NULL,
    patient_key     integer NOT NULL,
    origin_key      integer NOT NULL,
    duration_ms     integer NOT NULL,
    quality         real NOT NULL,
    metric_key      smallint NOT NULL,
    flags           smallint NOT NULL,
    context         smallint NOT NULL,
    zone_offset_min smallint NOT NULL
);
COMMENT ON TABLE samples IS 'One row a sample identity (patient, metric, origin, time, duration): its current version.';
COMMENT ON COLUMN samples.time IS 'When the device measured; the beginning of the interval for metrics that cover one.';
COMMENT ON COLUMN samples.written_at IS 'When the phone or bridge wrote it down. The greatest (written, received, content) wins.';
COMMENT ON COLUMN samples.received_at IS 'When Vigil received it; received_at - time is the lateness.';
COMMENT ON COLUMN samples.flags IS 'Doubts of validation as bits; bit 7 (128) marks a tombstone: the source deleted this sample.';
COMMENT ON COLUMN samples.context IS 'Circumstances as bits: motion, user entered, asleep, workout, no contact.';
COMMENT ON COLUMN samples.zone_offset_min IS 'The wearer''s offset from UTC in minutes; -32768 where the source does not tell.';

CREATE TABLE sample_revisions (
    LIKE samples INCLUDING COMMENTS,
    superseded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sample_revisions_identity ON sample_revisions (patient_key, metric_key, origin_key, time, duration_ms);
COMMENT ON TABLE sample_revisions IS 'Older versions of a sample, kept when a correction or deletion superseded them.';

CREATE TABLE latest (
    patient_key integer NOT NULL,
    metric_key  smallint NOT NULL,
    origin_key  integer NOT NULL,
    time        timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    value       double precision NOT NULL,
    quality     real NOT NULL,
    context     smallint NOT NULL,
    PRIMARY KEY (patient_key, metric_key, origin_key)
) WITH (fillfactor = 50);
COMMENT ON TABLE latest IS 'The newest sample of every series, one row each: what tiles show.';

CREATE TABLE watermarks (
    topic             text NOT NULL,
    partition         integer NOT NULL,
    epoch             integer NOT NULL DEFAULT 0,
    next_offset       bigint NOT NULL DEFAULT 0,
    last_timestamp_ms bigint,
    last_crc          bigint,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE watermarks IS 'How far each partition is stored. Moved in the transaction that stores: this, not the consumer group, is the truth.';
COMMENT ON COLUMN watermarks.epoch IS 'The incarnation of the partition; a recreated topic or a broker that lost its log begins a new one.';
COMMENT ON COLUMN watermarks.last_crc IS 'CRC-32 of the last applied record, to recognise the log on assignment.';

CREATE TABLE quarantine_records (
    topic        text NOT NULL,
    partition    integer NOT NULL,
    epoch        integer NOT NULL,
    "offset"     bigint NOT NULL,
    timestamp_ms bigint,
    patient_id   text,
    device_id    text,
    adapter      text,
    key          bytea,
    headers      jsonb NOT NULL,
    value        bytea,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, epoch, "offset")
);
COMMENT ON TABLE quarantine_records IS 'The raw record behind quarantined samples, whole, so that a changed rule can give it a second chance.';

CREATE TABLE quarantine (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    epoch       integer NOT NULL,
    "offset"    bigint NOT NULL,
    index       integer NOT NULL,
    reason      text NOT NULL,
    metric      text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    PRIMARY KEY (topic, partition, epoch, "offset", index)
);
COMMENT ON TABLE quarantine IS 'What was not stored, and why: one row a sample, or one with index -1 for a record that could not be opened.';
CREATE INDEX quarantine_by_reason ON quarantine (reason, recorded_at DESC);

CREATE TABLE duplicates (
    day     date NOT NULL,
    adapter text NOT NULL,
    reason  text NOT NULL,
    samples bigint NOT NULL,
    PRIMARY KEY (day, adapter, reason)
);
COMMENT ON TABLE duplicates IS 'Samples that arrived again and were not stored twice, counted by day, adapter and reason.';

CREATE TABLE dirty_ranges (
    patient_key integer NOT NULL,
    hour        timestamptz NOT NULL,
    from_time   timestamptz NOT NULL,
    to_time     timestamptz NOT NULL,
    PRIMARY KEY (patient_key, hour)
) WITH (fillfactor = 70);
COMMENT ON TABLE dirty_ranges IS 'What rollups have not seen yet; written with the samples, consumed by the refresh.';

CREATE TABLE retention_policies (
    retention_class text NOT NULL,
    tier            text NOT NULL,
    drop_after      interval,
    PRIMARY KEY (retention_class, tier)
);
COMMENT ON TABLE retention_policies IS 'How long each class stays in each tier; NULL: kept. Nothing clinical is dropped before it can be archived.';
INSERT INTO retention_policies VALUES
    ('vital', 'raw', NULL), ('activity', 'raw', NULL), ('sleep', 'raw', NULL), ('reported', 'raw', NULL),
    ('technical', 'raw', '2 years'), ('quarantine', 'raw', '90 days');

CREATE VIEW current_samples AS
SELECT s.time, p.patient_id, m.code AS metric, m.unit, d.device_id, o.source_app, s.value, s.quality, s.duration_ms,
       nullif(s.zone_offset_min, -32768) AS zone_offset_min, s.context, s.flags, s.written_at, s.received_at
FROM samples s
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key)
WHERE s.flags & 128 = 0;
COMMENT ON VIEW current_samples IS 'Samples with their words instead of keys, without tombstones: what people query.';
