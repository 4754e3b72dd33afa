-- name: take_turn
-- One run or job at a time; given back by let_go, or with the connection.
SELECT pg_try_advisory_lock(lifecycle_key());

-- name: let_go
SELECT pg_advisory_unlock(lifecycle_key());

-- name: who_works
-- Whoever holds the turn: what it calls itself, its process in the database, since when it is there.
SELECT coalesce(nullif(a.application_name, ''), 'somebody'), l.pid, coalesce(a.query_start, a.backend_start)
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND (l.classid::bigint << 32) + l.objid::bigint = lifecycle_key();

-- name: policies
-- Every policy, and before which time it lets go now; NULL: of nothing.
SELECT retention_class, tier, archive_after::text, drop_after::text,
       date_trunc('day', %(moment)s::timestamptz AT TIME ZONE 'UTC' - archive_after) AT TIME ZONE 'UTC',
       lifecycle_horizon(retention_class, tier, %(moment)s)
FROM lifecycle_policies
ORDER BY retention_class, array_position(ARRAY['raw', 'archive', 'minute', 'quarter', 'hour', 'day'], tier);

-- name: raw_classes
-- Each class of samples: the time below which its samples go now (TimescaleDB: whole chunks), its raw horizon, and the time
-- up to which its days have been archived.
SELECT p.retention_class, drop_horizon('samples', lifecycle_horizon(p.retention_class, 'raw', %(moment)s)), h.horizon,
       greatest(h.horizon, (SELECT (max(d.utc_day) + 1)::timestamp AT TIME ZONE 'UTC' FROM raw_days d
                            WHERE d.retention_class = p.retention_class))
FROM lifecycle_policies p LEFT JOIN raw_horizons h USING (retention_class)
WHERE p.tier = 'raw' AND p.retention_class IN (SELECT retention_class FROM metrics WHERE kind <> 'waveform')
ORDER BY p.retention_class;

-- name: days_present
-- The UTC days of a class between two times that have rows: how many, and how many of them are on hold.
SELECT (s.time AT TIME ZONE 'UTC')::date, count(*), count(h.patient_key)
FROM samples s LEFT JOIN patients_on_hold h USING (patient_key)
WHERE s.time >= %(from)s::timestamptz AND s.time < %(to)s::timestamptz
  AND s.metric_key = ANY ((SELECT metrics_of(%(class)s))::smallint[])
GROUP BY 1 ORDER BY 1;

-- name: is_covered
-- Is every row that samples hold of a class's UTC day in a verified file?
SELECT archive_covers(%(class)s, %(day)s);

-- name: day_state
SELECT state FROM raw_days WHERE retention_class = %(class)s AND utc_day = %(day)s;

-- name: set_day
INSERT INTO raw_days AS d (retention_class, utc_day, state) VALUES (%(class)s, %(day)s, %(state)s)
ON CONFLICT (retention_class, utc_day) DO UPDATE SET state = excluded.state, changed_at = now();

-- name: set_moved
-- With the horizon that move_to_history has just set.
UPDATE raw_days SET state = 'moved', changed_at = now()
WHERE retention_class = %(class)s AND state = 'archived' AND utc_day < (%(to)s::timestamptz AT TIME ZONE 'UTC')::date;

-- name: days_behind
-- Wearers' days that touch this stretch and are still to be made, some of them from samples.
SELECT EXISTS (SELECT FROM dirty_days
               WHERE day >= (%(from)s::timestamptz AT TIME ZONE 'UTC')::date - 1
                 AND day <= (%(to)s::timestamptz AT TIME ZONE 'UTC')::date);

-- name: ranges_behind
-- Hours between two times that the rollups have not seen.
SELECT count(*) FROM dirty_ranges WHERE to_time >= %(from)s::timestamptz AND from_time < %(to)s::timestamptz;

-- name: late_marks
-- Hours below a horizon in which something changed, whether the refresh has passed over them already or not; the version
-- of those that are ours to forget.
SELECT patient_key, hour, xmin::text FROM late_hours
UNION ALL
SELECT patient_key, hour, NULL FROM dirty_ranges WHERE hour < (SELECT max(horizon) FROM raw_horizons);

-- name: late_days
-- Days of a class below its horizon that are not through: late ones, and those that are to be dropped.
SELECT utc_day FROM raw_days WHERE retention_class = %(class)s AND state = 'late'
UNION SELECT utc_day FROM raw_days_to_drop WHERE retention_class = %(class)s
ORDER BY 1;

-- name: is_expired
-- Did rows of this day leave the archive, because its own time was over?
SELECT EXISTS (SELECT FROM archive_events e JOIN archive_files f USING (file_id)
               WHERE f.retention_class = %(class)s AND f.utc_day = %(day)s AND e.kind = 'expired');

-- name: forget_late
DELETE FROM late_hours l
USING unnest(%(patients)s::integer[], %(hours)s::timestamptz[], %(versions)s::text[]) AS s (patient_key, hour, version)
WHERE l.patient_key = s.patient_key AND l.hour = s.hour AND l.xmin::text = s.version;

-- name: raw_days_to_drop
SELECT retention_class, utc_day FROM raw_days_to_drop ORDER BY utc_day, retention_class;

-- name: hold_still
-- First in the transaction, before its snapshot is taken.
LOCK TABLE legal_holds IN SHARE MODE;

-- name: drop_raw_day
-- Stock PostgreSQL.
SELECT drop_raw_day(%(class)s, %(day)s, %(moment)s);

-- name: raw_chunks_to_drop
-- TimescaleDB.
SELECT c.chunk::text FROM raw_chunks_to_drop(%(moment)s) c;

-- name: drop_raw_chunk
SELECT drop_raw_chunk(c, %(moment)s) FROM chunks c WHERE c.chunk = to_regclass(%(chunk)s);

-- name: drop_tier
SELECT drop_tier(%(class)s, %(tier)s, %(moment)s);

-- name: below_horizon
-- Rows of a class that are still in samples below its raw horizon: all, and those on hold.
SELECT count(*), count(h.patient_key)
FROM samples s LEFT JOIN patients_on_hold h USING (patient_key)
WHERE s.time < %(horizon)s::timestamptz AND s.metric_key = ANY ((SELECT metrics_of(%(class)s))::smallint[]);

-- name: due_rows
-- Rows of {table} that are due, and how many of them are on hold.
SELECT count(*), count(h.patient_key)
FROM {table} t LEFT JOIN patients_on_hold h USING (patient_key)
WHERE t.{column} < drop_horizon('{table}', %(horizon)s) AND {also};

-- name: of_class
t.metric_key = ANY ((SELECT metrics_of(%(class)s))::smallint[])

-- name: due_archive
-- Archived rows of a class from before a day.
SELECT coalesce(sum(l.rows), 0)::bigint, coalesce(sum(l.rows) FILTER (WHERE h.patient_key IS NOT NULL), 0)::bigint
FROM archive_files f JOIN archive_leaves l USING (file_id) LEFT JOIN patients_on_hold h USING (patient_key)
WHERE f.retention_class = %(class)s AND f.utc_day < (%(horizon)s::timestamptz AT TIME ZONE 'UTC')::date
  AND l.erased_at IS NULL;

-- name: due_quarantine
SELECT count(*), count(h.patient_id)
FROM quarantine_records r
LEFT JOIN patients_on_hold h ON h.patient_id = r.patient_id OR convert_to(h.patient_id, 'UTF8') = r.key
WHERE r.recorded_at < %(horizon)s::timestamptz;

-- name: due_audit
-- Alerts, reviews, notifications and older versions.
SELECT count(*), count(h.patient_id)
FROM (SELECT patient_id FROM alerts WHERE stored_at < %(horizon)s::timestamptz AND state = 'cleared'
      UNION ALL SELECT p.patient_id FROM reviews r JOIN patients p USING (patient_key)
                WHERE r.stored_at < %(horizon)s::timestamptz AND r.state = 'cleared'
      UNION ALL SELECT patient_id FROM notifications WHERE stored_at < %(horizon)s::timestamptz
      UNION ALL SELECT p.patient_id FROM sample_revisions r LEFT JOIN patients p USING (patient_key)
                WHERE r.superseded_at < %(horizon)s::timestamptz) old
LEFT JOIN patients_on_hold h USING (patient_id);
