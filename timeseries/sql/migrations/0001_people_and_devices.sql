-- Who is measured and by what. Every id that comes from outside is opaque text; the tables on the hot path carry
-- the short key instead (a uuid or text in the samples' index made it two thirds larger).

CREATE TABLE patients (
    patient_key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_id  text NOT NULL UNIQUE,
    time_zone   text,
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE patients IS 'People in care, by opaque id. No name, birth date or address ever enters this database.';
COMMENT ON COLUMN patients.time_zone IS 'IANA zone in which the patient lives; used where a sample does not tell its own offset.';

CREATE TABLE devices (
    device_key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id  text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE devices IS 'Sensors and phones, by opaque id (adapters hash what could carry a name).';

CREATE TABLE origins (
    origin_key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_key integer NOT NULL REFERENCES devices,
    source_app text NOT NULL,
    UNIQUE (device_key, source_app)
);
COMMENT ON TABLE origins IS 'A device and the application that spoke for it: two origins are two series, never summed blindly.';

CREATE TABLE metrics (
    metric_key      smallint PRIMARY KEY,
    code            text NOT NULL UNIQUE,
    loinc           text,
    unit            text NOT NULL,
    kind            text NOT NULL,
    retention_class text NOT NULL,
    low             double precision NOT NULL,
    high            double precision NOT NULL,
    cadence_s       double precision
);
COMMENT ON TABLE metrics IS 'The metric catalogue, mirrored from the code at every migration; the code is its source.';
COMMENT ON COLUMN metrics.unit IS 'UCUM unit of every value of this metric.';
