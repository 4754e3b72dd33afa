-- The spool's one table (SQLite). `number` is the order of acceptance and is never given twice. `size` stands before the
-- blobs, so that adding it up reads no overflow page.
CREATE TABLE IF NOT EXISTS records (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    kept_us INTEGER NOT NULL, -- when it was accepted, microseconds UTC
    size    INTEGER NOT NULL, -- bytes of key, headers and value
    topic   TEXT    NOT NULL, -- where it goes when the broker is back
    key     BLOB    NOT NULL,
    headers TEXT    NOT NULL, -- JSON: [[name, value], ...], bytes as Latin-1
    value   BLOB    NOT NULL
) STRICT;
PRAGMA user_version = 1;
