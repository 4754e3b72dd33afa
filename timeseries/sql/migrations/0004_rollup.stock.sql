-- The first rollup on stock PostgreSQL: a table of the same columns, rebuilt minute by minute where samples changed.

CREATE TABLE vitals_1m (
    bucket      timestamptz NOT NULL,
    patient_key integer NOT NULL,
    metric_key  smallint NOT NULL,
    origin_key  integer NOT NULL,
    n           bigint NOT NULL,
    sum         double precision NOT NULL,
    min         double precision NOT NULL,
    max         double precision NOT NULL,
    first       double precision NOT NULL,
    last        double precision NOT NULL,
    sum_sq      double precision NOT NULL,
    PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
COMMENT ON TABLE vitals_1m IS 'One row a series and minute over trustworthy samples; follows the samples within a refresh.';
