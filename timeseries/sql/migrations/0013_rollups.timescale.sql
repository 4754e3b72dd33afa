-- Three levels of rollups on TimescaleDB: continuous aggregates, each over the one below it; and the history that stays
-- when samples go. vitals_1m needs new columns, and a continuous aggregate gets none: it is dropped and made again, empty,
-- and every hour that has samples becomes dirty, so that `vigil db rollup` fills all levels, newest hours first. Until it
-- has, the views lack older hours (the console's charts don't: they take dirty stretches from the samples). Let no
-- `vigil db rollup` of the old release run from here on: it would take ranges away that the new levels have not seen.
-- phase: pre
-- locks: samples are read once (ACCESS SHARE); then, for milliseconds, SHARE ROW EXCLUSIVE on samples and SHARE on dirty_ranges, and the recorder waits.

-- Every hour that has samples, since none has the new columns or levels yet. Read first and noted last, so that the
-- recorder waits for neither.
CREATE TEMPORARY TABLE sampled_hours ON COMMIT DROP AS
SELECT patient_key, date_bin(INTERVAL '1 hour', time, '2000-01-01 00:00:00+00') AS hour, min(time) AS from_time,
       max(time) AS to_time
FROM samples
GROUP BY 1, 2;

DROP MATERIALIZED VIEW vitals_1m;

-- Bytes that sort by (time, duration): of samples that begin at once the shortest is the first, the longest the last. A
-- row constructor would say the same and cost less, but fails in parallel plans (record has no binary input).
CREATE MATERIALIZED VIEW vitals_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false,
      timescaledb.chunk_interval = '7 days') AS
SELECT time_bucket(INTERVAL '1 minute', time) AS bucket,
       patient_key, metric_key, origin_key,
       count(*) AS n, sum(value) AS sum, min(value) AS min, max(value) AS max,
       first(value, timestamptz_send(time) || int4send(duration_ms)) AS first,
       last(value, timestamptz_send(time) || int4send(duration_ms)) AS last,
       sum(value * value) AS sum_sq, 1 AS minutes, sum(value) / count(*) AS minute_mean_sum,
       last(zone_offset_min, timestamptz_send(time) || int4send(duration_ms)) AS zone_offset_min
FROM samples
WHERE quality >= 0.5 AND flags & 128 = 0
GROUP BY 1, 2, 3, 4
WITH NO DATA;
CREATE INDEX vitals_1m_series ON vitals_1m (patient_key, metric_key, origin_key, bucket);

CREATE MATERIALIZED VIEW vitals_15m
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false,
      timescaledb.chunk_interval = '28 days') AS
SELECT time_bucket(INTERVAL '15 minutes', bucket) AS bucket,
       patient_key, metric_key, origin_key,
       sum(n)::bigint AS n, sum(sum) AS sum, min(min) AS min, max(max) AS max,
       first(first, bucket) AS first, last(last, bucket) AS last, sum(sum_sq) AS sum_sq,
       sum(minutes)::integer AS minutes, sum(minute_mean_sum) AS minute_mean_sum,
       last(zone_offset_min, bucket) AS zone_offset_min
FROM vitals_1m
GROUP BY 1, 2, 3, 4
WITH NO DATA;
CREATE INDEX vitals_15m_series ON vitals_15m (patient_key, metric_key, origin_key, bucket);

CREATE MATERIALIZED VIEW vitals_1h
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false,
      timescaledb.chunk_interval = '84 days') AS
SELECT time_bucket(INTERVAL '1 hour', bucket) AS bucket,
       patient_key, metric_key, origin_key,
       sum(n)::bigint AS n, sum(sum) AS sum, min(min) AS min, max(max) AS max,
       first(first, bucket) AS first, last(last, bucket) AS last, sum(sum_sq) AS sum_sq,
       sum(minutes)::integer AS minutes, sum(minute_mean_sum) AS minute_mean_sum,
       last(zone_offset_min, bucket) AS zone_offset_min
FROM vitals_15m
GROUP BY 1, 2, 3, 4
WITH NO DATA;
CREATE INDEX vitals_1h_series ON vitals_1h (patient_key, metric_key, origin_key, bucket);

-- The database keeps the last week by itself; what is older and late waits for `vigil db rollup`. The week must end
-- above every possible raw horizon (raw samples are kept for 14 days or longer): a refresh over samples that are gone
-- takes their rollups away. The views below would not show that, but it would be work for nothing.
SELECT add_continuous_aggregate_policy('vitals_1m',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '1 minute', schedule_interval => INTERVAL '1 minute',
    buckets_per_batch => 1440);
SELECT add_continuous_aggregate_policy('vitals_15m',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '15 minutes', schedule_interval => INTERVAL '5 minutes',
    buckets_per_batch => 1440);
SELECT add_continuous_aggregate_policy('vitals_1h',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '15 minutes',
    buckets_per_batch => 1440);

CREATE TABLE raw_horizons (
    retention_class text PRIMARY KEY,
    horizon         timestamptz NOT NULL
        CHECK (horizon = date_bin(INTERVAL '1 hour', horizon, '2000-01-01 00:00:00+00'))
);
COMMENT ON TABLE raw_horizons IS 'Samples of a class from before its horizon are gone, on hold or late: there the history speaks. No row: nothing is gone.';
COMMENT ON COLUMN raw_horizons.horizon IS 'A whole hour, so that no bucket lies on both sides; it only ever moves on.';

CREATE VIEW metric_horizons AS
SELECT m.metric_key, h.horizon FROM metrics m JOIN raw_horizons h USING (retention_class);
COMMENT ON VIEW metric_horizons IS 'The horizon of each metric whose class has one.';

CREATE TABLE vitals_1m_history (
    bucket          timestamptz NOT NULL,
    patient_key     integer NOT NULL,
    metric_key      smallint NOT NULL,
    origin_key      integer NOT NULL,
    n               bigint NOT NULL,
    sum             double precision NOT NULL,
    min             double precision NOT NULL,
    max             double precision NOT NULL,
    first           double precision NOT NULL,
    last            double precision NOT NULL,
    sum_sq          double precision NOT NULL,
    minutes         integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
COMMENT ON TABLE vitals_1m_history IS 'Minutes below their class''s raw horizon: kept when the samples went.';

CREATE TABLE vitals_15m_history (
    bucket          timestamptz NOT NULL,
    patient_key     integer NOT NULL,
    metric_key      smallint NOT NULL,
    origin_key      integer NOT NULL,
    n               bigint NOT NULL,
    sum             double precision NOT NULL,
    min             double precision NOT NULL,
    max             double precision NOT NULL,
    first           double precision NOT NULL,
    last            double precision NOT NULL,
    sum_sq          double precision NOT NULL,
    minutes         integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
COMMENT ON TABLE vitals_15m_history IS 'Quarters of an hour below the raw horizon.';

CREATE TABLE vitals_1h_history (
    bucket          timestamptz NOT NULL,
    patient_key     integer NOT NULL,
    metric_key      smallint NOT NULL,
    origin_key      integer NOT NULL,
    n               bigint NOT NULL,
    sum             double precision NOT NULL,
    min             double precision NOT NULL,
    max             double precision NOT NULL,
    first           double precision NOT NULL,
    last            double precision NOT NULL,
    sum_sq          double precision NOT NULL,
    minutes         integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
COMMENT ON TABLE vitals_1h_history IS 'Hours below the raw horizon.';

-- Ten years of minutes are no heap: the history is columnar once its chunk is a week old, which it always is.
SELECT create_hypertable('vitals_1m_history', by_range('bucket', INTERVAL '28 days'), create_default_indexes => false);
ALTER TABLE vitals_1m_history SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'patient_key, metric_key, origin_key',
    timescaledb.compress_orderby = 'bucket'
);
SELECT add_compression_policy('vitals_1m_history', compress_after => INTERVAL '7 days');

SELECT create_hypertable('vitals_15m_history', by_range('bucket', INTERVAL '84 days'), create_default_indexes => false);
ALTER TABLE vitals_15m_history SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'patient_key, metric_key, origin_key',
    timescaledb.compress_orderby = 'bucket'
);
SELECT add_compression_policy('vitals_15m_history', compress_after => INTERVAL '7 days');

SELECT create_hypertable('vitals_1h_history', by_range('bucket', INTERVAL '364 days'), create_default_indexes => false);
ALTER TABLE vitals_1h_history SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'patient_key, metric_key, origin_key',
    timescaledb.compress_orderby = 'bucket'
);
SELECT add_compression_policy('vitals_1h_history', compress_after => INTERVAL '7 days');

CREATE VIEW vitals_1m_all AS
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq,
       v.minutes, v.minute_mean_sum, v.zone_offset_min
FROM vitals_1m v LEFT JOIN metric_horizons h USING (metric_key)
WHERE h.horizon IS NULL OR v.bucket >= h.horizon
UNION ALL
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq,
       v.minutes, v.minute_mean_sum, v.zone_offset_min
FROM vitals_1m_history v JOIN metric_horizons h USING (metric_key)
WHERE v.bucket < h.horizon;
COMMENT ON VIEW vitals_1m_all IS 'A minute of a series over all of time, whether its samples are still here or not: what readers ask.';

CREATE VIEW vitals_15m_all AS
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq,
       v.minutes, v.minute_mean_sum, v.zone_offset_min
FROM vitals_15m v LEFT JOIN metric_horizons h USING (metric_key)
WHERE h.horizon IS NULL OR v.bucket >= h.horizon
UNION ALL
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq,
       v.minutes, v.minute_mean_sum, v.zone_offset_min
FROM vitals_15m_history v JOIN metric_horizons h USING (metric_key)
WHERE v.bucket < h.horizon;
COMMENT ON VIEW vitals_15m_all IS 'A quarter of an hour of a series over all of time; see vitals_1m_all.';

CREATE VIEW vitals_1h_all AS
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq,
       v.minutes, v.minute_mean_sum, v.zone_offset_min
FROM vitals_1h v LEFT JOIN metric_horizons h USING (metric_key)
WHERE h.horizon IS NULL OR v.bucket >= h.horizon
UNION ALL
SELECT v.bucket, v.patient_key, v.metric_key, v.origin_key, v.n, v.sum, v.min, v.max, v.first, v.last, v.sum_sq,
       v.minutes, v.minute_mean_sum, v.zone_offset_min
FROM vitals_1h_history v JOIN metric_horizons h USING (metric_key)
WHERE v.bucket < h.horizon;
COMMENT ON VIEW vitals_1h_all IS 'An hour of a series over all of time; see vitals_1m_all.';

COMMENT ON VIEW vitals_1m IS 'A minute of a series over its trustworthy samples; below the raw horizon not to be trusted: read vitals_1m_all.';
COMMENT ON VIEW vitals_15m IS 'A quarter of an hour of a series, made of its minutes; see vitals_1m.';
COMMENT ON VIEW vitals_1h IS 'An hour of a series, made of its quarters; see vitals_1m.';
COMMENT ON COLUMN vitals_1m_all.first IS 'Value of the first sample; of several that begin at once, the shortest. last: of the last and longest.';
COMMENT ON COLUMN vitals_1m_all.minutes IS 'How many minutes have data.';
COMMENT ON COLUMN vitals_1m_all.minute_mean_sum IS 'Sum of the minutes'' means: over minutes it is the mean in which a minute of one sample weighs as much as one of sixty.';
COMMENT ON COLUMN vitals_1m_all.zone_offset_min IS 'Of the last sample; -32768 where it did not tell.';

-- The index before the rows: it waits for writers who might wait for a row.
CREATE INDEX dirty_ranges_by_hour ON dirty_ranges (hour, patient_key);
INSERT INTO dirty_ranges AS d (patient_key, hour, from_time, to_time)
SELECT patient_key, hour, from_time, to_time FROM sampled_hours ORDER BY patient_key, hour
ON CONFLICT (patient_key, hour) DO UPDATE SET
    from_time = least(d.from_time, excluded.from_time), to_time = greatest(d.to_time, excluded.to_time);
