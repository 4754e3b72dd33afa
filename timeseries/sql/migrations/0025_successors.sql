-- Nobody but the owner makes a token of his own: what another role adds is the successor of a token that stands, and opens
-- what that one opens. And a deletion by id that samples outlast, because they were written later, is not called done.
--
-- phase: pre
-- locks: SHARE ROW EXCLUSIVE on access_tokens for a moment; the view is new.

CREATE FUNCTION access_succeeds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    may_make boolean := pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE');
    same     text[] := '{lineage, kind, patient_key, device_keys, issuer, subject, certificate_sha256}';
    old      access_tokens;
BEGIN
    IF NEW.rotated_from IS NULL AND may_make THEN
        RETURN NEW;
    END IF;
    SELECT * INTO old FROM access_tokens WHERE token_id = NEW.rotated_from;
    IF old.token_id IS NULL OR old.secret_sha256 IS NULL
       OR old.expires_at <= now() OR old.revoked_at <= now()
       OR EXISTS (SELECT FROM unnest(same) AS s(field)
                  WHERE to_jsonb(NEW) -> s.field IS DISTINCT FROM to_jsonb(old) -> s.field)
       OR NEW.created_at <> now() OR NEW.expires_at - NEW.created_at > old.expires_at - old.created_at
       OR NEW.revoked_at IS NOT NULL OR NEW.last_used_at IS NOT NULL THEN
        RAISE EXCEPTION 'a token is made by the owner, or succeeds one that stands and opens the same' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION access_succeeds IS 'Trigger: a successor opens what the token before it opens, for no longer than that one lasted; only the owner makes a first token.';
CREATE TRIGGER a_successor_only BEFORE INSERT ON access_tokens FOR EACH ROW EXECUTE FUNCTION access_succeeds();

CREATE VIEW samples_written_later AS
SELECT d.patient_key, d.sample_id
FROM deletions_told d
JOIN sample_ids i USING (patient_key, sample_id)
LEFT JOIN LATERAL (
    SELECT s.written_at, s.flags & 128 <> 0 AS is_tombstone FROM samples s
    WHERE s.patient_key = i.patient_key AND s.metric_key = i.metric_key AND s.origin_key = i.origin_key
      AND s.time = i.time AND s.duration_ms = i.duration_ms LIMIT 1) s ON true
WHERE d.settled_at IS NULL AND i.written_at > greatest(d.told_at, d.received_at)
  AND (s.written_at IS NULL OR (s.written_at <= i.written_at AND NOT s.is_tombstone));
COMMENT ON VIEW samples_written_later IS 'Open deletions of which a sample stands in a version written later than they were told: no tombstone takes that away.';
COMMENT ON COLUMN deletions_told.outcome IS 'done: no sample under this id stands. unknown: none ever came. refused: samples stand: they were written later than this was told, or their tombstones were not stored.';
