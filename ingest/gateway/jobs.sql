-- The gateway's jobs (SQLite): each an export that was uploaded and is to be read into the stream. `number` is the order.
-- Whose export it is stands here, because the job must outlive the process; it is told to nobody.
CREATE TABLE IF NOT EXISTS jobs (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id     TEXT    NOT NULL UNIQUE,
    patient_id TEXT    NOT NULL,
    adapter    TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    holder     TEXT    NOT NULL, -- of the credential that sent it: it must stand when the job begins
    size_bytes INTEGER NOT NULL, -- of the upload
    state      TEXT    NOT NULL, -- queued, running, succeeded, failed, cancelled
    tries      INTEGER NOT NULL, -- how often reading it was begun, without those that ended for want of a broker
    created_us INTEGER NOT NULL, -- microseconds UTC, as all times here
    again_us   INTEGER NOT NULL, -- not before
    started_us INTEGER,          -- the first time
    ended_us   INTEGER,
    summary    TEXT,             -- JSON: counts
    code       TEXT    NOT NULL, -- why it failed, or last did: a word, and a sentence for people
    detail     TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_unfinished ON jobs (number) WHERE ended_us IS NULL;
PRAGMA user_version = 1;
