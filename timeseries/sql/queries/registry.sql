-- name: gate_version
SELECT version FROM gate_version;

-- name: gate
-- Every device that is registered or was ever bound: its state, what it is permitted, who wore it when.
SELECT d.device_id, coalesce(r.state, 'active'), r.permitted_metrics::integer[], r.device_key IS NOT NULL,
       coalesce(array_agg(p.patient_id ORDER BY b.valid_from) FILTER (WHERE b.binding_id IS NOT NULL), '{}'),
       coalesce(array_agg(b.valid_from ORDER BY b.valid_from) FILTER (WHERE b.binding_id IS NOT NULL), '{}'),
       coalesce(array_agg(b.valid_to ORDER BY b.valid_from) FILTER (WHERE b.binding_id IS NOT NULL), '{}')
FROM devices d
LEFT JOIN device_registry r USING (device_key)
LEFT JOIN device_bindings b USING (device_key)
LEFT JOIN patients p USING (patient_key)
WHERE r.device_key IS NOT NULL OR b.binding_id IS NOT NULL
GROUP BY d.device_id, r.device_key, r.state, r.permitted_metrics;

-- name: add_device
INSERT INTO devices (device_id) VALUES (%(device)s) ON CONFLICT (device_id) DO NOTHING;

-- name: add_patient
INSERT INTO patients (patient_id) VALUES (%(patient)s) ON CONFLICT (patient_id) DO NOTHING;

-- name: device_key
-- The key of a registered device and its state, whose row waits for whoever changes it.
SELECT r.device_key, r.state FROM device_registry r JOIN devices d USING (device_key) WHERE d.device_id = %(device)s FOR UPDATE OF r;

-- name: register
INSERT INTO device_registry (device_key, device_type, manufacturer, model, firmware, intended_use, permitted_metrics, connection,
    streams, accuracy)
SELECT device_key, %(device_type)s, %(manufacturer)s, %(model)s, %(firmware)s, %(intended_use)s, %(permitted)s::smallint[],
       %(connection)s, %(streams)s, %(accuracy)s
FROM devices WHERE device_id = %(device)s
ON CONFLICT (device_key) DO NOTHING
RETURNING device_key;

-- name: change
UPDATE device_registry SET
    device_type = coalesce(%(device_type)s, device_type), manufacturer = coalesce(%(manufacturer)s, manufacturer),
    model = coalesce(%(model)s, model), firmware = coalesce(%(firmware)s, firmware),
    intended_use = coalesce(%(intended_use)s, intended_use),
    permitted_metrics = CASE WHEN %(permit_all)s THEN NULL ELSE coalesce(%(permitted)s::smallint[], permitted_metrics) END,
    connection = connection || %(connection)s, streams = streams || %(streams)s, accuracy = accuracy || %(accuracy)s,
    changed_at = now()
WHERE device_key = %(key)s;

-- name: set_state
UPDATE device_registry SET state = %(state)s, changed_at = now() WHERE device_key = %(key)s;

-- name: bind
INSERT INTO device_bindings (device_key, patient_key, valid_from, valid_to, bound_by)
SELECT %(key)s, patient_key, %(from)s, %(to)s, %(who)s FROM patients WHERE patient_id = %(patient)s
RETURNING binding_id;

-- name: release
-- Ends the binding that holds at a time.
UPDATE device_bindings SET valid_to = %(at)s
WHERE device_key = %(key)s AND valid_to IS NULL AND valid_from < %(at)s
RETURNING binding_id;

-- name: note
INSERT INTO device_events (device_key, what, who, why, detail) VALUES (%(key)s, %(what)s, %(who)s, %(why)s, %(detail)s);

-- name: devices
SELECT device_id, state, device_type, manufacturer, model, firmware, intended_use, permitted_metrics, connection, streams,
       accuracy, registered_at, changed_at, patient_id, bound_since, last_seen_at, last_measured_at, battery_pct, battery_at,
       clock_offset_s
FROM device_overview
WHERE (%(device)s::text IS NULL OR device_id = %(device)s) AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY device_id;

-- name: bindings
SELECT p.patient_id, b.valid_from, b.valid_to, b.bound_by
FROM device_bindings b JOIN devices d USING (device_key) JOIN patients p USING (patient_key)
WHERE d.device_id = %(device)s ORDER BY b.valid_from;

-- name: events
SELECT e.at, e.what, e.who, e.why, e.detail FROM device_events e JOIN devices d USING (device_key)
WHERE d.device_id = %(device)s ORDER BY e.event_id;

-- name: consents
-- Everybody of whom a consent to care was ever noted, as one array a column, in their order: patient, class by its place in
-- {categories} (-1: withdrawn), from and until in microseconds. In one row, because there are tens of thousands.
SELECT coalesce(array_agg(patient_id), '{{}}'), coalesce(array_agg(category), '{{}}'), coalesce(array_agg(from_us), '{{}}'),
       coalesce(array_agg(until_us), '{{}}')
FROM (SELECT p.patient_id, CASE WHEN c.withdrawn_at IS NULL THEN array_position(ARRAY[{categories}], c.category) - 1 ELSE -1 END AS category,
             (extract(epoch FROM c.valid_from) * 1000000)::bigint AS from_us,
             coalesce((extract(epoch FROM c.valid_until) * 1000000)::bigint, {forever}) AS until_us
      FROM consents c JOIN patients p USING (patient_key)
      WHERE c.purpose = 'care'
      ORDER BY p.patient_id, c.consent_id) told;
