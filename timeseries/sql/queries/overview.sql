-- name: tables
-- Vigil's tables with the planner's row estimates and their size on disk, indexes included.
SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
FROM pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
ORDER BY 3 DESC;

-- name: watermarks
-- How far each topic is stored.
SELECT topic, count(*)::integer, sum(next_offset)::bigint, extract(epoch FROM now() - max(updated_at))::float8
FROM watermarks GROUP BY topic ORDER BY topic;

-- name: duplicates
-- What came again and was not stored twice, by who told it and why: in the last seven days, and ever.
SELECT adapter, reason,
       coalesce(sum(samples) FILTER (WHERE day > (now() AT TIME ZONE 'UTC')::date - 7), 0)::bigint, sum(samples)::bigint
FROM duplicates GROUP BY adapter, reason ORDER BY 4 DESC, 1, 2 LIMIT 50;
