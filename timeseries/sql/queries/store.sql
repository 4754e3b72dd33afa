-- name: add_patients
-- Gives every patient id a key; returns nothing for those that have one.
INSERT INTO patients (patient_id) SELECT DISTINCT unnest(%(ids)s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING;

-- name: patient_keys
SELECT patient_id, patient_key FROM patients WHERE patient_id = ANY (%(ids)s::text[]);

-- name: add_devices
INSERT INTO devices (device_id) SELECT DISTINCT unnest(%(ids)s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING;

-- name: add_origins
-- An origin is a device and the application that spoke for it.
INSERT INTO origins (device_key, source_app)
SELECT DISTINCT d.device_key, a.source_app
FROM unnest(%(devices)s::text[], %(apps)s::text[]) AS a (device_id, source_app)
JOIN devices d USING (device_id)
ORDER BY 1, 2
ON CONFLICT DO NOTHING;

-- name: origin_keys
SELECT d.device_id, o.source_app, o.origin_key
FROM unnest(%(devices)s::text[], %(apps)s::text[]) AS a (device_id, source_app)
JOIN devices d USING (device_id)
JOIN origins o ON o.device_key = d.device_key AND o.source_app = a.source_app;

-- name: read_watermarks
-- Where each partition of these topics stands.
SELECT topic, partition, epoch, next_offset, last_timestamp_ms, last_crc
FROM watermarks WHERE topic = ANY (%(topics)s::text[]);

-- name: open_watermarks
-- Makes sure that a row exists to be locked.
INSERT INTO watermarks (topic, partition)
SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[]) ORDER BY 1, 2
ON CONFLICT DO NOTHING;

-- name: lock_watermarks
-- Locks in one order, so that two recorders never wait for each other; whoever comes second sees that it is too late.
SELECT w.topic, w.partition, w.epoch, w.next_offset
FROM watermarks w
JOIN unnest(%(topics)s::text[], %(partitions)s::integer[]) AS a (topic, partition) USING (topic, partition)
ORDER BY w.topic, w.partition
FOR UPDATE OF w;

-- name: move_watermarks
UPDATE watermarks w SET
    epoch = a.epoch, next_offset = a.next_offset, last_timestamp_ms = a.timestamp_ms, last_crc = a.crc, updated_at = now()
FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(epochs)s::integer[], %(next_offsets)s::bigint[],
            %(timestamps_ms)s::bigint[], %(crcs)s::bigint[])
     AS a (topic, partition, epoch, next_offset, timestamp_ms, crc)
WHERE w.topic = a.topic AND w.partition = a.partition;

-- name: begin_epoch
-- The log that this watermark spoke of is gone: start again at the given offset; the identity alone guards.
UPDATE watermarks SET epoch = epoch + 1, next_offset = %(next_offset)s, last_timestamp_ms = NULL, last_crc = NULL,
    updated_at = now()
WHERE topic = %(topic)s AND partition = %(partition)s AND epoch = %(epoch)s
RETURNING epoch;

-- name: put_latest
-- Keeps the newest sample of every series; rows come sorted by the key.
INSERT INTO latest AS l (patient_key, metric_key, origin_key, time, received_at, value, quality, context)
SELECT * FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[],
    %(times)s::timestamptz[], %(received)s::timestamptz[], %(values)s::float8[], %(qualities)s::float4[],
    %(contexts)s::smallint[])
ON CONFLICT (patient_key, metric_key, origin_key) DO UPDATE SET
    time = excluded.time, received_at = excluded.received_at, value = excluded.value, quality = excluded.quality,
    context = excluded.context
WHERE excluded.time >= l.time;

-- name: forget_latest
-- The source deleted the sample that a tile shows.
DELETE FROM latest l
USING unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[], %(times)s::timestamptz[])
    AS gone (patient_key, metric_key, origin_key, time)
WHERE (l.patient_key, l.metric_key, l.origin_key, l.time)
    = (gone.patient_key, gone.metric_key, gone.origin_key, gone.time);

-- name: find_latest
-- Where a series lost its latest sample, the newest that still stands takes its place.
INSERT INTO latest (patient_key, metric_key, origin_key, time, received_at, value, quality, context)
SELECT gone.patient_key, gone.metric_key, gone.origin_key, s.time, s.received_at, s.value, s.quality, s.context
FROM (SELECT DISTINCT * FROM unnest(%(patients)s::integer[], %(metrics)s::smallint[], %(origins)s::integer[])
          AS gone (patient_key, metric_key, origin_key)) gone
CROSS JOIN LATERAL (
    SELECT time, received_at, value, quality, context FROM samples
    WHERE patient_key = gone.patient_key AND metric_key = gone.metric_key AND origin_key = gone.origin_key
        AND flags & 128 = 0
    ORDER BY time DESC, duration_ms DESC LIMIT 1) s
WHERE NOT EXISTS (SELECT FROM latest l WHERE (l.patient_key, l.metric_key, l.origin_key)
    = (gone.patient_key, gone.metric_key, gone.origin_key))
ORDER BY 1, 2, 3;

-- name: mark_dirty
-- Remembers which stretch of which hour of which patient changed; rows come sorted by the key.
INSERT INTO dirty_ranges AS d (patient_key, hour, from_time, to_time)
SELECT * FROM unnest(%(patients)s::integer[], %(hours)s::timestamptz[], %(froms)s::timestamptz[], %(tos)s::timestamptz[])
ON CONFLICT (patient_key, hour) DO UPDATE SET
    from_time = least(d.from_time, excluded.from_time), to_time = greatest(d.to_time, excluded.to_time);

-- name: put_quarantine_records
INSERT INTO quarantine_records (topic, partition, epoch, "offset", timestamp_ms, patient_id, device_id, adapter, key, headers, value, withheld)
VALUES (%(topic)s, %(partition)s, %(epoch)s, %(offset)s, %(timestamp_ms)s, %(patient_id)s, %(device_id)s, %(adapter)s,
        %(key)s, %(headers)s, %(value)s, %(withheld)s)
ON CONFLICT DO NOTHING;

-- name: put_quarantine
INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason, metric)
SELECT %(topic)s, %(partition)s, %(epoch)s, %(offset)s, i.index, i.reason, i.metric
FROM unnest(%(indices)s::integer[], %(reasons)s::text[], %(metrics)s::text[]) AS i (index, reason, metric)
ON CONFLICT DO NOTHING;

-- name: count_duplicates
INSERT INTO duplicates AS d (day, adapter, reason, samples)
SELECT current_date, a.adapter, a.reason, a.samples
FROM unnest(%(adapters)s::text[], %(reasons)s::text[], %(samples)s::bigint[]) AS a (adapter, reason, samples)
ORDER BY 2, 3
ON CONFLICT (day, adapter, reason) DO UPDATE SET samples = d.samples + excluded.samples;

-- name: count_reduced
INSERT INTO reduced AS r (day, adapter, metric_key, samples)
SELECT current_date, a.adapter, a.metric, a.samples
FROM unnest(%(adapters)s::text[], %(metrics)s::smallint[], %(samples)s::bigint[]) AS a (adapter, metric, samples)
ORDER BY 2, 3
ON CONFLICT (day, adapter, metric_key) DO UPDATE SET samples = r.samples + excluded.samples;

-- name: count_not_consented
INSERT INTO not_consented AS c (day, adapter, metric_key, samples)
SELECT current_date, a.adapter, a.metric, a.samples
FROM unnest(%(adapters)s::text[], %(metrics)s::smallint[], %(samples)s::bigint[]) AS a (adapter, metric, samples)
ORDER BY 2, 3
ON CONFLICT (day, adapter, metric_key) DO UPDATE SET samples = c.samples + excluded.samples;

-- name: lock_patients
-- The conflict path reads, decides and writes: one at a time for each patient, or a worker of the other lane could
-- overwrite a version that it never saw. Locked in one order; given back with the transaction.
SELECT count(pg_advisory_xact_lock(0x76696769, patient_key)) FROM unnest(%(patients)s::integer[]) AS patient_key;

-- name: stage_table
-- The conflict path's scratch table, once a session: sample columns and each row's position in the batch.
CREATE TEMPORARY TABLE IF NOT EXISTS staged (LIKE samples) ON COMMIT DELETE ROWS;

-- name: stored_versions
-- What the staged identities hold today; {columns} are the samples' columns, in COPY order. The bounds say nothing new:
-- they are constants, and only those let TimescaleDB leave out chunks and columnstore batches.
SELECT {columns}
FROM samples s
JOIN (SELECT DISTINCT patient_key, metric_key, origin_key, time, duration_ms FROM staged) i
  USING (patient_key, metric_key, origin_key, time, duration_ms)
WHERE s.patient_key = ANY (ARRAY[{patients}]) AND s.time BETWEEN '{first}+00' AND '{last}+00'

-- name: stored_revisions
-- The older versions that are kept of the staged identities.
SELECT {columns}
FROM sample_revisions s
JOIN (SELECT DISTINCT patient_key, metric_key, origin_key, time, duration_ms FROM staged) i
  USING (patient_key, metric_key, origin_key, time, duration_ms)

-- name: replace_versions
-- The staged versions stand now. An UPDATE with a join decompresses the whole columnstore for one corrected row (native
-- TimescaleDB 2.29: 25 s at 20 million rows); the upsert finds its batches through the identity (0.02 s).
INSERT INTO samples SELECT * FROM staged
ORDER BY patient_key, metric_key, origin_key, time, duration_ms
ON CONFLICT (patient_key, metric_key, origin_key, time, duration_ms) DO UPDATE SET
    written_at = excluded.written_at, received_at = excluded.received_at, value = excluded.value,
    quality = excluded.quality, flags = excluded.flags, context = excluded.context,
    zone_offset_min = excluded.zone_offset_min;
