-- The device registry: what a device is, what it may tell, how it is read, and what was ever done to it. Samples are judged
-- by it as they come (vitals/gate.py): what it does not let in is quarantined by reason, and passes when it is replayed
-- after the registry was changed.
--
-- phase: pre
-- locks: SHARE ROW EXCLUSIVE on device_bindings for the moment in which its trigger is made.

CREATE TABLE device_registry (
    device_key        integer PRIMARY KEY REFERENCES devices,
    state             text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'retired')),
    device_type       text NOT NULL CHECK (device_type <> ''),
    manufacturer      text,
    model             text,
    firmware          text,
    intended_use      text NOT NULL DEFAULT 'wellness' CHECK (intended_use IN ('medical', 'wellness')),
    permitted_metrics smallint[] CHECK (cardinality(permitted_metrics) > 0),
    connection        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(connection) = 'object'),
    streams           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(streams) = 'object'),
    accuracy          jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(accuracy) = 'object'),
    registered_at     timestamptz NOT NULL DEFAULT now(),
    changed_at        timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE device_registry IS 'A device that somebody registered: what it is, what it may tell and how it is read.';
COMMENT ON COLUMN device_registry.device_key IS 'The device.';
COMMENT ON COLUMN device_registry.state IS 'active; suspended: its samples are quarantined for now; retired: for good.';
COMMENT ON COLUMN device_registry.device_type IS 'A word: chest_strap, watch, oximeter, thermometer, cgm, phone.';
COMMENT ON COLUMN device_registry.manufacturer IS 'Its maker. Never a name that a person gave it.';
COMMENT ON COLUMN device_registry.model IS 'Its model.';
COMMENT ON COLUMN device_registry.firmware IS 'The firmware that it is known to run.';
COMMENT ON COLUMN device_registry.intended_use IS 'What its maker says it is for. Alerts from a wellness device never have high priority.';
COMMENT ON COLUMN device_registry.permitted_metrics IS 'Metric keys that it may tell; NULL: all.';
COMMENT ON COLUMN device_registry.connection IS 'How to reach it, for a bridge: {"transport": "ble", "service": "180D"}. No secret.';
COMMENT ON COLUMN device_registry.streams IS 'By metric code: {"heart_rate": {"cadence_s": 1, "expected_within_s": 900}}.';
COMMENT ON COLUMN device_registry.accuracy IS 'By metric code, as its maker states it: {"heart_rate": {"plus_minus": 1, "unit": "/min"}}.';
COMMENT ON COLUMN device_registry.registered_at IS 'When it was registered.';
COMMENT ON COLUMN device_registry.changed_at IS 'When this row last changed.';

CREATE TABLE device_events (
    event_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_key integer NOT NULL REFERENCES devices,
    at         timestamptz NOT NULL DEFAULT now(),
    what       text NOT NULL CHECK (what IN ('registered', 'changed', 'bound', 'released', 'suspended', 'resumed', 'retired')),
    who        text NOT NULL CHECK (who <> ''),
    why        text,
    detail     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX device_events_by_device ON device_events (device_key, at);
CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON device_events FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE device_events IS 'What was done to a device: by whom, when, why. Rows are never deleted.';
COMMENT ON COLUMN device_events.device_key IS 'The device.';
COMMENT ON COLUMN device_events.who IS 'Opaque id of the person or program that did it.';
COMMENT ON COLUMN device_events.why IS 'The number of the matter, never a name.';
COMMENT ON COLUMN device_events.detail IS 'What changed: firmware, permitted metrics, the patient bound.';

CREATE TABLE gate_version (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version  bigint NOT NULL DEFAULT 1
);
INSERT INTO gate_version DEFAULT VALUES;
COMMENT ON TABLE gate_version IS 'Counts the changes of what decides who may tell what: recorders look at it every two seconds and read the rest when it moved.';

CREATE FUNCTION gate_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gate_version SET version = version + 1;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gate_moved IS 'Trigger: the gate is to be read again.';
CREATE TRIGGER gate_moved AFTER INSERT OR UPDATE OR DELETE ON device_registry FOR EACH STATEMENT EXECUTE FUNCTION gate_moved();
CREATE TRIGGER gate_moved AFTER INSERT OR UPDATE OR DELETE ON device_bindings FOR EACH STATEMENT EXECUTE FUNCTION gate_moved();

CREATE VIEW device_overview AS
WITH told AS (
    SELECT o.device_key, max(l.received_at) AS last_seen_at, max(l.time) AS last_measured_at,
           (array_agg(l.value ORDER BY l.time DESC) FILTER (WHERE m.code = 'battery'))[1] AS battery_pct,
           max(l.time) FILTER (WHERE m.code = 'battery') AS battery_at,
           (array_agg(l.value ORDER BY l.time DESC) FILTER (WHERE m.code = 'clock_offset'))[1] AS clock_offset_s
    FROM latest l JOIN origins o USING (origin_key) JOIN metrics m USING (metric_key)
    GROUP BY o.device_key)
SELECT d.device_id, r.state, r.device_type, r.manufacturer, r.model, r.firmware, r.intended_use,
       (SELECT array_agg(m.code ORDER BY m.code) FROM metrics m WHERE m.metric_key = ANY (r.permitted_metrics)) AS permitted_metrics,
       r.connection, r.streams, r.accuracy, r.registered_at, r.changed_at,
       p.patient_id, b.valid_from AS bound_since,
       t.last_seen_at, t.last_measured_at, t.battery_pct, t.battery_at, t.clock_offset_s
FROM device_registry r
JOIN devices d USING (device_key)
LEFT JOIN device_bindings b
    ON b.device_key = r.device_key AND now() >= b.valid_from AND (b.valid_to IS NULL OR now() < b.valid_to)
LEFT JOIN patients p USING (patient_key)
LEFT JOIN told t ON t.device_key = r.device_key;
COMMENT ON VIEW device_overview IS 'Each registered device as it is now: state, wearer, when it was last heard, battery and clock.';
