-- Three levels of rollups on stock PostgreSQL (minute, quarter of an hour, hour), and the history that stays when
-- samples go. The minutes that are there stay and get the new columns; every hour that has samples becomes dirty, so that
-- `vigil db rollup` fills the zones and the new levels, newest hours first. A `vigil db rollup` of the old release fails
-- from here on, since it does not know the new columns, and so leaves the ranges to the new one.
-- phase: pre
-- locks: samples are read once (ACCESS SHARE); vitals_1m waits for its rewrite (ACCESS EXCLUSIVE, about a second a million rows); dirty_ranges for milliseconds (SHARE).

-- Every hour that has samples, since none has the new columns or levels yet. Read first and noted last, so that the
-- recorder waits for neither.
LOCK TABLE vitals_1m IN SHARE ROW EXCLUSIVE MODE; -- no refresh takes a range away between the two
CREATE TEMPORARY TABLE sampled_hours ON COMMIT DROP AS
SELECT patient_key, date_bin(INTERVAL '1 hour', time, '2000-01-01 00:00:00+00') AS hour, min(time) AS from_time,
       max(time) AS to_time
FROM samples
GROUP BY 1, 2;

ALTER TABLE vitals_1m
    ADD COLUMN minutes integer NOT NULL DEFAULT 1,
    ADD COLUMN minute_mean_sum double precision NOT NULL GENERATED ALWAYS AS (sum / n) STORED,
    ADD COLUMN zone_offset_min smallint NOT NULL DEFAULT -32768;
ALTER TABLE vitals_1m
    ALTER COLUMN minutes DROP DEFAULT,
    ALTER COLUMN minute_mean_sum DROP EXPRESSION,
    ALTER COLUMN zone_offset_min DROP DEFAULT;

CREATE TABLE vitals_15m (
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
) WITH (fillfactor = 80);

CREATE TABLE vitals_1h (
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
) WITH (fillfactor = 80);

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

COMMENT ON TABLE vitals_1m IS 'A minute of a series over its trustworthy samples; below the raw horizon not to be trusted: read vitals_1m_all.';
COMMENT ON TABLE vitals_15m IS 'A quarter of an hour of a series, made of its minutes; see vitals_1m.';
COMMENT ON TABLE vitals_1h IS 'An hour of a series, made of its quarters; see vitals_1m.';
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
