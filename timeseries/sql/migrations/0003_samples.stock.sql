-- Stock PostgreSQL: a plain table with the same unique identity.

CREATE UNIQUE INDEX samples_identity ON samples (patient_key, metric_key, origin_key, time, duration_ms);
