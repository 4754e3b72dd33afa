-- Erasures: that a person's data were erased, by whom and why, and how much; what was erased is nowhere in it.
-- phase: pre
-- locks: none that anybody waits for: a new table.

CREATE TABLE erasures (
    erasure_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_key integer NOT NULL,
    who         text NOT NULL CHECK (who <> ''),
    why         text NOT NULL CHECK (why <> ''),
    begun_at    timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    rows        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(rows) = 'object')
);
CREATE INDEX erasures_by_patient ON erasures (patient_key);
CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON erasures FOR EACH STATEMENT EXECUTE FUNCTION never_goes();
COMMENT ON TABLE erasures IS 'Whose data were erased, by whom, when and why. Rows are never deleted; patients keeps the opaque id, and nothing else of the person.';
COMMENT ON COLUMN erasures.why IS 'The number of the matter, never a name.';
COMMENT ON COLUMN erasures.finished_at IS 'NULL: it was broken off; the same command goes on.';
COMMENT ON COLUMN erasures.rows IS 'Rows that went, by table; of the archive its samples.';
