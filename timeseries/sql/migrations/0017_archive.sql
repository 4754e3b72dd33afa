-- The cold archive: which Parquet files there are, what each holds of whom, how that was proved, and what was brought
-- back. The files hold the samples; these tables are their manifest, and a copy of it lies as JSON beside each file.
--
-- A file's content is proved by one leaf a patient, the SHA-256 of a salt and of that patient's rows in canonical form;
-- the leaves make the file's root, and the roots a chain. Erasing a patient rewrites the files that hold the patient and
-- destroys the salts: the leaf stays as a commitment that says nothing any more, and every other leaf, root and link holds
-- as before. The erasure is a link of its own.
--
-- phase: pre
-- locks: none that anybody waits for: new tables and functions.

CREATE TABLE archive_files (
    file_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    retention_class  text NOT NULL,
    utc_day          date NOT NULL,
    part             integer NOT NULL CHECK (part >= 0),
    uri              text UNIQUE,
    rows             bigint NOT NULL,
    size_bytes       bigint NOT NULL,
    min_time         timestamptz,
    max_time         timestamptz,
    sha256           bytea,
    leaf_root        bytea NOT NULL CHECK (length(leaf_root) = 32),
    link             bigint NOT NULL UNIQUE,
    previous         bytea NOT NULL CHECK (length(previous) = 32),
    chain            bytea NOT NULL CHECK (length(chain) = 32),
    verified_at      timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    manifest_written boolean NOT NULL DEFAULT false,
    replaces         text,
    UNIQUE (retention_class, utc_day, part),
    CHECK (num_nulls(uri, min_time, max_time, sha256) IN (0, 4) AND (uri IS NULL) = (rows = 0))
);
COMMENT ON TABLE archive_files IS 'One Parquet file of samples: a class, a UTC day, a part. It is here only after it was read back and compared with what was written.';
COMMENT ON COLUMN archive_files.part IS '0, 1, ... in one go where a day is large; later parts hold what came late, corrections and deletions too: the greatest (written, content) wins.';
COMMENT ON COLUMN archive_files.uri IS 'Path below VIGIL_ARCHIVE_URI; NULL: all that was in it was erased.';
COMMENT ON COLUMN archive_files.rows IS 'Rows in the file now, without those that were erased; so are size_bytes, min_time, max_time and sha256 those of the file as it is.';
COMMENT ON COLUMN archive_files.leaf_root IS 'SHA-256 over rows and hash of every leaf, erased ones too: what the chain holds.';
COMMENT ON COLUMN archive_files.link IS 'Its place in the chain, which files and events share.';
COMMENT ON COLUMN archive_files.chain IS 'SHA-256 of previous and of this link''s record.';
COMMENT ON COLUMN archive_files.verified_at IS 'When the whole file was last read and agreed with this row.';
COMMENT ON COLUMN archive_files.manifest_written IS 'False: the JSON copy is still to be written; the next run does so.';
COMMENT ON COLUMN archive_files.replaces IS 'The file of before an erasure, still to be removed; the next run does so.';

CREATE TABLE archive_leaves (
    file_id     bigint NOT NULL REFERENCES archive_files,
    patient_key integer NOT NULL,
    position    integer NOT NULL,
    rows        bigint NOT NULL,
    sha256      bytea NOT NULL CHECK (length(sha256) = 32),
    salt        bytea CHECK (length(salt) = 16),
    erased_at   timestamptz,
    PRIMARY KEY (file_id, patient_key),
    CHECK ((salt IS NULL) = (erased_at IS NOT NULL))
);
CREATE INDEX archive_leaves_by_patient ON archive_leaves (patient_key, file_id);
COMMENT ON TABLE archive_leaves IS 'What a file holds, or held, of one patient: how many rows, and their salted hash.';
COMMENT ON COLUMN archive_leaves.position IS 'Its place in the file, which is sorted by patient id.';
COMMENT ON COLUMN archive_leaves.salt IS 'Destroyed by the erasure: without it the hash can be held against no guess.';

CREATE TABLE archive_events (
    link      bigint PRIMARY KEY,
    kind      text NOT NULL CHECK (kind IN ('erased', 'expired')),
    file_id   bigint NOT NULL REFERENCES archive_files,
    positions integer[] NOT NULL,
    who       text NOT NULL CHECK (who <> ''),
    why       text NOT NULL CHECK (why <> ''),
    at        timestamptz NOT NULL,
    previous  bytea NOT NULL CHECK (length(previous) = 32),
    chain     bytea NOT NULL CHECK (length(chain) = 32)
);
CREATE INDEX archive_events_by_file ON archive_events (file_id);
COMMENT ON TABLE archive_events IS 'Leaves of a file whose rows left the archive: whose place, who did it, why, when. A link of the chain each.';
COMMENT ON COLUMN archive_events.why IS 'The number of the matter, never a name.';

CREATE TABLE archive_head (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    link     bigint NOT NULL,
    chain    bytea NOT NULL CHECK (length(chain) = 32)
);
INSERT INTO archive_head (link, chain) VALUES (0, decode(repeat('00', 32), 'hex'));
COMMENT ON TABLE archive_head IS 'The newest link of the archive''s chain: a link that was cut off at the end shows here. Note it elsewhere from time to time.';

CREATE TABLE archive_coverage (
    retention_class text NOT NULL,
    utc_day         date NOT NULL,
    patient_key     integer NOT NULL,
    rows            bigint NOT NULL,
    checksum        numeric NOT NULL,
    PRIMARY KEY (retention_class, utc_day, patient_key)
);
COMMENT ON TABLE archive_coverage IS 'What samples held of a class, UTC day and patient in the snapshot that was archived last. Where they hold the same now, every row of theirs is in the archive.';

CREATE FUNCTION samples_of_day(of_class text, day date, of_patients integer[] DEFAULT NULL)
RETURNS TABLE (patient_key integer, rows bigint, checksum numeric) LANGUAGE sql STABLE AS $$
    -- Hashed once more: the hash of a record is linear in its columns, so two rows that change a value would add up to the same.
    SELECT s.patient_key, count(*), sum(hashtextextended(hash_record_extended(
               ROW(s.time, s.written_at, s.received_at, s.value, s.patient_key, s.origin_key, s.duration_ms, s.quality,
                   s.metric_key, s.flags, s.context, s.zone_offset_min), 0)::text, 0))
    FROM samples s
    WHERE s.time >= day::timestamp AT TIME ZONE 'UTC' AND s.time < (day + 1)::timestamp AT TIME ZONE 'UTC'
      AND s.metric_key = ANY ((SELECT metrics_of(of_class))::smallint[])
      AND (of_patients IS NULL OR s.patient_key = ANY (of_patients))
    GROUP BY s.patient_key
$$;
COMMENT ON FUNCTION samples_of_day IS 'Rows of each patient in samples, and a checksum over all their columns that does not depend on their order.';

CREATE FUNCTION archive_covers(of_class text, of_day date, fresh interval DEFAULT INTERVAL '30 days')
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (
        SELECT FROM archive_files f
        WHERE f.retention_class = of_class AND f.utc_day = of_day AND f.uri IS NOT NULL AND f.verified_at < now() - fresh
    ) AND NOT EXISTS (
        SELECT FROM samples_of_day(of_class, of_day) s
        LEFT JOIN archive_coverage c
            ON c.retention_class = of_class AND c.utc_day = of_day AND c.patient_key = s.patient_key
        WHERE (c.rows, c.checksum) IS DISTINCT FROM (s.rows, s.checksum)
    )
$$;
COMMENT ON FUNCTION archive_covers IS 'Is every row that samples hold of this class and UTC day, as this statement''s snapshot sees them, in files that were read back of late?';

CREATE TABLE restores (
    restore_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_key  integer,
    from_time    timestamptz NOT NULL,
    to_time      timestamptz NOT NULL CHECK (to_time > from_time),
    last_file    bigint NOT NULL,
    requested_by text NOT NULL CHECK (requested_by <> ''),
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    discarded_at timestamptz,
    rows         bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE restores IS 'What was brought back from the archive into restored_samples: whose (NULL: everybody''s), of which time, by whom.';
COMMENT ON COLUMN restores.last_file IS 'Files that were archived after the restore began are not in it.';
COMMENT ON COLUMN restores.discarded_at IS 'Its rows were deleted from restored_samples again.';

CREATE TABLE restore_steps (
    restore_id      bigint NOT NULL REFERENCES restores,
    retention_class text NOT NULL,
    utc_day         date NOT NULL,
    patient_key     integer NOT NULL,
    rows            bigint NOT NULL,
    PRIMARY KEY (restore_id, retention_class, utc_day, patient_key)
);
COMMENT ON TABLE restore_steps IS 'What of a restore is done; written with its rows, so that an interrupted restore goes on and brings nothing twice.';

CREATE TABLE restored_samples (
    LIKE samples INCLUDING COMMENTS,
    restore_id bigint NOT NULL
);
CREATE UNIQUE INDEX restored_samples_identity
    ON restored_samples (patient_key, metric_key, origin_key, time, duration_ms, restore_id);
COMMENT ON TABLE restored_samples IS 'Samples that were brought back from the archive, tombstones too: the standing version of each identity, once a restore.';
