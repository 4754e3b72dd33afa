-- name: put_waveforms
-- One chunk; the same chunk told again changes nothing.
INSERT INTO waveforms (time, written_at, received_at, sample_rate_hz, original_rate_hz, scale, patient_key, origin_key,
    first_us, duration_ms, quality, metric_key, axes, flags, context, zone_offset_min, channel, "values")
VALUES (%(time)s, %(written_at)s, %(received_at)s, %(sample_rate_hz)s, %(original_rate_hz)s, %(scale)s, %(patient_key)s,
    %(origin_key)s, %(first_us)s, %(duration_ms)s, %(quality)s, %(metric_key)s, %(axes)s, %(flags)s, %(context)s,
    %(zone_offset_min)s, %(channel)s, %(values)b)
ON CONFLICT (patient_key, metric_key, origin_key, channel, time) DO NOTHING;

-- name: put_states
-- What the signal stages remember as of the watermark that moves with it.
INSERT INTO feature_state (patient_key, origin_key, metric_key, channel, state)
VALUES (%(patient_key)s, %(origin_key)s, %(metric_key)s, %(channel)s, %(state)s)
ON CONFLICT (patient_key, origin_key, metric_key, channel) DO UPDATE SET state = excluded.state, updated_at = now();

-- name: read_states
-- The memory of these signals.
SELECT f.patient_key, f.origin_key, f.metric_key, f.channel, f.state
FROM feature_state f
JOIN unnest(%(patients)s::integer[], %(origins)s::integer[], %(metrics)s::smallint[], %(channels)s::text[])
    AS a (patient_key, origin_key, metric_key, channel) USING (patient_key, origin_key, metric_key, channel);
