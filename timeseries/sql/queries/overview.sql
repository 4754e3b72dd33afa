-- name: extension
-- The version of TimescaleDB in this database; no row on stock PostgreSQL.
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb';

-- name: tables
-- Vigil's plain tables with the planner's estimate of their rows (NULL: it has not looked yet), their size on disk,
-- indexes included, and that of the rows alone (NULL: we may not read them). The table that a hypertable's chunks hang
-- on holds nothing: see below.
SELECT c.relname, CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END, pg_total_relation_size(c.oid),
       CASE WHEN has_table_privilege(c.oid, 'SELECT') THEN pg_relation_size(c.oid) END
FROM pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
ORDER BY 1;

-- name: count_rows
-- Small tables are counted: the planner looks at them rarely.
SELECT count(*) FROM {table};

-- name: hypertables
-- TimescaleDB: hypertables, and the continuous aggregates' under their views' names, over all their chunks. Rows are
-- estimates: in the row store what the planner knows (NULL where it has not looked at a chunk yet); in the columnstore what
-- was counted when it took them, or TimescaleDB's own estimate where that is less, since rows were deleted (alone it would
-- not do: up to 2.23 it takes every batch for a full one).
WITH ours AS (
    SELECT hypertable_name AS name, hypertable_schema AS schema, hypertable_name AS storage
    FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()
    UNION ALL
    SELECT view_name, materialization_hypertable_schema, materialization_hypertable_name
    FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema()
), sizes AS (
    SELECT o.name, hypertable_size(s.storage) AS bytes, approximate_row_count(s.storage) AS estimate
    FROM ours o CROSS JOIN LATERAL (SELECT format('%I.%I', o.schema, o.storage)::regclass AS storage) s
), row_store AS (
    SELECT o.name, count(*) AS chunks, count(*) FILTER (WHERE i.is_compressed) AS packed,
           bool_and(r.reltuples >= 0 OR pg_relation_size(r.oid) = 0) AS known, sum(greatest(r.reltuples, 0)) AS rows
    FROM ours o
    JOIN timescaledb_information.chunks i ON (i.hypertable_schema, i.hypertable_name) = (o.schema, o.storage)
    JOIN pg_class r ON r.oid = format('%I.%I', i.chunk_schema, i.chunk_name)::regclass
    GROUP BY o.name
), columnstore AS (
    SELECT o.name, sum(s.numrows_pre_compression) AS rows,
           sum(s.uncompressed_heap_size + s.uncompressed_toast_size + s.uncompressed_index_size) AS before,
           sum(s.compressed_heap_size + s.compressed_toast_size + s.compressed_index_size) AS after
    FROM ours o
    JOIN _timescaledb_catalog.hypertable h ON (h.schema_name, h.table_name) = (o.schema, o.storage)
    JOIN _timescaledb_catalog.chunk k ON k.hypertable_id = h.id
    JOIN _timescaledb_catalog.compression_chunk_size s ON s.chunk_id = k.id
    GROUP BY o.name
)
SELECT z.name,
       CASE WHEN r.chunks IS NULL THEN 0
            WHEN r.known THEN (r.rows + CASE WHEN z.estimate > r.rows THEN least(coalesce(c.rows, 0), z.estimate - r.rows)
                                             ELSE coalesce(c.rows, 0) END)::bigint END,
       z.bytes, coalesce(r.chunks, 0), coalesce(r.packed, 0), coalesce(c.before, 0)::bigint, coalesce(c.after, 0)::bigint
FROM sizes z
LEFT JOIN row_store r USING (name)
LEFT JOIN columnstore c USING (name)
ORDER BY 1;

-- name: watermarks
-- How far each topic is stored.
SELECT topic, count(*)::integer, sum(next_offset)::bigint, extract(epoch FROM now() - max(updated_at))::float8
FROM watermarks GROUP BY topic ORDER BY topic;

-- name: duplicates
-- What came again and was not stored twice, by who told it and why: in the last seven days, and ever.
SELECT adapter, reason,
       coalesce(sum(samples) FILTER (WHERE day > (now() AT TIME ZONE 'UTC')::date - 7), 0)::bigint, sum(samples)::bigint
FROM duplicates GROUP BY adapter, reason ORDER BY 4 DESC, 1, 2 LIMIT 50;
