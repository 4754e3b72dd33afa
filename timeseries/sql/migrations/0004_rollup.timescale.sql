-- The first rollup: one row a series and minute, over trustworthy samples that are not tombstones. TimescaleDB keeps it;
-- reads see the newest minutes from the samples themselves.

CREATE MATERIALIZED VIEW vitals_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(INTERVAL '1 minute', time) AS bucket,
       patient_key, metric_key, origin_key,
       count(*) AS n, sum(value) AS sum, min(value) AS min, max(value) AS max,
       first(value, time) AS first, last(value, time) AS last, sum(value * value) AS sum_sq
FROM samples
WHERE quality >= 0.5 AND flags & 128 = 0
GROUP BY 1, 2, 3, 4
WITH NO DATA;

SELECT add_continuous_aggregate_policy('vitals_1m',
    start_offset => INTERVAL '1 day', end_offset => INTERVAL '1 minute', schedule_interval => INTERVAL '1 minute');
