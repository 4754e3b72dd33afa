-- The wearer's own days: which are to be made again, what each series came to, one row a patient and day for people, and
-- whether measures rise or fall. Plain tables in both modes: a day is made by `vigil db rollup` after the rollups, from
-- them and (what covers intervals: sleep, steps) from samples. What each column means, in which unit, from which source
-- and when it is NULL stands in its comment: the data dictionary is made of these.
-- phase: pre
-- locks: SHARE ROW EXCLUSIVE on patients for the moment in which its trigger is made; nothing is read or rewritten.

CREATE TABLE dirty_days (
    patient_key integer NOT NULL,
    day         date NOT NULL,
    marked_at   timestamptz NOT NULL DEFAULT now(),
    due_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (patient_key, day)
) WITH (fillfactor = 70);
CREATE INDEX dirty_days_due ON dirty_days (due_at);
COMMENT ON TABLE dirty_days IS 'Days of wearers that changed since they were last made; marked with the dirty ranges, taken away as the day is made.';
COMMENT ON COLUMN dirty_days.patient_key IS 'The wearer.';
COMMENT ON COLUMN dirty_days.day IS 'Their local day.';
COMMENT ON COLUMN dirty_days.marked_at IS 'When it was first marked since it was last made.';
COMMENT ON COLUMN dirty_days.due_at IS 'When it may be made: a past day at once, the day that is still going on 15 minutes after it was marked.';

CREATE TABLE zones_told (
    patient_key     integer NOT NULL,
    origin_key      integer NOT NULL,
    month           date NOT NULL,
    zone_offset_min smallint NOT NULL,
    first_day       date NOT NULL,
    last_day        date NOT NULL,
    PRIMARY KEY (patient_key, month, origin_key, zone_offset_min)
);
COMMENT ON TABLE zones_told IS 'Which offsets the minutes of an origin ever told in a month: where there was but one, an hour belongs to one day as a whole unless midnight falls into it; where there were several, its minutes are looked at.';
COMMENT ON COLUMN zones_told.patient_key IS 'The wearer.';
COMMENT ON COLUMN zones_told.origin_key IS 'Device and application.';
COMMENT ON COLUMN zones_told.month IS 'First day of a UTC month.';
COMMENT ON COLUMN zones_told.zone_offset_min IS 'Minutes from UTC; -32768: it told none.';
COMMENT ON COLUMN zones_told.first_day IS 'First UTC day of the month on which it was told.';
COMMENT ON COLUMN zones_told.last_day IS 'Last UTC day of the month on which it was told.';

CREATE TABLE vitals_1d (
    patient_key        integer NOT NULL,
    metric_key         smallint NOT NULL,
    origin_key         integer NOT NULL,
    day                date NOT NULL,
    n                  bigint NOT NULL,
    sum                double precision,
    min                double precision,
    max                double precision,
    mean               double precision,
    time_weighted_mean double precision,
    minutes            double precision NOT NULL,
    first              double precision,
    last               double precision,
    total              double precision,
    zone_offset_min    smallint NOT NULL,
    PRIMARY KEY (patient_key, day, metric_key, origin_key)
) WITH (fillfactor = 80);
COMMENT ON TABLE vitals_1d IS 'A series over one local day of its wearer, over trustworthy samples (quality 0.5 or better, not deleted). A day runs from local midnight to local midnight by each sample''s own offset: 23 or 25 hours when the clocks change, any length on a flight.';
COMMENT ON COLUMN vitals_1d.patient_key IS 'The wearer.';
COMMENT ON COLUMN vitals_1d.metric_key IS 'What was measured, in the catalogue''s unit.';
COMMENT ON COLUMN vitals_1d.origin_key IS 'Device and application that told it. Origins are never pooled here, and never to be summed: daily_summary says which is believed.';
COMMENT ON COLUMN vitals_1d.day IS 'The wearer''s local day: by the offset that the sample told, else by patients.time_zone, else UTC.';
COMMENT ON COLUMN vitals_1d.n IS 'Samples: measured on that day (instantaneous metrics), or touching it (intervals and categories).';
COMMENT ON COLUMN vitals_1d.sum IS 'Sum of the values; of interval metrics the sum of the parts that fall on the day (value x time within the day / duration). NULL for categories.';
COMMENT ON COLUMN vitals_1d.min IS 'Lowest value; of categories the lowest code. NULL for interval metrics, whose samples differ in length.';
COMMENT ON COLUMN vitals_1d.max IS 'Highest value; of categories the highest code. NULL for interval metrics.';
COMMENT ON COLUMN vitals_1d.mean IS 'sum / n: every sample weighs the same. NULL for interval metrics and categories.';
COMMENT ON COLUMN vitals_1d.time_weighted_mean IS 'Mean of the means of the minutes that have data: a minute of one sample weighs as much as one of sixty. NULL for interval metrics and categories.';
COMMENT ON COLUMN vitals_1d.minutes IS 'Minutes that have data; of interval metrics and categories the time that the samples cover together, in minutes.';
COMMENT ON COLUMN vitals_1d.first IS 'First value of the day (categories: code). NULL for interval metrics.';
COMMENT ON COLUMN vitals_1d.last IS 'Last value of the day (categories: code). NULL for interval metrics.';
COMMENT ON COLUMN vitals_1d.total IS 'Interval metrics: what accumulated on the day, apportioned over local midnight, no moment counted twice within the origin (of overlapping samples the one that began first). NULL for the others.';
COMMENT ON COLUMN vitals_1d.zone_offset_min IS 'Offset from UTC in minutes that the day''s last sample told; -32768 where it told none.';

CREATE TABLE daily_summary (
    patient_key                 integer NOT NULL,
    day                         date NOT NULL,
    zone_offset_min             smallint,
    day_length_min              double precision NOT NULL,
    sleep_total_min             double precision,
    sleep_in_bed_min            double precision,
    sleep_efficiency_pct        double precision,
    sleep_latency_min           double precision,
    sleep_core_min              double precision,
    sleep_deep_min              double precision,
    sleep_rem_min               double precision,
    sleep_unspecified_min       double precision,
    sleep_awake_min             double precision,
    sleep_disturbances          integer,
    sleep_onset_at              timestamptz,
    sleep_midpoint_at           timestamptz,
    sleep_end_at                timestamptz,
    sleep_onset_local_min       double precision,
    sleep_midpoint_local_min    double precision,
    sleep_agreement             double precision,
    sleep_regularity_index      double precision,
    nap_count                   integer,
    nap_min                     double precision,
    steps                       double precision,
    distance_m                  double precision,
    active_energy_kcal          double precision,
    exercise_min                double precision,
    moderate_vigorous_min       double precision,
    brisk_min                   double precision,
    stand_min                   double precision,
    daylight_min                double precision,
    heart_rate_minutes          integer,
    heart_rate_mean_bpm         double precision,
    heart_rate_min_bpm          double precision,
    heart_rate_max_bpm          double precision,
    resting_heart_rate_bpm      double precision,
    resting_heart_rate_told_bpm double precision,
    hrv_sdnn_ms                 double precision,
    hrv_rmssd_ms                double precision,
    hrv_sdnn_24h_ms             double precision,
    hrv_rmssd_night_ms          double precision,
    wear_min                    double precision,
    samples_expected            bigint,
    samples_received            bigint,
    completeness                double precision,
    quality_score               double precision,
    valid_day                   boolean NOT NULL,
    made_at                     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (patient_key, day)
) WITH (fillfactor = 80);
COMMENT ON TABLE daily_summary IS 'One row a patient and local day with any trustworthy data: sleep, activity, heart, wear. What was not measured is NULL, never zero. Informs; it does not diagnose.';
COMMENT ON COLUMN daily_summary.patient_key IS 'The wearer.';
COMMENT ON COLUMN daily_summary.day IS 'Their local day, midnight to midnight; the night in it is the one that ends on it.';
COMMENT ON COLUMN daily_summary.zone_offset_min IS 'Offset from UTC in minutes of the day''s last sample: told, else by the patient''s zone, else 0. NULL if only a night is known of the day.';
COMMENT ON COLUMN daily_summary.day_length_min IS 'Length of the day in minutes by the offsets seen: 1440, 1380 or 1500 when the clocks change, any on a flight.';
COMMENT ON COLUMN daily_summary.sleep_total_min IS 'Total sleep time of the night in minutes: time in stages other than awake, no moment twice. The night is the longest episode of sleep (stretches less than an hour apart; van Hees 2018) with its middle between noon of the day before and noon, of three hours or with its middle between 21:00 and 9:00, and further episodes with their middle between 21:00 and 9:00. Of an episode told by several origins one is believed. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_in_bed_min IS 'Time in bed in minutes, as told (in_bed), within three hours of the night''s sleep, together with the sleep itself; without a told night what was told from noon to noon. NULL: no time in bed was told.';
COMMENT ON COLUMN daily_summary.sleep_efficiency_pct IS '100 x sleep_total_min / sleep_in_bed_min (AASM; Reed and Sacco 2016). NULL without time in bed, or if less than half of the sleep lies within it.';
COMMENT ON COLUMN daily_summary.sleep_latency_min IS 'Minutes from going to bed to falling asleep: sleep onset minus the start of the time in bed around it. NULL if no time in bed was told around the onset.';
COMMENT ON COLUMN daily_summary.sleep_core_min IS 'Minutes in core (light, N1 and N2) sleep, as the device calls it. NULL if the night has no stages.';
COMMENT ON COLUMN daily_summary.sleep_deep_min IS 'Minutes in deep sleep (N3), as the device calls it. NULL if the night has no stages.';
COMMENT ON COLUMN daily_summary.sleep_rem_min IS 'Minutes in REM sleep, as the device calls it. NULL if the night has no stages.';
COMMENT ON COLUMN daily_summary.sleep_unspecified_min IS 'Minutes asleep without a stage. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_awake_min IS 'Wake after sleep onset in minutes (AASM): time between falling asleep and the last waking that was told as awake or in bed and not as sleep. What was not told is not counted. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_disturbances IS 'How many times sleep was broken by a minute or more that was told as awake or in bed. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_onset_at IS 'When the night''s first sleep began. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_midpoint_at IS 'Middle between the first falling asleep and the last waking. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_end_at IS 'When the night''s last sleep ended. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_onset_local_min IS 'sleep_onset_at on the wearer''s clock on waking, in minutes from the midnight that begins the day: 23:00 of the evening before is -60. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_midpoint_local_min IS 'sleep_midpoint_at likewise: 3:30 is 210. NULL: no night was told.';
COMMENT ON COLUMN daily_summary.sleep_agreement IS 'Share (0 to 1) of the 24 hours to noon in which sleep and waking were as at the same local time a day before; naps count as sleep. NULL unless both days have a night.';
COMMENT ON COLUMN daily_summary.sleep_regularity_index IS 'Sleep Regularity Index (Phillips et al. 2017): 200 x the mean of sleep_agreement over the seven days up to this one, minus 100; 100 is the same every day, 0 is chance. NULL below five such days.';
COMMENT ON COLUMN daily_summary.nap_count IS 'Episodes of sleep that end on the day and are no part of a night. 0 if a night was told and no nap; NULL if neither.';
COMMENT ON COLUMN daily_summary.nap_min IS 'Minutes asleep in naps. 0 if a night was told and no nap; NULL if neither.';
COMMENT ON COLUMN daily_summary.steps IS 'Steps, no stretch of time counted twice: at every moment one origin is believed, the one that covers most of the day (then the one with finer intervals), the others only where it tells nothing; apportioned over local midnight, so not always whole. NULL: no origin told any interval.';
COMMENT ON COLUMN daily_summary.distance_m IS 'Distance walked, run or cycled in metres; as steps.';
COMMENT ON COLUMN daily_summary.active_energy_kcal IS 'Active energy in kcal; as steps. Devices estimate it, each in its own way.';
COMMENT ON COLUMN daily_summary.exercise_min IS 'Minutes that a device counted as exercise (exercise_time); as steps. Another method than the next two, and not to be pooled with them.';
COMMENT ON COLUMN daily_summary.moderate_vigorous_min IS 'Minutes in moderate or vigorous intensity as told (activity_intensity 2 or 3), one origin at a time. NULL: no intensity was told.';
COMMENT ON COLUMN daily_summary.brisk_min IS 'Minutes in intervals of 100 steps a minute or more, moderate intensity for adults (Tudor-Locke et al. 2018); intervals longer than the walk hide it. NULL: no steps were told.';
COMMENT ON COLUMN daily_summary.stand_min IS 'Minutes that a device counted as standing; as steps.';
COMMENT ON COLUMN daily_summary.daylight_min IS 'Minutes in daylight as told; as steps.';
COMMENT ON COLUMN daily_summary.heart_rate_minutes IS 'Minutes with heart rate, each quarter of an hour from the origin that has more minutes on the day. NULL: no heart rate.';
COMMENT ON COLUMN daily_summary.heart_rate_mean_bpm IS 'Mean heart rate, /min, over those minutes (mean of their means: a minute at 1 Hz weighs as much as one with a single sample). NULL: no heart rate.';
COMMENT ON COLUMN daily_summary.heart_rate_min_bpm IS 'Lowest trustworthy sample of heart rate, /min, of the believed origins. NULL: no heart rate.';
COMMENT ON COLUMN daily_summary.heart_rate_max_bpm IS 'Highest trustworthy sample of heart rate, /min, of the believed origins. NULL: no heart rate.';
COMMENT ON COLUMN daily_summary.resting_heart_rate_bpm IS 'Lowest half-hour mean of heart rate on the day, /min: two quarters of an hour in a row, from full quarters of UTC, each with two minutes of data or more; in sleep or awake. Vigil''s own definition; not the rate of five minutes lying down. NULL: no such half hour.';
COMMENT ON COLUMN daily_summary.resting_heart_rate_told_bpm IS 'Resting heart rate as a device told it (resting_heart_rate), /min: its last of the day. Its maker''s definition; not to be pooled with the column before. NULL: none told.';
COMMENT ON COLUMN daily_summary.hrv_sdnn_ms IS 'Mean of the SDNN values that a device told on the day (hrv_sdnn), ms, from the origin with most of them; short recordings of that device''s length (Apple: about a minute). Void in atrial fibrillation or pacing. NULL: none told.';
COMMENT ON COLUMN daily_summary.hrv_rmssd_ms IS 'Mean of the RMSSD values that a device told on the day (hrv_rmssd), ms, from the origin with most of them. Void in atrial fibrillation or pacing. NULL: none told.';
COMMENT ON COLUMN daily_summary.hrv_sdnn_24h_ms IS 'Standard deviation of all trustworthy RR intervals of the day, ms, from the origin with most of them (Task Force 1996). Another measure than hrv_sdnn_ms. Void in atrial fibrillation or pacing. NULL below 18 hours of intervals.';
COMMENT ON COLUMN daily_summary.hrv_rmssd_night_ms IS 'Root mean square of successive differences of RR intervals between sleep_onset_at and sleep_end_at, ms (Task Force 1996), over pairs of beats that follow each other and differ by at most 20 %, from the origin with most of them. Void in atrial fibrillation or pacing. NULL without a night or below 300 pairs.';
COMMENT ON COLUMN daily_summary.wear_min IS 'Wear time in minutes: quarters of an hour in which a trustworthy heart rate, pulse, RR interval or SpO2 came, and told wear (wear_state), without what the same device told as not worn. 0 only if told; NULL if nothing speaks of it.';
COMMENT ON COLUMN daily_summary.samples_expected IS 'Trustworthy samples to be expected, over all series with a cadence of 15 minutes or faster in the catalogue: between each series'' first and last quarter of an hour, while worn, at its origin''s usual rate of the day (median of its quarters), at most the catalogue''s. NULL: no such series.';
COMMENT ON COLUMN daily_summary.samples_received IS 'How many of samples_expected came; what is more than expected in one quarter of an hour makes up for no other. NULL as samples_expected.';
COMMENT ON COLUMN daily_summary.completeness IS 'Expected samples that came, 0 to 1. NULL as samples_expected.';
COMMENT ON COLUMN daily_summary.quality_score IS 'wear_min / day_length_min x completeness: 0 to 1, 1 is a day without a gap. 0 if told as not worn all day; NULL if either is.';
COMMENT ON COLUMN daily_summary.valid_day IS 'Whether the day counts where a half-worn one would mislead: ten hours of wear or more (Troiano et al. 2008; Migueles et al. 2017), and completeness not below 0.5. False where wear is not known.';
COMMENT ON COLUMN daily_summary.made_at IS 'When the row was made.';

CREATE TABLE trends (
    patient_key   integer NOT NULL,
    measure       text NOT NULL,
    span          text NOT NULL CHECK (span IN ('week', 'month', 'quarter')),
    until         date NOT NULL,
    direction     text NOT NULL CHECK (direction IN ('rising', 'falling', 'stable', 'unclear')),
    slope_per_day double precision,
    confidence    double precision CHECK (confidence BETWEEN 0 AND 1),
    days_used     integer NOT NULL,
    PRIMARY KEY (patient_key, measure, span, until)
);
COMMENT ON TABLE trends IS 'Whether a measure of daily_summary rises, falls or stays, over a span that ends with each Sunday and with the newest day that is over. Directions only: what is better or worse is for a clinician to say.';
COMMENT ON COLUMN trends.patient_key IS 'The wearer.';
COMMENT ON COLUMN trends.measure IS 'A column of daily_summary. Steps, energy, exercise and computed heart rates count on valid days only.';
COMMENT ON COLUMN trends.span IS 'week: 7 days; month: 30; quarter: 91.';
COMMENT ON COLUMN trends.until IS 'Last day of the span.';
COMMENT ON COLUMN trends.direction IS 'rising or falling: the Mann-Kendall test says so at 95 % confidence; stable: two such tests say at 95 % each that the change over the span is less than one that matters (steps 1000, energy 100 kcal, exercise 10 min, sleep and its midpoint 30 min, efficiency 5 points, disturbances 2, heart rates 3 /min, HRV 5 ms: a convention for wording, no clinical threshold); unclear: neither, or too few days.';
COMMENT ON COLUMN trends.slope_per_day IS 'Theil-Sen slope, in the measure''s unit a day. NULL with too few days.';
COMMENT ON COLUMN trends.confidence IS 'Of the direction: 1 minus the p value of its test, the variance corrected for ties and for days that resemble the day before (lag-1 autocorrelation); of unclear the best that any direction reached. NULL with too few days.';
COMMENT ON COLUMN trends.days_used IS 'Days with a value. A week needs 5, a month 14, a quarter 30, reaching over more than half of the span.';

-- Where samples do not tell their offset the patient's zone does: if it changes, so may all days.
CREATE FUNCTION mark_days_of_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dirty_days (patient_key, day)
    SELECT DISTINCT s.patient_key, s.day + around
    FROM daily_summary s, generate_series(-1, 1) AS around
    WHERE s.patient_key = NEW.patient_key
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_days_of_zone IS 'Marks all days of a patient, and their neighbours, when patients.time_zone changes.';
CREATE TRIGGER mark_days_of_zone AFTER UPDATE OF time_zone ON patients
    FOR EACH ROW WHEN (OLD.time_zone IS DISTINCT FROM NEW.time_zone) EXECUTE FUNCTION mark_days_of_zone();
