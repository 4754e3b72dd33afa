-- name: version
SELECT version FROM access_version;

-- name: listen
LISTEN vigil_access;

-- name: access
-- Every credential that stands, or that changed since a version was read; the first column says whether it stands, by the
-- database's own clock: a gateway whose clock is behind must not let one live on.
SELECT t.expires_at > now() AND (t.revoked_at IS NULL OR t.revoked_at > now()) AS stands,
       t.token_id, t.lineage, t.kind, p.patient_id,
       (SELECT array_agg(d.device_id) FROM devices d WHERE d.device_key = ANY (t.device_keys)),
       t.device_keys IS NULL, t.secret_sha256, t.expires_at, t.revoked_at, t.certificate_sha256, t.issuer, t.subject
FROM access_tokens t LEFT JOIN patients p USING (patient_key)
WHERE t.version > %(known)s
  AND (%(known)s > 0 OR (t.expires_at > now() AND (t.revoked_at IS NULL OR t.revoked_at > now())));

-- name: add_patient
-- As `vigil device bind` does: a person may begin with a phone as well as with a device.
WITH made AS (INSERT INTO patients (patient_id) VALUES (%(patient)s) ON CONFLICT (patient_id) DO NOTHING RETURNING patient_key)
SELECT patient_key, true FROM made UNION ALL SELECT patient_key, false FROM patients WHERE patient_id = %(patient)s LIMIT 1;

-- name: devices
-- Of the devices named: key, state in the registry, whether the patient wears it now or will.
SELECT d.device_id, d.device_key, r.state, EXISTS (
           SELECT FROM device_bindings b JOIN patients p USING (patient_key)
           WHERE b.device_key = d.device_key AND p.patient_id = %(patient)s AND (b.valid_to IS NULL OR b.valid_to > now()))
FROM devices d JOIN device_registry r USING (device_key) WHERE d.device_id = ANY (%(devices)s);

-- name: create
INSERT INTO access_tokens (token_id, lineage, kind, patient_key, device_keys, secret_sha256, issuer, subject,
    certificate_sha256, note, created_by, expires_at)
VALUES (%(token)s, %(token)s, %(kind)s, %(patient_key)s, %(device_keys)s, %(secret_sha256)s, %(issuer)s, %(subject)s,
    %(certificate_sha256)s, %(note)s, %(who)s, now() + %(lasts)s)
RETURNING expires_at;

-- name: note
INSERT INTO access_events (token_id, what, who, why, detail) VALUES (%(token)s, %(what)s, %(who)s, %(why)s, %(detail)s);

-- name: lock
-- Locks a token until the transaction ends: does it stand, has it a secret, how often was it rotated within an hour.
SELECT t.expires_at > now() AND (t.revoked_at IS NULL OR t.revoked_at > now()), t.secret_sha256 IS NOT NULL,
       (SELECT count(*) FROM access_tokens s
        WHERE s.lineage = t.lineage AND s.rotated_from IS NOT NULL AND s.created_at > now() - interval '1 hour')
FROM access_tokens t WHERE t.token_id = %(token)s FOR UPDATE OF t;

-- name: rotate
-- After `lock`: a successor with the same scope and the same lifetime from now on; the old one ends when the successor is
-- first used, or after the overlap. A successor that was made before and never used goes: its answer was lost on the way.
WITH old AS (SELECT * FROM access_tokens WHERE token_id = %(token)s),
made AS (
    INSERT INTO access_tokens (token_id, lineage, rotated_from, kind, patient_key, device_keys, secret_sha256,
        certificate_sha256, note, created_by, expires_at)
    SELECT %(new)s, lineage, token_id, kind, patient_key, device_keys, %(secret_sha256)s, certificate_sha256, note, %(who)s,
           now() + (expires_at - created_at)
    FROM old RETURNING token_id, expires_at),
ends AS (
    UPDATE access_tokens t SET revoked_at = least(coalesce(t.revoked_at, 'infinity'), t.expires_at, now() + %(overlap)s)
    FROM old WHERE t.token_id = old.token_id RETURNING t.token_id, t.revoked_at),
lost AS (
    UPDATE access_tokens t SET revoked_at = now()
    FROM old WHERE t.rotated_from = old.token_id AND t.last_used_at IS NULL AND (t.revoked_at IS NULL OR t.revoked_at > now())
    RETURNING t.token_id),
told AS (
    INSERT INTO access_events (token_id, what, who, why, detail)
    SELECT token_id, 'rotated', %(who)s, NULL, jsonb_build_object('to', %(new)s::text, 'ends', revoked_at) FROM ends
    UNION ALL SELECT token_id, 'created', %(who)s, NULL, jsonb_build_object('from', %(token)s::text) FROM made
    UNION ALL SELECT token_id, 'revoked', %(who)s, 'rotated again', '{}' FROM lost)
SELECT made.expires_at, ends.revoked_at FROM made, ends;

-- name: revoke
-- All that stands of a token's lineage: whoever holds one may hold those that it was rotated to.
WITH gone AS (
    UPDATE access_tokens SET revoked_at = now(), revoked_by = %(who)s
    WHERE lineage = (SELECT lineage FROM access_tokens WHERE token_id = %(token)s)
      AND expires_at > now() AND (revoked_at IS NULL OR revoked_at > now())
    RETURNING token_id),
told AS (INSERT INTO access_events (token_id, what, who, why) SELECT token_id, 'revoked', %(who)s, %(why)s FROM gone)
SELECT token_id FROM gone ORDER BY 1;

-- name: tokens
SELECT token_id, kind, patient_id, devices, state, created_at, created_by, last_used_at, expires_at, revoked_at, revoked_by,
       rotated_from, replaced_by, lineage, issuer, subject, certificate_sha256, note
FROM access_overview
WHERE (%(patient)s::text IS NULL OR patient_id = %(patient)s)
  AND (%(everything)s OR state IN ('unused', 'active', 'ending'))
ORDER BY created_at, token_id;

-- name: used
-- When tokens were last used; those that were for the first time.
WITH told AS (SELECT * FROM unnest(%(tokens)s::text[], %(times)s::timestamptz[]) AS u(token_id, at)),
before AS (
    SELECT t.token_id, told.at, t.last_used_at IS NULL AS first
    FROM access_tokens t JOIN told USING (token_id)
    WHERE t.last_used_at IS NULL OR t.last_used_at < told.at ORDER BY t.token_id FOR UPDATE OF t),
moved AS (UPDATE access_tokens t SET last_used_at = before.at FROM before WHERE t.token_id = before.token_id)
INSERT INTO access_events (token_id, at, what, who) SELECT token_id, at, 'used_first', 'gateway' FROM before WHERE first;

-- name: end_replaced
-- A successor was used: what it replaces ends now, not only after the overlap.
WITH gone AS (
    UPDATE access_tokens t SET revoked_at = now()
    FROM access_tokens newer
    WHERE newer.token_id = ANY (%(tokens)s) AND newer.rotated_from IS NOT NULL AND t.lineage = newer.lineage
      AND t.created_at < newer.created_at AND t.revoked_at > now()
    RETURNING t.token_id)
INSERT INTO access_events (token_id, what, who, why)
SELECT DISTINCT token_id, 'revoked', 'gateway', 'its successor was used' FROM gone;

-- name: anchored
-- How far clients have come. What was told later stands; nobody may fill the table with types of his own making.
INSERT INTO sync_anchors AS a (lineage, type, anchor, at)
SELECT DISTINCT ON (t.lineage, u.type) t.lineage, u.type, u.anchor, u.at
FROM unnest(%(tokens)s::text[], %(types)s::text[], %(anchors)s::text[], %(times)s::timestamptz[]) AS u(token_id, type, anchor, at)
JOIN access_tokens t USING (token_id)
WHERE (SELECT count(*) FROM sync_anchors s WHERE s.lineage = t.lineage) < %(most)s
   OR EXISTS (SELECT FROM sync_anchors s WHERE s.lineage = t.lineage AND s.type = u.type)
ORDER BY t.lineage, u.type, u.at DESC
ON CONFLICT (lineage, type) DO UPDATE SET anchor = excluded.anchor, at = excluded.at WHERE a.at <= excluded.at;

-- name: anchors
SELECT type, anchor FROM sync_anchors
WHERE lineage = (SELECT lineage FROM access_tokens WHERE token_id = %(token)s) ORDER BY type;

-- name: not_consented
-- Samples that were refused for want of consent, by day, adapter and metric.
INSERT INTO not_consented AS n (day, adapter, metric_key, samples)
SELECT * FROM unnest(%(days)s::date[], %(adapters)s::text[], %(metrics)s::smallint[], %(samples)s::bigint[])
ON CONFLICT (day, adapter, metric_key) DO UPDATE SET samples = n.samples + excluded.samples;

-- name: last_samples
-- The newest stored sample of each device and metric that a credential may send for.
SELECT d.device_id, m.code, max(l.time), (array_agg(l.received_at ORDER BY l.time DESC))[1]
FROM latest l JOIN origins o USING (origin_key) JOIN devices d USING (device_key) JOIN metrics m USING (metric_key)
WHERE (%(patient)s::text IS NULL OR l.patient_key = (SELECT patient_key FROM patients WHERE patient_id = %(patient)s))
  AND (%(devices)s::text[] IS NULL OR d.device_id = ANY (%(devices)s))
GROUP BY d.device_id, m.code ORDER BY d.device_id, m.code LIMIT 5000;
