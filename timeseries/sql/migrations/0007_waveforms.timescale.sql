-- TimescaleDB: a hypertable of one-day chunks. A chunk holds one retention class and nothing rolls waveforms up, so
-- retention is native: whole chunks are dropped. Columnstore after two days, segmented by the signal.

SELECT create_hypertable('waveforms', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX waveforms_identity ON waveforms (patient_key, metric_key, origin_key, channel, time);

ALTER TABLE waveforms SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'patient_key, metric_key, origin_key, channel',
    timescaledb.compress_orderby = 'time'
);
SELECT add_compression_policy('waveforms', compress_after => INTERVAL '2 days');
SELECT add_retention_policy('waveforms', drop_after => drop_after)
FROM retention_policies WHERE retention_class = 'waveform' AND tier = 'raw';

CREATE PROCEDURE apply_waveform_retention()
LANGUAGE plpgsql AS $$ BEGIN END $$;
COMMENT ON PROCEDURE apply_waveform_retention IS 'Nothing to do: TimescaleDB drops whole chunks by a policy of its own.';
