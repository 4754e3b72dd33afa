-- Who may do what: run after every migration, by the owner of the tables (the role that migrates). It makes the roles
-- where it may (they have no password and nobody can log in as them: `GRANT vigil_recorder TO your_login`) and grants
-- what is missing. What is not granted here is refused. The owner alone runs `vigil db ...`, `vigil archive ...` and
-- `vigil hold ...`: refreshing and dropping are an owner's business in TimescaleDB. No role reads `reviews`: `vigil review`
-- shows the owner's reader one clinician's list.
DO $$
DECLARE
    wanted record;
BEGIN
    CREATE TEMPORARY TABLE wanted_grants (role_name text, privileges text, tables text[]) ON COMMIT DROP;
    INSERT INTO wanted_grants VALUES
    -- The recorder stores, and reads only what it must compare with. It deletes a newest value whose sample was deleted.
    ('vigil_recorder', 'SELECT, INSERT',
        '{patients, devices, origins, sample_revisions, quarantine_records, quarantine, quarantine_outbox, waveforms}'),
    ('vigil_recorder', 'SELECT, INSERT, UPDATE',
        '{samples, watermarks, duplicates, reduced, not_consented, dirty_ranges, feature_state, sample_ids}'),
    ('vigil_recorder', 'SELECT, UPDATE', '{deletions_told}'), -- it wakes deletions that wait for what it stores
    ('vigil_recorder', 'SELECT, INSERT, UPDATE, DELETE', '{latest}'),
    ('vigil_recorder', 'SELECT', '{metrics, device_bindings, device_registry, gate_version, consents}'),
    -- The watch reads rules, never samples.
    ('vigil_watch', 'SELECT', '{metrics, patients, devices, device_bindings, device_registry, gate_version, consents,
        care_profiles, policy_versions, people_version}'),
    -- Dispatch keeps the ledger of alerts and of what was told.
    ('vigil_dispatch', 'SELECT, INSERT, UPDATE', '{alerts, notifications, delivery_attempts}'),
    ('vigil_dispatch', 'SELECT, INSERT, UPDATE', '{annotations, not_consented, deletions_told}'),
    ('vigil_dispatch', 'SELECT, INSERT', '{patients}'),
    ('vigil_dispatch', 'SELECT', '{consents, gate_version, devices, device_registry, device_bindings, sample_ids,
        samples_to_delete, samples_written_later, erased_people}'),
    -- The console reads what it draws, and writes who acknowledged.
    ('vigil_console', 'SELECT', '{patients, devices, origins, metrics, latest, samples, dirty_ranges, vitals_1m, vitals_1m_all,
        vitals_15m, vitals_15m_all, vitals_1h, vitals_1h_all, metric_horizons, alerts, notifications, schema_migrations}'),
    -- The quarantine's screen, replay and feed.
    ('vigil_quarantine', 'SELECT', '{quarantine_records, quarantine, metrics}'),
    ('vigil_quarantine', 'SELECT, UPDATE, DELETE', '{quarantine_outbox}'), -- it locks the rows that it takes
    -- The gateway reads who may send what; it keeps when tokens were used, their successors, anchors and counts.
    ('vigil_gateway', 'SELECT', '{access_version, device_registry, device_bindings, gate_version, consents, devices, patients,
        metrics, origins, latest}'),
    ('vigil_gateway', 'SELECT, INSERT', '{access_tokens, sync_anchors, not_consented}'),
    ('vigil_gateway', 'INSERT', '{access_events}'),
    -- The heartbeat sees when its own newest sample was stored, and nothing of anybody.
    ('vigil_heartbeat', 'SELECT', '{synthetic_newest}'),
    -- The data team: the views and nothing beneath them. What they show a role of one's own is up to reader_scopes.
    ('vigil_views', 'SELECT', '{data.metrics, data.patients, data.samples, data.vitals_1m, data.vitals_15m, data.vitals_1h,
        data.vitals_1d, data.user_analytics, data.user_trends, data.waveforms, data.alerts, data.annotations}'),
    -- The reader with the widest scope: see reader_scopes.
    ('vigil_reader', 'SELECT', '{data.metrics}');

    FOR wanted IN SELECT DISTINCT role_name FROM wanted_grants WHERE to_regrole(role_name) IS NULL LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted.role_name);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % is missing and may not be made by %', wanted.role_name, current_user;
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this cluster was quicker
        END;
    END LOOP;

    FOR wanted IN
        SELECT g.role_name, privilege, entry AS table_name
        FROM wanted_grants g, unnest(string_to_array(g.privileges, ', ')) AS privilege, unnest(g.tables) AS entry
        WHERE to_regrole(g.role_name) IS NOT NULL AND NOT has_table_privilege(g.role_name, entry, privilege)
        ORDER BY 3, 1, 2
    LOOP
        EXECUTE format('GRANT %s ON %s TO %I', wanted.privilege, wanted.table_name, wanted.role_name);
    END LOOP;

    -- The conflict path has a scratch table; public may make one unless a careful administrator took that away.
    IF to_regrole('vigil_recorder') IS NOT NULL
       AND NOT has_database_privilege('vigil_recorder', current_database(), 'TEMPORARY') THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO vigil_recorder', current_database());
    END IF;
    -- Columns where a whole row is too much.
    IF to_regrole('vigil_console') IS NOT NULL THEN
        GRANT UPDATE (acknowledged_by, acknowledged_at, acknowledged_priority) ON alerts TO vigil_console;
    END IF;
    IF to_regrole('vigil_quarantine') IS NOT NULL THEN
        GRANT UPDATE (replayed_at) ON quarantine TO vigil_quarantine;
    END IF;
    IF to_regrole('vigil_gateway') IS NOT NULL THEN
        GRANT UPDATE (last_used_at, revoked_at) ON access_tokens TO vigil_gateway;
        GRANT UPDATE (version) ON access_version TO vigil_gateway; -- by the trigger, where it makes or ends a token
        GRANT UPDATE (anchor, at) ON sync_anchors TO vigil_gateway;
        GRANT UPDATE (samples) ON not_consented TO vigil_gateway;
    END IF;
    IF to_regrole('vigil_views') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA data TO vigil_views;
        IF to_regrole('vigil_reader') IS NOT NULL AND NOT pg_has_role('vigil_reader', 'vigil_views', 'member') THEN
            GRANT vigil_views TO vigil_reader;
        END IF;
    END IF;
    FOR wanted IN SELECT DISTINCT role_name FROM wanted_grants
                  WHERE to_regrole(role_name) IS NOT NULL AND role_name NOT IN ('vigil_reader', 'vigil_views')
                    AND NOT has_schema_privilege(role_name, current_schema(), 'USAGE') LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), wanted.role_name);
    END LOOP;
    DROP TABLE wanted_grants;
END
$$;
