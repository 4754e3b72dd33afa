-- Sessions (a workout, a night, a recording, as their source calls them) are annotations of their own kind.
-- phase: pre
-- locks: ACCESS EXCLUSIVE on annotations while its rows are checked: a table of notes, not of samples.
ALTER TABLE annotations DROP CONSTRAINT annotations_kind_check;
ALTER TABLE annotations ADD CONSTRAINT annotations_kind_check
    CHECK (kind IN ('anomaly', 'trend', 'correlation', 'activity', 'environment', 'report', 'session'));
COMMENT ON COLUMN annotations.kind IS 'session: what its source calls one thing, such as a workout. A correlation says "coincides with", never "is caused by".';
COMMENT ON COLUMN annotations.detail IS 'Of a session: device_id, source_app, the metrics it is about, and confidence, which is 1 where the source states the session.';
