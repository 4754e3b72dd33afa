-- name: clock
-- The database's clock, seconds since 1970.
SELECT extract(epoch FROM clock_timestamp())::float8;

-- name: connections
-- How many connections there are, and how many there may be.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer,
       current_setting('max_connections')::integer;

-- name: roles
-- Which of the services' roles are missing, and which of those that are there may not log in.
SELECT wanted.name, r.rolname IS NOT NULL, coalesce(r.rolcanlogin, false)
FROM unnest(%(roles)s::text[]) AS wanted (name) LEFT JOIN pg_roles r ON r.rolname = wanted.name ORDER BY 1;

-- name: progress
-- Each topic's furthest store time, as an age in seconds, and the newest record's own age.
SELECT topic, extract(epoch FROM now() - max(updated_at))::float8,
       extract(epoch FROM now())::float8 - max(last_timestamp_ms) / 1000.0::float8
FROM watermarks GROUP BY topic ORDER BY topic;

-- name: rollups
-- Hours that wait for their rollups; the newest end of those that are done with.
SELECT count(*)::bigint, extract(epoch FROM now() - min(hour))::float8 FROM dirty_ranges;

-- name: quarantine
-- What was rejected in the last day, by reason, the most first.
SELECT reason, count(*)::bigint FROM quarantine
WHERE recorded_at > now() - interval '1 day' AND replayed_at IS NULL GROUP BY reason ORDER BY 2 DESC, 1 LIMIT 5;

-- name: undelivered
-- Notifications of the last day that no attempt delivered.
SELECT count(*)::bigint FROM notifications n
WHERE n.created_at BETWEEN now() - interval '1 day' AND now() - interval '5 minutes'
  AND NOT EXISTS (SELECT FROM delivery_attempts d WHERE d.notification_id = n.notification_id AND d.outcome = 'delivered');

-- name: devices
-- Registered devices: active ones, those that nobody wears, those that were never heard.
SELECT count(*) FILTER (WHERE state = 'active')::bigint,
       count(*) FILTER (WHERE state = 'active' AND patient_id IS NULL)::bigint,
       count(*) FILTER (WHERE state = 'active' AND last_seen_at IS NULL)::bigint
FROM device_overview;

-- name: offsets
-- How far each partition is stored.
SELECT topic, partition, next_offset FROM watermarks ORDER BY topic, partition;

-- name: consents
-- Patients with a standing consent for care, and those heard in the last week who have none.
WITH standing AS (
    SELECT DISTINCT patient_key FROM consents
    WHERE purpose = 'care' AND withdrawn_at IS NULL AND valid_from <= now() AND (valid_until IS NULL OR valid_until > now()))
SELECT (SELECT count(*) FROM standing)::bigint,
       (SELECT count(DISTINCT patient_key) FROM latest
        WHERE received_at > now() - interval '7 days' AND patient_key NOT IN (SELECT patient_key FROM standing)
          AND patient_key NOT IN (SELECT patient_key FROM patients WHERE patient_id = 'vigil-synthetic'))::bigint;

-- name: tokens
-- Tokens that stand, those of them that end within two weeks, those that were made a day ago and never used.
SELECT count(*)::bigint, count(*) FILTER (WHERE expires_at < now() + interval '14 days')::bigint,
       count(*) FILTER (WHERE last_used_at IS NULL AND created_at < now() - interval '1 day')::bigint
FROM access_tokens WHERE expires_at > now() AND (revoked_at IS NULL OR revoked_at > now());

-- name: heartbeat
-- How old the newest stored sample of the synthetic patient is, in seconds; NULL: there is none.
SELECT extract(epoch FROM now() - newest)::float8 FROM synthetic_newest;
