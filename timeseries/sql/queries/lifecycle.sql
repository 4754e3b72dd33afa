-- name: retention_due
SELECT retention_class, tier, drop_after, rows_due FROM retention_due ORDER BY retention_class, tier;

-- name: apply_retention
CALL apply_retention();
