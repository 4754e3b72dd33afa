-- TimescaleDB runs retention by itself, once a day.
SELECT add_job('apply_retention', INTERVAL '1 day');
