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
