-- TimescaleDB lets go of chunks. A chunk is dropped only where every row in it is due and of nobody on hold; otherwise the
-- due series in it are deleted by the columnstore's segments, which decompresses none of the others. The database runs this by
-- itself, every hour; of samples it touches only days that Vigil's command line has archived and whose rollups it has
-- moved to the history, and it looks again, under a lock, whether the archive has every row. So it can overtake neither an
-- archive nor a hold. It takes the place of the native retention policy of waveforms, which knows no hold. What
-- retention_policies said was taken over by 0015; a `vigil db lifecycle` of the release before fails from here on, harmlessly.
--
-- phase: pre
-- locks: none that anybody waits for: jobs and functions that nothing else uses are replaced.

SELECT remove_retention_policy('waveforms', if_exists => true);
SELECT delete_job(job_id) FROM timescaledb_information.jobs
WHERE proc_name = 'apply_retention' AND proc_schema = current_schema();
DROP VIEW retention_due;
DROP PROCEDURE apply_retention;
DROP PROCEDURE apply_waveform_retention;
DROP TABLE retention_policies;

CREATE VIEW chunks AS
SELECT format('%I.%I', hypertable_schema, hypertable_name)::regclass AS of_table,
       format('%I.%I', chunk_schema, chunk_name)::regclass AS chunk, range_start, range_end
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema();
COMMENT ON VIEW chunks IS 'The chunks of Vigil''s hypertables.';

CREATE FUNCTION drop_horizon(of_table regclass, horizon timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(*) = 0 THEN horizon ELSE max(range_end) FILTER (WHERE range_end <= horizon) END
    FROM chunks c WHERE c.of_table = $1
$$;
COMMENT ON FUNCTION drop_horizon IS 'Rows of a hypertable go by the chunk: the end of its newest chunk that lies wholly below the horizon; NULL: none does.';

CREATE FUNCTION time_column(of_table regclass) RETURNS name LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN of_table IN ('samples'::regclass, 'waveforms'::regclass) THEN 'time' ELSE 'bucket' END
$$;

CREATE FUNCTION drop_from_chunk(one chunks, due smallint[], OUT gone bigint, OUT held integer[]) LANGUAGE plpgsql AS $$
DECLARE
    stay boolean;
    free integer[];
    went bigint;
BEGIN
    EXECUTE format(
        'SELECT coalesce(sum(n) FILTER (WHERE metric_key = ANY ($1) AND h.patient_key IS NULL), 0), '
        'coalesce(bool_or(metric_key <> ALL ($1) OR h.patient_key IS NOT NULL), false), '
        'coalesce(array_agg(DISTINCT patient_key) FILTER (WHERE h.patient_key IS NOT NULL), ''{}''), '
        'array_agg(DISTINCT patient_key) FILTER (WHERE h.patient_key IS NULL) '
        'FROM (SELECT patient_key, metric_key, count(*) AS n FROM %s GROUP BY 1, 2) s '
        'LEFT JOIN patients_on_hold h USING (patient_key)', one.chunk)
        INTO gone, stay, held, free USING due;
    IF NOT stay THEN
        PERFORM drop_chunks(one.of_table, older_than => one.range_end, newer_than => one.range_start);
    ELSIF gone > 0 THEN
        -- By the hypertable: a DELETE from the chunk itself passes over its columnstore in TimescaleDB 2.23. Segmentby
        -- columns and the chunk's own bounds, as constants: so whole segments go, where the version can, without being
        -- opened. Rows beside the columnstore go the same way.
        PERFORM set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true);
        EXECUTE format('DELETE FROM %s WHERE metric_key = ANY (%L::smallint[]) AND patient_key = ANY (%L::integer[]) '
                       'AND %I >= %L AND %I < %L', one.of_table, due, free,
                       time_column(one.of_table), one.range_start, time_column(one.of_table), one.range_end);
        GET DIAGNOSTICS went = ROW_COUNT;
        IF went <> gone THEN
            RAISE EXCEPTION '% of % rows would have gone: nothing goes', went, gone;
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION drop_from_chunk IS 'Lets go of the rows of these metrics in one chunk, but for those of patients on hold. The caller holds locks that keep writers and new holds out.';

CREATE FUNCTION raw_chunks_to_drop(moment timestamptz DEFAULT now()) RETURNS SETOF chunks LANGUAGE sql STABLE AS $$
    SELECT c.* FROM chunks c
    WHERE c.of_table = 'samples'::regclass AND EXISTS (
        SELECT FROM raw_days_to_drop d
        WHERE d.utc_day >= (c.range_start AT TIME ZONE 'UTC')::date AND d.utc_day < (c.range_end AT TIME ZONE 'UTC')::date
          AND lifecycle_horizon(d.retention_class, 'raw', moment) >= c.range_end)
    ORDER BY c.range_start
$$;

CREATE FUNCTION drop_raw_chunk(one chunks, moment timestamptz DEFAULT now()) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ready text[];
    day   record;
    done  record;
BEGIN
    PERFORM lock_holds();
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', one.chunk);
    -- Every statement from here on sees whatever was written before the locks, and nothing more can be written.
    SELECT coalesce(array_agg(r.retention_class), '{}') INTO ready FROM raw_horizons r
    WHERE r.horizon >= one.range_end AND lifecycle_horizon(r.retention_class, 'raw', moment) >= one.range_end;
    FOR day IN EXECUTE format(
        'SELECT DISTINCT m.retention_class, (c.time AT TIME ZONE ''UTC'')::date AS utc_day FROM %s c '
        'JOIN metrics m USING (metric_key) WHERE m.retention_class = ANY ($1)', one.chunk) USING ready
    LOOP
        IF NOT day.retention_class = ANY (ready) THEN
            CONTINUE;
        END IF;
        PERFORM FROM raw_days d
        WHERE d.retention_class = day.retention_class AND d.utc_day = day.utc_day AND d.state IN ('moved', 'dropped');
        IF NOT FOUND OR NOT archive_covers(day.retention_class, day.utc_day) THEN
            ready := array_remove(ready, day.retention_class);
        END IF;
    END LOOP;
    SELECT * INTO done FROM drop_from_chunk(
        one, ARRAY(SELECT metric_key FROM metrics WHERE retention_class = ANY (ready)));
    UPDATE raw_days SET state = 'dropped', held_patients = done.held, changed_at = now()
    WHERE retention_class = ANY (ready) AND state IN ('moved', 'dropped')
      AND utc_day >= (one.range_start AT TIME ZONE 'UTC')::date AND utc_day < (one.range_end AT TIME ZONE 'UTC')::date;
    RETURN done.gone;
END
$$;
COMMENT ON FUNCTION drop_raw_chunk IS 'Lets go of the samples of one chunk: of each class whose days in it are all due, in the history and, as seen under the lock, wholly in the archive.';

CREATE FUNCTION drop_waveforms(horizon timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    one  chunks;
    gone bigint;
BEGIN
    FOR one IN SELECT * FROM chunks c WHERE c.of_table = 'waveforms'::regclass AND range_end <= horizon ORDER BY range_start LOOP
        PERFORM lock_holds();
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', one.chunk);
        SELECT d.gone INTO gone FROM drop_from_chunk(one, ARRAY(SELECT metric_key FROM metrics)) d;
        EXIT WHEN gone > 0;
    END LOOP;
    RETURN coalesce(gone, 0);
END
$$;
COMMENT ON FUNCTION drop_waveforms IS 'One chunk of waveforms: nothing rolls them up and nothing archives them, only a hold keeps them.';

CREATE FUNCTION drop_history(of_class text, of_tier text, moment timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    of_history CONSTANT regclass := CASE of_tier WHEN 'minute' THEN 'vitals_1m_history' WHEN 'quarter' THEN 'vitals_15m_history'
                                                 WHEN 'hour' THEN 'vitals_1h_history' END;
    one  chunks;
    gone bigint;
BEGIN
    FOR one IN SELECT * FROM chunks c
               WHERE c.of_table = of_history AND range_end <= lifecycle_horizon(of_class, of_tier, moment) ORDER BY range_start
    LOOP
        PERFORM lock_holds();
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', one.chunk);
        SELECT d.gone INTO gone FROM drop_from_chunk(one, ARRAY(
            SELECT metric_key FROM metric_horizons h JOIN metrics m USING (metric_key)
            WHERE h.horizon >= one.range_end AND lifecycle_horizon(m.retention_class, of_tier, moment) >= one.range_end)) d;
        EXIT WHEN gone > 0;
    END LOOP;
    RETURN coalesce(gone, 0);
END
$$;
COMMENT ON FUNCTION drop_history IS 'One chunk of a rollup''s history, with every class that is due there.';

CREATE FUNCTION apply_columnstore_policies() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
    job integer;
BEGIN
    FOR one IN
        SELECT 'samples'::regclass AS of_table, 'samples' AS name,
               CASE WHEN bool_and(columnstore_after IS NOT NULL) THEN max(columnstore_after) END AS after
        FROM lifecycle_policies
        WHERE tier = 'raw' AND retention_class NOT IN ('waveform', 'quarantine', 'audit', 'evidence')
        UNION ALL
        SELECT 'waveforms'::regclass, 'waveforms', max(columnstore_after)
        FROM lifecycle_policies WHERE tier = 'raw' AND retention_class = 'waveform'
    LOOP
        SELECT job_id INTO job FROM timescaledb_information.jobs
        WHERE hypertable_schema = current_schema() AND hypertable_name = one.name
          AND proc_name IN ('policy_compression', 'policy_columnstore');
        IF one.after IS NULL THEN
            PERFORM remove_compression_policy(one.of_table, if_exists => true);
        ELSIF job IS NULL THEN
            PERFORM add_compression_policy(one.of_table, compress_after => one.after);
        ELSE
            PERFORM alter_job(job, config => (SELECT j.config || jsonb_build_object('compress_after', one.after)
                                              FROM timescaledb_information.jobs j WHERE j.job_id = job));
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION apply_columnstore_policies IS 'The native policies follow lifecycle_policies; where one class never goes into the columnstore, samples do not.';

CREATE FUNCTION follow_columnstore_policies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM apply_columnstore_policies();
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_columnstore_policies AFTER INSERT OR UPDATE OR DELETE ON lifecycle_policies
    FOR EACH STATEMENT EXECUTE FUNCTION follow_columnstore_policies();
SELECT apply_columnstore_policies();

CREATE PROCEDURE lifecycle_job(job_id integer DEFAULT 0, config jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    one    chunks;
    policy record;
    gone   bigint;
BEGIN
    FOR one IN SELECT * FROM raw_chunks_to_drop() LOOP
        IF NOT pg_try_advisory_xact_lock(lifecycle_key()) THEN
            RETURN;
        END IF;
        BEGIN
            PERFORM drop_raw_chunk(one);
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RAISE WARNING 'a chunk of samples is in use: the next run lets go of it';
        END;
        COMMIT;
    END LOOP;
    FOR policy IN SELECT retention_class, tier FROM lifecycle_policies ORDER BY 1, 2 LOOP
        LOOP
            IF NOT pg_try_advisory_xact_lock(lifecycle_key()) THEN
                RETURN;
            END IF;
            BEGIN
                gone := drop_tier(policy.retention_class, policy.tier);
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                RAISE WARNING 'tier % of % is in use: the next run goes on', policy.tier, policy.retention_class;
                gone := 0;
            END;
            COMMIT;
            EXIT WHEN gone = 0;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE lifecycle_job IS 'What the database lets go of by itself, a slice a transaction; it gives way to a `vigil db lifecycle --run`.';
SELECT add_job('lifecycle_job', INTERVAL '1 hour');
