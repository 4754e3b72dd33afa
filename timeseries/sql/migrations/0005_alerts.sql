-- What someone had to know, whom it was told, and what became of telling them. Filled from the topics by the ledger;
-- nothing that raises or delivers an alert waits for these tables. Rows arrive in any order and more than once, so there
-- are no foreign keys, and every key is one that the writer of the message chose.

CREATE TABLE alerts (
    alert_id              text PRIMARY KEY,
    patient_id            text NOT NULL,
    kind                  text NOT NULL CHECK (kind IN ('technical', 'physiological')),
    priority              text NOT NULL CHECK (priority IN ('low', 'medium', 'high')),
    rule                  text NOT NULL,
    rule_version          integer NOT NULL,
    metric                text NOT NULL,
    device_id             text NOT NULL,
    source_app            text NOT NULL,
    state                 text NOT NULL CHECK (state IN ('raised', 'escalated', 'cleared')),
    opened_at             timestamptz NOT NULL,
    raised_at             timestamptz NOT NULL,
    changed_at            timestamptz NOT NULL,
    cleared_at            timestamptz,
    measured_at           timestamptz NOT NULL,
    retrospective         boolean NOT NULL,
    individualised        boolean NOT NULL,
    evidence              jsonb NOT NULL,
    sentence              text NOT NULL,
    acknowledged_by       text,
    acknowledged_at       timestamptz,
    acknowledged_priority text CHECK (acknowledged_priority IN ('low', 'medium', 'high')),
    stored_at             timestamptz NOT NULL DEFAULT now(),
    CHECK ((cleared_at IS NOT NULL) = (state = 'cleared')),
    CHECK ((acknowledged_by IS NULL) = (acknowledged_at IS NULL))
);
CREATE INDEX alerts_open ON alerts (raised_at DESC) WHERE state <> 'cleared';
CREATE INDEX alerts_patient ON alerts (patient_id, opened_at DESC);
COMMENT ON TABLE alerts IS 'One row an alert: its newest state. All times but the acknowledgement''s and stored_at are event time.';
COMMENT ON COLUMN alerts.alert_id IS 'Hash of patient, rule, metric, origin and the time at which it became pending: a replay finds its row again.';
COMMENT ON COLUMN alerts.kind IS 'technical: about the measuring; physiological: about the measured.';
COMMENT ON COLUMN alerts.opened_at IS 'When it became pending.';
COMMENT ON COLUMN alerts.raised_at IS 'When it had held for long enough.';
COMMENT ON COLUMN alerts.changed_at IS 'When it came into its state; of two events the later one counts.';
COMMENT ON COLUMN alerts.measured_at IS 'When the newest evidence was measured.';
COMMENT ON COLUMN alerts.retrospective IS 'Found in data too old to be called live: reviewed, never paged.';
COMMENT ON COLUMN alerts.individualised IS 'Whether the limits are the person''s own.';
COMMENT ON COLUMN alerts.evidence IS 'Window, newest values, unit, threshold and quality.';
COMMENT ON COLUMN alerts.acknowledged_by IS 'Opaque id of the person who acknowledged it; taken back when the priority rises.';

CREATE TABLE notifications (
    notification_id text PRIMARY KEY,
    alert_id        text NOT NULL,
    patient_id      text NOT NULL,
    state           text NOT NULL,
    priority        text NOT NULL,
    recipient       text NOT NULL,
    channel         text NOT NULL,
    created_at      timestamptz NOT NULL,
    delayed         boolean NOT NULL,
    stored_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notifications_alert ON notifications (alert_id);
COMMENT ON TABLE notifications IS 'One row a message to a recipient over a channel.';
COMMENT ON COLUMN notifications.state IS 'The alert''s state that it tells of.';
COMMENT ON COLUMN notifications.created_at IS 'When dispatch decided it; the earliest, if it did so twice.';
COMMENT ON COLUMN notifications.delayed IS 'The message says that it comes late.';

CREATE TABLE delivery_attempts (
    notification_id text NOT NULL,
    attempted_at    timestamptz NOT NULL,
    attempt         integer NOT NULL,
    outcome         text NOT NULL CHECK (outcome IN ('delivered', 'failed', 'abandoned')),
    detail          text NOT NULL,
    stored_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (notification_id, attempted_at, attempt)
);
COMMENT ON TABLE delivery_attempts IS 'Every attempt to deliver a notification.';
COMMENT ON COLUMN delivery_attempts.attempt IS 'Counts from 1 in each life of the notifier.';
COMMENT ON COLUMN delivery_attempts.detail IS 'A word about the channel''s answer; never an address or a secret.';
