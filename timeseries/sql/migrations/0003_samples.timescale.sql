-- TimescaleDB: samples become a hypertable of seven-day chunks. Vigil creates its own index (the unique identity serves
-- reads too), so the default one on time is left out. Columnstore after seven days, segmented by the series: uniqueness
-- is kept there, late rows can still be copied in, and 1 Hz vitals cost about one byte a sample.

SELECT create_hypertable('samples', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE UNIQUE INDEX samples_identity ON samples (patient_key, metric_key, origin_key, time, duration_ms);

ALTER TABLE samples SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'patient_key, metric_key, origin_key',
    timescaledb.compress_orderby = 'time, duration_ms'
);
SELECT add_compression_policy('samples', compress_after => INTERVAL '7 days');
