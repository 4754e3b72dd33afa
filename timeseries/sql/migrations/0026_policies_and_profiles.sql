-- What the watch goes by, beside the registry and the consents: care profiles with all that rules may take into account,
-- the policies that were ever put in force, and a count that tells the watch within seconds that something changed.
--
-- phase: pre
-- locks: ACCESS EXCLUSIVE on care_profiles for a moment (columns with a constant default, nothing is rewritten), SHARE ROW
-- EXCLUSIVE on device_registry for the moment in which its trigger is made.

ALTER TABLE care_profiles
    ADD COLUMN profile    jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(profile) = 'object'),
    ADD COLUMN ended_by   text CHECK (ended_by <> ''),
    ADD COLUMN end_reason text CHECK (end_reason <> ''),
    ADD CHECK (num_nulls(ended_by, end_reason) IN (0, 2)),
    ADD CHECK (ended_by IS NULL OR valid_to IS NOT NULL);
DROP TRIGGER only_ends ON care_profiles;
CREATE TRIGGER only_ends BEFORE UPDATE ON care_profiles
    FOR EACH ROW EXECUTE FUNCTION only_ends('valid_to', 'ended_by', 'end_reason');
COMMENT ON COLUMN care_profiles.limits IS 'Waking and sleeping, by metric code: {"spo2": {"low": 88}}; units are the catalogue''s.';
COMMENT ON COLUMN care_profiles.profile IS 'What else a clinician says of the person, as vitals/care_profile.py reads it: {"pacemaker": true, "sleeping_limits": {"heart_rate": {"low": 36}}}. What is not there is not known.';
COMMENT ON COLUMN care_profiles.ended_by IS 'Opaque id of who ended it, or set the version after it.';
COMMENT ON COLUMN care_profiles.end_reason IS 'Why it ended: the number of the matter, never a name.';

CREATE TABLE policy_versions (
    policy_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version    integer NOT NULL UNIQUE CHECK (version > 0),
    label      text NOT NULL CHECK (label <> '' AND length(label) <= 40),
    sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    body       text NOT NULL CHECK (octet_length(body) <= 1048576),
    applied_by text NOT NULL CHECK (applied_by <> ''),
    applied_at timestamptz NOT NULL DEFAULT now(),
    reason     text NOT NULL CHECK (reason <> ''),
    changes    jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(changes) = 'array')
);
CREATE TRIGGER never_goes BEFORE UPDATE OR DELETE OR TRUNCATE ON policy_versions
    FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE policy_versions IS 'Every policy that was put in force, as it was written: by whom, when and why. The newest is in force. Rows are never changed or deleted.';
COMMENT ON COLUMN policy_versions.version IS 'As the file says; each is higher than the one before.';
COMMENT ON COLUMN policy_versions.sha256 IS 'Of the body; its first digits stand in every alert that was judged by it.';
COMMENT ON COLUMN policy_versions.body IS 'The TOML text.';
COMMENT ON COLUMN policy_versions.applied_by IS 'Opaque id of who put it in force.';
COMMENT ON COLUMN policy_versions.reason IS 'The number of the matter, never a name.';
COMMENT ON COLUMN policy_versions.changes IS 'What differs from the version before: [{"field", "before", "after"}].';

CREATE TABLE people_version (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version  bigint NOT NULL DEFAULT 1
);
INSERT INTO people_version DEFAULT VALUES;
COMMENT ON TABLE people_version IS 'Counts the changes of what the watch goes by: it looks at it every two seconds and reads the rest when it moved.';

CREATE FUNCTION people_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE people_version SET version = version + 1;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION people_moved IS 'Trigger: profiles, devices and policy are to be read again.';
CREATE TRIGGER people_moved AFTER INSERT OR UPDATE OR DELETE ON care_profiles FOR EACH STATEMENT EXECUTE FUNCTION people_moved();
CREATE TRIGGER people_moved AFTER INSERT OR UPDATE OR DELETE ON device_registry FOR EACH STATEMENT EXECUTE FUNCTION people_moved();
CREATE TRIGGER people_moved AFTER INSERT ON policy_versions FOR EACH STATEMENT EXECUTE FUNCTION people_moved();
