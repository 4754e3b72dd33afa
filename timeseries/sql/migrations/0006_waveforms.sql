-- Waveforms (ECG, PPG, acceleration) as chunks, and what the signal stages remember between chunks.
--
-- Values are `integer[]` beside a scale: what the converter gave, exact and readable in SQL. On stock PostgreSQL a chunk
-- above 2 kB is compressed by TOAST to 1.8 bytes a value (record 100 of MIT-BIH), a shorter one costs 4.6; real[] costs
-- the same and rounds, bytea of zstd 1.2 to 1.7 but nobody could read it without our code.

CREATE TABLE waveforms (
    time             timestamptz NOT NULL,
    written_at       timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    sample_rate_hz   double precision NOT NULL,
    original_rate_hz double precision NOT NULL,
    scale            double precision NOT NULL,
    patient_key      integer NOT NULL,
    origin_key       integer NOT NULL,
    first_us         integer NOT NULL,
    duration_ms      integer NOT NULL,
    quality          real NOT NULL,
    metric_key       smallint NOT NULL,
    axes             smallint NOT NULL,
    flags            smallint NOT NULL,
    context          smallint NOT NULL,
    zone_offset_min  smallint NOT NULL,
    channel          text NOT NULL,
    "values"         integer[] NOT NULL
);
COMMENT ON TABLE waveforms IS 'One row a chunk of one signal. Value i of an axis stands at time + first_us + i / sample_rate_hz.';
COMMENT ON COLUMN waveforms.time IS 'Start of the chunk as the device told it: with the signal, the identity of the row. What the filter held when a signal broke off stands at the last microsecond before the break.';
COMMENT ON COLUMN waveforms.first_us IS 'Microseconds from time to the first stored value; negative by at most the delay of the decimation filter.';
COMMENT ON COLUMN waveforms.duration_ms IS 'How long the stored values last.';
COMMENT ON COLUMN waveforms.sample_rate_hz IS 'Of the stored values; below original_rate_hz where the policy decimates.';
COMMENT ON COLUMN waveforms.channel IS 'Lead or colour where a device has several signals of a metric; otherwise main.';
COMMENT ON COLUMN waveforms."values" IS 'Interleaved by axis (x0, y0, z0, x1, ...); times scale they are in the metric''s unit.';

CREATE TABLE feature_state (
    patient_key integer NOT NULL,
    origin_key  integer NOT NULL,
    metric_key  smallint NOT NULL,
    channel     text NOT NULL,
    state       bytea NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (patient_key, origin_key, metric_key, channel)
) WITH (fillfactor = 50);
COMMENT ON TABLE feature_state IS 'Filter and detector memory of each signal as of its watermark: moved in the same transaction.';

INSERT INTO retention_policies VALUES ('waveform', 'raw', '90 days');

CREATE VIEW current_waveforms AS
SELECT w.time, w.time + w.first_us * INTERVAL '1 microsecond' AS first_time, p.patient_id, m.code AS metric, m.unit,
       d.device_id, o.source_app, w.channel, w.sample_rate_hz, w.original_rate_hz, w.axes, w.scale, w."values", w.quality,
       w.duration_ms, nullif(w.zone_offset_min, -32768) AS zone_offset_min, w.context, w.flags, w.written_at,
       w.received_at
FROM waveforms w
JOIN patients p USING (patient_key)
JOIN metrics m USING (metric_key)
JOIN origins o USING (origin_key)
JOIN devices d USING (device_key);
COMMENT ON VIEW current_waveforms IS 'Waveform chunks with their words instead of keys: what people query.';
