-- Scalars that come faster than their policy are thinned out before they are stored: each window's first, last, lowest
-- and highest sample stay. What did not stay is counted here, in the transaction that stores the rest.

CREATE TABLE reduced (
    day        date NOT NULL,
    adapter    text NOT NULL,
    metric_key smallint NOT NULL,
    samples    bigint NOT NULL,
    PRIMARY KEY (day, adapter, metric_key)
);
COMMENT ON TABLE reduced IS 'Accepted samples that are not stored because their window''s extremes stand for them, counted by day, adapter and metric.';
