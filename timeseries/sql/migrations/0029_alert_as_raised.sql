-- What an alert said while it was open stays after it has cleared: its newest event then says that it is over, and a
-- person who looks the next morning could not judge it. And by which policy it was found.
--
-- phase: pre
-- locks: ACCESS EXCLUSIVE on alerts for a moment: three columns without a default.
ALTER TABLE alerts
    ADD COLUMN raised_sentence text CHECK (raised_sentence <> ''),
    ADD COLUMN raised_evidence jsonb CHECK (jsonb_typeof(raised_evidence) = 'object'),
    ADD COLUMN policy text;
COMMENT ON COLUMN alerts.raised_sentence IS 'What it said when it was last told as open; NULL: only its end is known, or it is older than this column.';
COMMENT ON COLUMN alerts.raised_evidence IS 'The evidence of that: evidence is of the newest event, which after the end is the clearing.';
COMMENT ON COLUMN alerts.policy IS 'Label and version of the policy by which it was found; NULL: older than this column.';
