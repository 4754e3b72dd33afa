-- name: newest
-- When the newest stored sample of the synthetic patient was measured; NULL before the first.
SELECT newest FROM synthetic_newest;
