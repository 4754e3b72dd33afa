-- Who may send: tokens (of each only a hash), what was ever done to them, and how far each HealthKit client has come. The
-- gateway reads the tokens again when access_version moves, of which it is also notified (channel vigil_access).
--
-- phase: pre
-- locks: none that anybody waits for: new tables.

CREATE TABLE access_tokens (
    token_id           text PRIMARY KEY CHECK (token_id ~ '^[a-z2-7]{16}$'),
    lineage            text NOT NULL REFERENCES access_tokens,
    rotated_from       text REFERENCES access_tokens,
    kind               text NOT NULL CHECK (kind IN ('device', 'bridge', 'platform')),
    patient_key        integer REFERENCES patients,
    device_keys        integer[],
    secret_sha256      bytea CHECK (length(secret_sha256) = 32),
    issuer             text CHECK (issuer <> ''),
    subject            text CHECK (subject <> ''),
    certificate_sha256 text CHECK (certificate_sha256 ~ '^[0-9a-f]{64}$'),
    note               text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    created_by         text NOT NULL CHECK (created_by <> ''),
    expires_at         timestamptz NOT NULL,
    revoked_at         timestamptz,
    revoked_by         text CHECK (revoked_by <> ''),
    last_used_at       timestamptz,
    version            bigint NOT NULL DEFAULT 0,
    CONSTRAINT access_tokens_lifetime CHECK (expires_at > created_at AND expires_at <= created_at + interval '731 days'),
    CONSTRAINT access_tokens_scope CHECK (patient_key IS NOT NULL OR device_keys IS NOT NULL),
    CONSTRAINT access_tokens_devices CHECK (cardinality(device_keys) BETWEEN 1 AND 1000),
    CONSTRAINT access_tokens_one_device CHECK (kind <> 'device' OR (patient_key IS NOT NULL AND cardinality(device_keys) = 1)),
    CONSTRAINT access_tokens_proof CHECK (
        (kind = 'platform') = (subject IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL) AND (secret_sha256 IS NULL) = (subject IS NOT NULL)),
    CONSTRAINT access_tokens_first CHECK ((rotated_from IS NULL) = (lineage = token_id))
);
CREATE INDEX access_tokens_by_lineage ON access_tokens (lineage);
CREATE INDEX access_tokens_by_version ON access_tokens (version);
CREATE INDEX access_tokens_by_patient ON access_tokens (patient_key);
CREATE UNIQUE INDEX access_tokens_by_subject ON access_tokens (issuer, subject) WHERE revoked_at IS NULL;
CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON access_tokens FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE access_tokens IS 'Credentials of the gateway: whom each speaks for. The secret itself is nowhere, and no row is ever deleted.';
COMMENT ON COLUMN access_tokens.token_id IS 'Opaque, and no secret: it stands in logs and lists.';
COMMENT ON COLUMN access_tokens.lineage IS 'The token that this one came from by rotations; of the first, itself. Anchors and jobs belong to it.';
COMMENT ON COLUMN access_tokens.rotated_from IS 'The token that this one replaces; that one ends when this one is first used.';
COMMENT ON COLUMN access_tokens.kind IS 'device: one device on one patient; bridge: a phone or a ward''s bridge; platform: signs in by OpenID Connect.';
COMMENT ON COLUMN access_tokens.patient_key IS 'All it sends is about this patient; NULL: about whoever wore the device.';
COMMENT ON COLUMN access_tokens.device_keys IS 'The only devices that it may name; NULL: any that is not bound to somebody else.';
COMMENT ON COLUMN access_tokens.secret_sha256 IS 'SHA-256 of the secret; NULL of a platform, which has none here.';
COMMENT ON COLUMN access_tokens.issuer IS 'Of a platform: the address of its OpenID Connect issuer.';
COMMENT ON COLUMN access_tokens.subject IS 'Of a platform: whom the issuer''s tokens name. Of a program, never a person''s name.';
COMMENT ON COLUMN access_tokens.certificate_sha256 IS 'With it the token counts only over a connection that shows this client certificate (SHA-256 of its DER, hex).';
COMMENT ON COLUMN access_tokens.note IS 'An opaque word, such as an inventory number; never a name.';
COMMENT ON COLUMN access_tokens.created_by IS 'Opaque id of who made it; `gateway` where its holder rotated.';
COMMENT ON COLUMN access_tokens.revoked_at IS 'From then on it opens nothing; ahead of now in a rotation''s overlap. Never taken back or put off.';
COMMENT ON COLUMN access_tokens.revoked_by IS 'Opaque id of who revoked it; NULL where a rotation ended it.';
COMMENT ON COLUMN access_tokens.last_used_at IS 'When it last opened the door; seconds old.';
COMMENT ON COLUMN access_tokens.version IS 'What access_version counted when this row last changed what it opens: gateways read what is newer than they know.';

CREATE TABLE access_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id text NOT NULL REFERENCES access_tokens,
    at       timestamptz NOT NULL DEFAULT now(),
    what     text NOT NULL CHECK (what IN ('created', 'rotated', 'revoked', 'used_first')),
    who      text NOT NULL CHECK (who <> ''),
    why      text,
    detail   jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX access_events_by_token ON access_events (token_id, at);
CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON access_events FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE access_events IS 'What was done to a token: by whom, when, why. Rows are never deleted.';
COMMENT ON COLUMN access_events.token_id IS 'The token.';
COMMENT ON COLUMN access_events.what IS 'rotated: it was given a successor; revoked: it opens nothing any more; used_first: it opened the door for the first time.';
COMMENT ON COLUMN access_events.who IS 'Opaque id of the person or program that did it; `gateway` where its holder did.';
COMMENT ON COLUMN access_events.why IS 'The number of the matter, never a name.';
COMMENT ON COLUMN access_events.detail IS 'What goes with it: the successor, when the old one ends, the token that it replaces.';

CREATE TABLE access_version (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version  bigint NOT NULL DEFAULT 1
);
INSERT INTO access_version DEFAULT VALUES;
COMMENT ON TABLE access_version IS 'Counts the changes of who may send: gateways look at it every second, and read what changed. Whoever changes tokens holds its row until the commit, so that versions become visible in their order.';

CREATE FUNCTION access_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE access_version SET version = access_version.version + 1 RETURNING access_version.version INTO NEW.version;
    PERFORM pg_notify('vigil_access', '');
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION access_moved IS 'Trigger: the token is to be read again; tells whoever listens on vigil_access.';
CREATE TRIGGER access_moved BEFORE INSERT ON access_tokens FOR EACH ROW EXECUTE FUNCTION access_moved();
-- That a token was used changes nothing for anybody, and is noted all the time.
CREATE TRIGGER access_changed BEFORE UPDATE OF revoked_at, expires_at, certificate_sha256 ON access_tokens FOR EACH ROW
    WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at OR OLD.expires_at <> NEW.expires_at
          OR OLD.certificate_sha256 IS DISTINCT FROM NEW.certificate_sha256) EXECUTE FUNCTION access_moved();

CREATE FUNCTION access_only_narrows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (to_jsonb(NEW) - '{revoked_at, revoked_by, last_used_at, expires_at, certificate_sha256, note, version}'::text[])
       <> (to_jsonb(OLD) - '{revoked_at, revoked_by, last_used_at, expires_at, certificate_sha256, note, version}'::text[])
       OR NEW.expires_at > OLD.expires_at
       OR (OLD.certificate_sha256 IS NOT NULL AND NEW.certificate_sha256 IS DISTINCT FROM OLD.certificate_sha256)
       OR (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS NULL OR NEW.revoked_at > OLD.revoked_at)) THEN
        RAISE EXCEPTION 'a token only ever loses rights: make a new one' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION access_only_narrows IS 'Trigger: what a token opens is never widened, and a revocation never taken back or put off.';
CREATE TRIGGER only_narrows BEFORE UPDATE OF token_id, lineage, rotated_from, kind, patient_key, device_keys, secret_sha256, issuer,
    subject, certificate_sha256, created_at, created_by, expires_at, revoked_at ON access_tokens FOR EACH ROW EXECUTE FUNCTION access_only_narrows();

CREATE TABLE sync_anchors (
    lineage text NOT NULL REFERENCES access_tokens,
    type    text NOT NULL CHECK (length(type) BETWEEN 1 AND 200),
    anchor  text NOT NULL CHECK (length(anchor) <= 4096),
    at      timestamptz NOT NULL,
    PRIMARY KEY (lineage, type)
);
COMMENT ON TABLE sync_anchors IS 'How far a HealthKit client has come, by type: what it asks its phone for next. An older one makes it send again, which stores nothing twice.';
COMMENT ON COLUMN sync_anchors.lineage IS 'The first token of the client; it keeps its anchors through rotations.';
COMMENT ON COLUMN sync_anchors.type IS 'The type as the client calls it.';
COMMENT ON COLUMN sync_anchors.anchor IS 'Opaque, as the client told it; all before it is safe.';
COMMENT ON COLUMN sync_anchors.at IS 'When it was told.';

CREATE VIEW access_overview AS
SELECT t.token_id, t.lineage, t.rotated_from, t.kind, p.patient_id,
       (SELECT array_agg(d.device_id ORDER BY d.device_id) FROM devices d WHERE d.device_key = ANY (t.device_keys)) AS devices,
       t.issuer, t.subject, t.certificate_sha256, t.note, t.created_at, t.created_by, t.last_used_at, t.expires_at,
       t.revoked_at, t.revoked_by,
       (SELECT max(s.token_id) FROM access_tokens s WHERE s.rotated_from = t.token_id
           AND (s.revoked_at IS NULL OR s.last_used_at IS NOT NULL)) AS replaced_by,
       CASE WHEN t.revoked_at <= now() AND t.revoked_by IS NULL THEN 'rotated'
            WHEN t.revoked_at <= now() THEN 'revoked'
            WHEN t.expires_at <= now() THEN 'expired'
            WHEN t.revoked_at IS NOT NULL THEN 'ending'
            WHEN t.last_used_at IS NULL THEN 'unused'
            ELSE 'active' END AS state
FROM access_tokens t LEFT JOIN patients p USING (patient_key);
COMMENT ON VIEW access_overview IS 'Each token as it is now, without its hash: whom it speaks for, when it was used, and its state (unused, active, ending, rotated, expired, revoked).';
