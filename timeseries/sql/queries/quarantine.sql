-- name: take_unpublished
-- The oldest rows that the topic has not been told, locked until the transaction ends; what another feed holds is
-- passed over. No value and no raw byte is read.
SELECT o.seq, q.topic, q.partition, q.epoch, q."offset", q.index, q.reason, q.metric, q.recorded_at,
       r.patient_id, r.device_id, r.adapter
FROM quarantine_outbox o
JOIN quarantine q USING (topic, partition, epoch, "offset", index)
LEFT JOIN quarantine_records r USING (topic, partition, epoch, "offset")
ORDER BY o.seq
LIMIT %(limit)s
FOR UPDATE OF o SKIP LOCKED;

-- name: forget_published
DELETE FROM quarantine_outbox WHERE seq = ANY (%(seqs)s::bigint[]);

-- name: selected
-- What the options of `vigil quarantine` select: q is `quarantine`, r the raw record. An option that is NULL says nothing.
(%(since)s::timestamptz IS NULL OR q.recorded_at >= %(since)s::timestamptz)
    AND (%(reasons)s::text[] IS NULL OR q.reason = ANY (%(reasons)s::text[]))
    AND (%(adapters)s::text[] IS NULL OR coalesce(r.adapter, 'unknown') = ANY (%(adapters)s::text[]))
    AND (%(devices)s::text[] IS NULL OR coalesce(r.device_id, 'unknown') = ANY (%(devices)s::text[]))
    AND (%(topics)s::text[] IS NULL OR (q.topic, q.partition, q.epoch, q."offset") IN (SELECT * FROM
         unnest(%(topics)s::text[], %(partitions)s::integer[], %(epochs)s::integer[], %(offsets)s::bigint[])))

-- name: counts
-- How much was quarantined, by each word that describes it; `all` has no word.
SELECT CASE 0 WHEN grouping(reason) THEN 'reason' WHEN grouping(device) THEN 'device'
              WHEN grouping(adapter) THEN 'adapter' WHEN grouping(topic) THEN 'topic' ELSE 'all' END AS by,
       coalesce(reason, device, adapter, topic, '') AS word,
       count(*) FILTER (WHERE index >= 0), count(*) FILTER (WHERE index < 0),
       count(*) FILTER (WHERE replayed_at IS NOT NULL), max(recorded_at)
FROM (SELECT q.reason, coalesce(r.device_id, 'unknown') AS device, coalesce(r.adapter, 'unknown') AS adapter, q.topic,
             q.index, q.recorded_at, q.replayed_at
      FROM quarantine q LEFT JOIN quarantine_records r USING (topic, partition, epoch, "offset")
      WHERE {selected}) rejected
GROUP BY GROUPING SETS ((reason), (device), (adapter), (topic), ())
ORDER BY 1, count(*) DESC, 2;

-- name: newest
-- The newest examples. No value and no raw byte is read.
SELECT q.topic, q.partition, q.epoch, q."offset", q.index, q.reason, q.metric, q.recorded_at, q.replayed_at,
       r.patient_id, r.device_id, r.adapter
FROM quarantine q LEFT JOIN quarantine_records r USING (topic, partition, epoch, "offset")
WHERE {selected}
ORDER BY q.recorded_at DESC, q.topic, q.partition, q.epoch, q."offset" DESC, q.index
LIMIT %(limit)s;

-- name: replayable
-- What a replay still has to give a chance to. A conflict is left out unless its reason is named.
{selected} AND (%(again)s OR q.replayed_at IS NULL)
    AND (q.reason <> 'conflict' OR 'conflict' = ANY (coalesce(%(reasons)s::text[], ARRAY[]::text[])))

-- name: extent
-- How much a replay will look at, the conflicts that it leaves out, and the time up to which it looks: what it sends and
-- the recorder quarantines again comes later, and a replay never chases itself.
SELECT count(DISTINCT (q.topic, q.partition, q.epoch, q."offset")) FILTER (WHERE {replayable}),
       count(*) FILTER (WHERE {replayable}),
       count(*) FILTER (WHERE q.reason = 'conflict' AND (%(again)s OR q.replayed_at IS NULL) AND NOT ({replayable})),
       clock_timestamp()
FROM quarantine q JOIN quarantine_records r USING (topic, partition, epoch, "offset")
WHERE {selected};

-- name: page
-- The next raw records in the order of their places, with the quarantined indices that are selected: as many as fit into
-- %(limit)s records and (but for the first) %(bytes)s bytes. Records lead and their samples are looked up one record at a
-- time, so that a replay is one walk along the key, whatever the planner believes of tables that grew an hour ago.
SELECT topic, partition, epoch, "offset", timestamp_ms, patient_id, device_id, adapter, key, headers, value, withheld, indices
FROM (SELECT p.*, sum(octet_length(coalesce(value, ''))) OVER place - octet_length(coalesce(value, '')) AS bytes_before
      FROM (SELECT r.*, s.indices
            FROM quarantine_records r
            CROSS JOIN LATERAL (
                SELECT array_agg(q.index ORDER BY q.index) AS indices FROM quarantine q
                WHERE (q.topic, q.partition, q.epoch, q."offset") = (r.topic, r.partition, r.epoch, r."offset")
                  AND q.recorded_at <= %(until)s AND {replayable}) s
            WHERE (r.topic, r.partition, r.epoch, r."offset")
                  > (%(after_topic)s::text, %(after_partition)s::integer, %(after_epoch)s::integer, %(after_offset)s::bigint)
              AND s.indices IS NOT NULL
            ORDER BY r.topic, r.partition, r.epoch, r."offset"
            LIMIT %(limit)s) p
      WINDOW place AS (ORDER BY topic, partition, epoch, "offset")) paged
WHERE bytes_before < %(bytes)s
ORDER BY topic, partition, epoch, "offset";

-- name: mark_replayed
-- The broker has what these rows' second chance is.
UPDATE quarantine q SET replayed_at = now()
FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(epochs)s::integer[], %(offsets)s::bigint[],
            %(indices)s::integer[]) AS a (topic, partition, epoch, "offset", index)
WHERE (q.topic, q.partition, q.epoch, q."offset", q.index) = (a.topic, a.partition, a.epoch, a."offset", a.index);
