-- What the topic vigil.quarantine has not been told yet. The table `quarantine` is the truth; its own trigger notes each
-- row here in the recorder's transaction, so no row is forgotten and none is announced that was rolled back. Publishing
-- deletes from this narrow table and updates no row that is kept.

CREATE TABLE quarantine_outbox (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic     text NOT NULL,
    partition integer NOT NULL,
    epoch     integer NOT NULL,
    "offset"  bigint NOT NULL,
    index     integer NOT NULL
);
COMMENT ON TABLE quarantine_outbox IS 'Places in quarantine that are not yet published on vigil.quarantine; `vigil quarantine feed` empties it.';
COMMENT ON COLUMN quarantine_outbox.seq IS 'The order of writing. Gaps and late comers are normal: readers take the smallest that are there, they keep no position.';

-- What stood there before this migration is published too.
INSERT INTO quarantine_outbox (topic, partition, epoch, "offset", index)
SELECT topic, partition, epoch, "offset", index FROM quarantine ORDER BY recorded_at, topic, partition, epoch, "offset", index;

CREATE FUNCTION quarantine_to_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quarantine_outbox (topic, partition, epoch, "offset", index)
    SELECT topic, partition, epoch, "offset", index FROM fresh ORDER BY topic, partition, epoch, "offset", index;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION quarantine_to_outbox IS 'Rows that ON CONFLICT DO NOTHING left out are not in the transition table: a repeated write announces nothing.';
CREATE TRIGGER quarantine_to_outbox AFTER INSERT ON quarantine
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION quarantine_to_outbox();

-- Where nobody runs the feed, retention takes its backlog along with the rows that it speaks of.
CREATE FUNCTION quarantine_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM quarantine_outbox o USING gone g
    WHERE (o.topic, o.partition, o.epoch, o."offset", o.index) = (g.topic, g.partition, g.epoch, g."offset", g.index);
    RETURN NULL;
END
$$;
CREATE TRIGGER quarantine_gone AFTER DELETE ON quarantine
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION quarantine_gone();
