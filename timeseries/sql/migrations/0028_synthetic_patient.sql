-- The synthetic patient, whose samples pass the whole way every minute (stream/heartbeat.py): its samples are stored like
-- anybody's, and no reader sees them. Its alerts are not stored at all.
--
-- phase: pre
-- locks: ACCESS EXCLUSIVE on the views of schema data for a moment.

-- All that the heartbeat is to read: its role sees nobody's samples.
CREATE VIEW synthetic_newest AS
SELECT max(l.time) AS newest FROM latest l JOIN patients p USING (patient_key) WHERE p.patient_id = 'vigil-synthetic';
COMMENT ON VIEW synthetic_newest IS 'When the newest stored sample of the synthetic patient was measured; NULL: there is none. What vigil heartbeat looks at.';

-- Each view of the data team that names a patient, as it was and without this one.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT v.viewname, v.definition FROM pg_views v
               WHERE v.schemaname = 'data' AND EXISTS (
                   SELECT FROM information_schema.columns c
                   WHERE c.table_schema = 'data' AND c.table_name = v.viewname AND c.column_name = 'patient_id')
               ORDER BY v.viewname LOOP
        EXECUTE format('CREATE OR REPLACE VIEW data.%I WITH (security_barrier) AS SELECT v.* FROM (%s) v WHERE v.patient_id <> %L',
                       one.viewname, rtrim(one.definition, E'; \n'), 'vigil-synthetic');
    END LOOP;
END
$$;
