-- The whole schema on stock PostgreSQL, made from the migrations by tools/schema.py: read it, never edit it.

SET check_function_bodies = off;
CREATE SCHEMA IF NOT EXISTS data;

-- schema_migrations
CREATE TABLE schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (number)
);

-- People in care, by opaque id. No name, birth date or address ever enters this database.
CREATE TABLE patients (
    patient_key integer GENERATED ALWAYS AS IDENTITY,
    patient_id text NOT NULL,
    time_zone text,  -- IANA zone in which the patient lives; used where a sample does not tell its own offset.
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT patients_pkey PRIMARY KEY (patient_key),
    CONSTRAINT patients_patient_id_key UNIQUE (patient_id)
);

-- Sensors and phones, by opaque id (adapters hash what could carry a name).
CREATE TABLE devices (
    device_key integer GENERATED ALWAYS AS IDENTITY,
    device_id text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT devices_pkey PRIMARY KEY (device_key),
    CONSTRAINT devices_device_id_key UNIQUE (device_id)
);

-- A device and the application that spoke for it: two origins are two series, never summed blindly.
CREATE TABLE origins (
    origin_key integer GENERATED ALWAYS AS IDENTITY,
    device_key integer NOT NULL,
    source_app text NOT NULL,
    CONSTRAINT origins_pkey PRIMARY KEY (origin_key),
    CONSTRAINT origins_device_key_source_app_key UNIQUE (device_key, source_app)
);

-- The metric catalogue, mirrored from the code at every migration; the code is its source.
CREATE TABLE metrics (
    metric_key smallint NOT NULL,
    code text NOT NULL,
    loinc text,
    unit text NOT NULL,  -- UCUM unit of every value of this metric.
    kind text NOT NULL,
    retention_class text NOT NULL,
    low double precision NOT NULL,
    high double precision NOT NULL,
    cadence_s double precision,
    CONSTRAINT metrics_pkey PRIMARY KEY (metric_key),
    CONSTRAINT metrics_code_key UNIQUE (code)
);

-- One row a sample identity (patient, metric, origin, time, duration): its current version.
CREATE TABLE samples (
    "time" timestamp with time zone NOT NULL,  -- When the device measured; the beginning of the interval for metrics that cover one.
    written_at timestamp with time zone NOT NULL,  -- When the phone or bridge wrote it down. The greatest (written, received, content) wins.
    received_at timestamp with time zone NOT NULL,  -- When Vigil received it; received_at - time is the lateness.
    value double precision NOT NULL,
    patient_key integer NOT NULL,
    origin_key integer NOT NULL,
    duration_ms integer NOT NULL,
    quality real NOT NULL,
    metric_key smallint NOT NULL,
    flags smallint NOT NULL,  -- Doubts of validation as bits; bit 7 (128) marks a tombstone: the source deleted this sample.
    context smallint NOT NULL,  -- Circumstances as bits: motion, user entered, asleep, workout, no contact.
    zone_offset_min smallint NOT NULL  -- The wearer's offset from UTC in minutes; -32768 where the source does not tell.
);
CREATE INDEX samples_time ON public.samples USING brin ("time") WITH (autosummarize='on');
CREATE UNIQUE INDEX samples_identity ON public.samples USING btree (patient_key, metric_key, origin_key, "time", duration_ms);

-- Older versions of a sample, kept when a correction or deletion superseded them.
CREATE TABLE sample_revisions (
    "time" timestamp with time zone NOT NULL,  -- When the device measured; the beginning of the interval for metrics that cover one.
    written_at timestamp with time zone NOT NULL,  -- When the phone or bridge wrote it down. The greatest (written, received, content) wins.
    received_at timestamp with time zone NOT NULL,  -- When Vigil received it; received_at - time is the lateness.
    value double precision NOT NULL,
    patient_key integer NOT NULL,
    origin_key integer NOT NULL,
    duration_ms integer NOT NULL,
    quality real NOT NULL,
    metric_key smallint NOT NULL,
    flags smallint NOT NULL,  -- Doubts of validation as bits; bit 7 (128) marks a tombstone: the source deleted this sample.
    context smallint NOT NULL,  -- Circumstances as bits: motion, user entered, asleep, workout, no contact.
    zone_offset_min smallint NOT NULL,  -- The wearer's offset from UTC in minutes; -32768 where the source does not tell.
    superseded_at timestamp with time zone NOT NULL DEFAULT now()
);
CREATE INDEX sample_revisions_identity ON public.sample_revisions USING btree (patient_key, metric_key, origin_key, "time", duration_ms);

-- The newest sample of every series, one row each: what tiles show.
CREATE TABLE latest (
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    "time" timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    value double precision NOT NULL,
    quality real NOT NULL,
    context smallint NOT NULL,
    CONSTRAINT latest_pkey PRIMARY KEY (patient_key, metric_key, origin_key)
) WITH (fillfactor=50);

-- How far each partition is stored. Moved in the transaction that stores: this, not the consumer group, is the truth.
CREATE TABLE watermarks (
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch integer NOT NULL DEFAULT 0,  -- The incarnation of the partition; a recreated topic or a broker that lost its log begins a new one.
    next_offset bigint NOT NULL DEFAULT 0,
    last_timestamp_ms bigint,
    last_crc bigint,  -- CRC-32 of the last applied record, to recognise the log on assignment.
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT watermarks_pkey PRIMARY KEY (topic, partition)
) WITH (fillfactor=50);

-- The raw record behind quarantined samples, whole, so that a changed rule can give it a second chance.
CREATE TABLE quarantine_records (
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch integer NOT NULL,
    "offset" bigint NOT NULL,
    timestamp_ms bigint,
    patient_id text,
    device_id text,
    adapter text,
    key bytea,
    headers jsonb NOT NULL,
    value bytea,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    withheld boolean NOT NULL DEFAULT false,  -- Its value is not kept (NULL), because no consent covers all that it holds: a replay cannot bring back what was rejected in it.
    CONSTRAINT quarantine_records_pkey PRIMARY KEY (topic, partition, epoch, "offset")
);

-- What was not stored, and why: one row a sample, or one with index -1 for a record that could not be opened.
CREATE TABLE quarantine (
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch integer NOT NULL,
    "offset" bigint NOT NULL,
    index integer NOT NULL,
    reason text NOT NULL,
    metric text,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    replayed_at timestamp with time zone,
    CONSTRAINT quarantine_pkey PRIMARY KEY (topic, partition, epoch, "offset", index)
);
CREATE INDEX quarantine_by_reason ON public.quarantine USING btree (reason, recorded_at DESC);

-- Samples that arrived again and were not stored twice, counted by day, adapter and reason.
CREATE TABLE duplicates (
    day date NOT NULL,
    adapter text NOT NULL,
    reason text NOT NULL,
    samples bigint NOT NULL,
    CONSTRAINT duplicates_pkey PRIMARY KEY (day, adapter, reason)
);

-- What rollups have not seen yet; written with the samples, consumed by the refresh.
CREATE TABLE dirty_ranges (
    patient_key integer NOT NULL,
    hour timestamp with time zone NOT NULL,
    from_time timestamp with time zone NOT NULL,
    to_time timestamp with time zone NOT NULL,
    CONSTRAINT dirty_ranges_pkey PRIMARY KEY (patient_key, hour)
) WITH (fillfactor=70);
CREATE INDEX dirty_ranges_by_hour ON public.dirty_ranges USING btree (hour, patient_key);

-- A minute of a series over its trustworthy samples; below the raw horizon not to be trusted: read vitals_1m_all.
CREATE TABLE vitals_1m (
    bucket timestamp with time zone NOT NULL,
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    n bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    sum_sq double precision NOT NULL,
    minutes integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    CONSTRAINT vitals_1m_pkey PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
CREATE INDEX vitals_1m_time ON public.vitals_1m USING brin (bucket) WITH (autosummarize='on');

-- One row an alert: its newest state. All times but the acknowledgement's and stored_at are event time.
CREATE TABLE alerts (
    alert_id text NOT NULL,  -- Hash of patient, rule, metric, origin and the time at which it became pending: a replay finds its row again.
    patient_id text NOT NULL,
    kind text NOT NULL,  -- technical: about the measuring; physiological: about the measured.
    priority text NOT NULL,
    rule text NOT NULL,
    rule_version integer NOT NULL,
    metric text NOT NULL,
    device_id text NOT NULL,
    source_app text NOT NULL,
    state text NOT NULL,
    opened_at timestamp with time zone NOT NULL,  -- When it became pending.
    raised_at timestamp with time zone NOT NULL,  -- When it had held for long enough.
    changed_at timestamp with time zone NOT NULL,  -- When it came into its state; of two events the later one counts.
    cleared_at timestamp with time zone,
    measured_at timestamp with time zone NOT NULL,  -- When the newest evidence was measured.
    retrospective boolean NOT NULL,  -- Found in data too old to be called live: reviewed, never paged.
    individualised boolean NOT NULL,  -- Whether the limits are the person's own.
    evidence jsonb NOT NULL,  -- Window, newest values, unit, threshold and quality.
    sentence text NOT NULL,
    acknowledged_by text,  -- Opaque id of the person who acknowledged it; taken back when the priority rises.
    acknowledged_at timestamp with time zone,
    acknowledged_priority text,
    stored_at timestamp with time zone NOT NULL DEFAULT now(),
    evidence_taken boolean NOT NULL DEFAULT false,  -- alert_evidence had a row for this alert, though its policy may have let it go since.
    raised_sentence text,  -- What it said when it was last told as open; NULL: only its end is known, or it is older than this column.
    raised_evidence jsonb,  -- The evidence of that: evidence is of the newest event, which after the end is the clearing.
    policy text,  -- Label and version of the policy by which it was found; NULL: older than this column.
    CONSTRAINT alerts_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alerts_acknowledged_priority_check CHECK ((acknowledged_priority = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text]))),
    CONSTRAINT alerts_check CHECK (((cleared_at IS NOT NULL) = (state = 'cleared'::text))),
    CONSTRAINT alerts_check1 CHECK (((acknowledged_by IS NULL) = (acknowledged_at IS NULL))),
    CONSTRAINT alerts_kind_check CHECK ((kind = ANY (ARRAY['technical'::text, 'physiological'::text]))),
    CONSTRAINT alerts_priority_check CHECK ((priority = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text]))),
    CONSTRAINT alerts_raised_evidence_check CHECK ((jsonb_typeof(raised_evidence) = 'object'::text)),
    CONSTRAINT alerts_raised_sentence_check CHECK ((raised_sentence <> ''::text)),
    CONSTRAINT alerts_state_check CHECK ((state = ANY (ARRAY['raised'::text, 'escalated'::text, 'cleared'::text])))
);
CREATE INDEX alerts_open ON public.alerts USING btree (raised_at DESC) WHERE (state <> 'cleared'::text);
CREATE INDEX alerts_patient ON public.alerts USING btree (patient_id, opened_at DESC);
CREATE INDEX alerts_without_evidence ON public.alerts USING btree (raised_at) WHERE (NOT evidence_taken);

-- One row a message to a recipient over a channel.
CREATE TABLE notifications (
    notification_id text NOT NULL,
    alert_id text NOT NULL,
    patient_id text NOT NULL,
    state text NOT NULL,  -- The alert's state that it tells of.
    priority text NOT NULL,
    recipient text NOT NULL,
    channel text NOT NULL,
    created_at timestamp with time zone NOT NULL,  -- When dispatch decided it; the earliest, if it did so twice.
    delayed boolean NOT NULL,  -- The message says that it comes late.
    stored_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT notifications_pkey PRIMARY KEY (notification_id)
);
CREATE INDEX notifications_alert ON public.notifications USING btree (alert_id);

-- Every attempt to deliver a notification.
CREATE TABLE delivery_attempts (
    notification_id text NOT NULL,
    attempted_at timestamp with time zone NOT NULL,
    attempt integer NOT NULL,  -- Counts from 1 in each life of the notifier.
    outcome text NOT NULL,
    detail text NOT NULL,  -- A word about the channel's answer; never an address or a secret.
    stored_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT delivery_attempts_pkey PRIMARY KEY (notification_id, attempted_at, attempt),
    CONSTRAINT delivery_attempts_outcome_check CHECK ((outcome = ANY (ARRAY['delivered'::text, 'failed'::text, 'abandoned'::text])))
);

-- One row a chunk of one signal. Value i of an axis stands at time + first_us + i / sample_rate_hz.
CREATE TABLE waveforms (
    "time" timestamp with time zone NOT NULL,  -- Start of the chunk as the device told it: with the signal, the identity of the row. What the filter held when a signal broke off stands at the last microsecond before the break.
    written_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    sample_rate_hz double precision NOT NULL,  -- Of the stored values; below original_rate_hz where the policy decimates.
    original_rate_hz double precision NOT NULL,
    scale double precision NOT NULL,
    patient_key integer NOT NULL,
    origin_key integer NOT NULL,
    first_us integer NOT NULL,  -- Microseconds from time to the first stored value; negative by at most the delay of the decimation filter.
    duration_ms integer NOT NULL,  -- How long the stored values last.
    quality real NOT NULL,
    metric_key smallint NOT NULL,
    axes smallint NOT NULL,
    flags smallint NOT NULL,
    context smallint NOT NULL,
    zone_offset_min smallint NOT NULL,
    channel text NOT NULL,  -- Lead or colour where a device has several signals of a metric; otherwise main.
    "values" integer[] NOT NULL  -- Interleaved by axis (x0, y0, z0, x1, ...); times scale they are in the metric's unit.
);
CREATE INDEX waveforms_time ON public.waveforms USING brin ("time");
CREATE UNIQUE INDEX waveforms_identity ON public.waveforms USING btree (patient_key, metric_key, origin_key, channel, "time");

-- Filter and detector memory of each signal as of its watermark: moved in the same transaction.
CREATE TABLE feature_state (
    patient_key integer NOT NULL,
    origin_key integer NOT NULL,
    metric_key smallint NOT NULL,
    channel text NOT NULL,
    state bytea NOT NULL,
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT feature_state_pkey PRIMARY KEY (patient_key, origin_key, metric_key, channel)
) WITH (fillfactor=50);

-- Places in quarantine that are not yet published on vigil.quarantine; `vigil quarantine feed` empties it.
CREATE TABLE quarantine_outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY,  -- The order of writing. Gaps and late comers are normal: readers take the smallest that are there, they keep no position.
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch integer NOT NULL,
    "offset" bigint NOT NULL,
    index integer NOT NULL,
    CONSTRAINT quarantine_outbox_pkey PRIMARY KEY (seq)
);

-- Accepted samples that are not stored because their window's extremes stand for them, counted by day, adapter and metric.
CREATE TABLE reduced (
    day date NOT NULL,
    adapter text NOT NULL,
    metric_key smallint NOT NULL,
    samples bigint NOT NULL,
    CONSTRAINT reduced_pkey PRIMARY KEY (day, adapter, metric_key)
);

-- A quarter of an hour of a series, made of its minutes; see vitals_1m.
CREATE TABLE vitals_15m (
    bucket timestamp with time zone NOT NULL,
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    n bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    sum_sq double precision NOT NULL,
    minutes integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    CONSTRAINT vitals_15m_pkey PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
) WITH (fillfactor=80);

-- An hour of a series, made of its quarters; see vitals_1m.
CREATE TABLE vitals_1h (
    bucket timestamp with time zone NOT NULL,
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    n bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    sum_sq double precision NOT NULL,
    minutes integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    CONSTRAINT vitals_1h_pkey PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
) WITH (fillfactor=80);

-- Samples of a class from before its horizon are gone, on hold or late: there the history speaks. No row: nothing is gone.
CREATE TABLE raw_horizons (
    retention_class text NOT NULL,
    horizon timestamp with time zone NOT NULL,  -- A whole hour, so that no bucket lies on both sides; it only ever moves on.
    CONSTRAINT raw_horizons_pkey PRIMARY KEY (retention_class),
    CONSTRAINT raw_horizons_horizon_check CHECK ((horizon = date_bin('01:00:00'::interval, horizon, '2000-01-01 00:00:00+00'::timestamp with time zone)))
);

-- Minutes below their class's raw horizon: kept when the samples went.
CREATE TABLE vitals_1m_history (
    bucket timestamp with time zone NOT NULL,
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    n bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    sum_sq double precision NOT NULL,
    minutes integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    CONSTRAINT vitals_1m_history_pkey PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
CREATE INDEX vitals_1m_history_time ON public.vitals_1m_history USING brin (bucket) WITH (autosummarize='on');

-- Quarters of an hour below the raw horizon.
CREATE TABLE vitals_15m_history (
    bucket timestamp with time zone NOT NULL,
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    n bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    sum_sq double precision NOT NULL,
    minutes integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    CONSTRAINT vitals_15m_history_pkey PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
CREATE INDEX vitals_15m_history_time ON public.vitals_15m_history USING brin (bucket) WITH (autosummarize='on');

-- Hours below the raw horizon.
CREATE TABLE vitals_1h_history (
    bucket timestamp with time zone NOT NULL,
    patient_key integer NOT NULL,
    metric_key smallint NOT NULL,
    origin_key integer NOT NULL,
    n bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    sum_sq double precision NOT NULL,
    minutes integer NOT NULL,
    minute_mean_sum double precision NOT NULL,
    zone_offset_min smallint NOT NULL,
    CONSTRAINT vitals_1h_history_pkey PRIMARY KEY (patient_key, metric_key, origin_key, bucket)
);
CREATE INDEX vitals_1h_history_time ON public.vitals_1h_history USING brin (bucket) WITH (autosummarize='on');

-- Days of wearers that changed since they were last made; marked with the dirty ranges, taken away as the day is made.
CREATE TABLE dirty_days (
    patient_key integer NOT NULL,  -- The wearer.
    day date NOT NULL,  -- Their local day.
    marked_at timestamp with time zone NOT NULL DEFAULT now(),  -- When it was first marked since it was last made.
    due_at timestamp with time zone NOT NULL DEFAULT now(),  -- When it may be made: a past day at once, the day that is still going on 15 minutes after it was marked.
    CONSTRAINT dirty_days_pkey PRIMARY KEY (patient_key, day)
) WITH (fillfactor=70);
CREATE INDEX dirty_days_due ON public.dirty_days USING btree (due_at);

-- Which offsets the minutes of an origin ever told in a month: where there was but one, an hour belongs to one day as a whole unless midnight falls into it; where there were several, its minutes are looked at.
CREATE TABLE zones_told (
    patient_key integer NOT NULL,  -- The wearer.
    origin_key integer NOT NULL,  -- Device and application.
    month date NOT NULL,  -- First day of a UTC month.
    zone_offset_min smallint NOT NULL,  -- Minutes from UTC; -32768: it told none.
    first_day date NOT NULL,  -- First UTC day of the month on which it was told.
    last_day date NOT NULL,  -- Last UTC day of the month on which it was told.
    CONSTRAINT zones_told_pkey PRIMARY KEY (patient_key, month, origin_key, zone_offset_min)
);

-- A series over one local day of its wearer, over trustworthy samples (quality 0.5 or better, not deleted). A day runs from local midnight to local midnight by each sample's own offset: 23 or 25 hours when the clocks change, any length on a flight.
CREATE TABLE vitals_1d (
    patient_key integer NOT NULL,  -- The wearer.
    metric_key smallint NOT NULL,  -- What was measured, in the catalogue's unit.
    origin_key integer NOT NULL,  -- Device and application that told it. Origins are never pooled here, and never to be summed: daily_summary says which is believed.
    day date NOT NULL,  -- The wearer's local day: by the offset that the sample told, else by patients.time_zone, else UTC.
    n bigint NOT NULL,  -- Samples: measured on that day (instantaneous metrics), or touching it (intervals and categories).
    sum double precision,  -- Sum of the values; of interval metrics the sum of the parts that fall on the day (value x time within the day / duration). NULL for categories.
    min double precision,  -- Lowest value; of categories the lowest code. NULL for interval metrics, whose samples differ in length.
    max double precision,  -- Highest value; of categories the highest code. NULL for interval metrics.
    mean double precision,  -- sum / n: every sample weighs the same. NULL for interval metrics and categories.
    time_weighted_mean double precision,  -- Mean of the means of the minutes that have data: a minute of one sample weighs as much as one of sixty. NULL for interval metrics and categories.
    minutes double precision NOT NULL,  -- Minutes that have data; of interval metrics and categories the time that the samples cover together, in minutes.
    first double precision,  -- First value of the day (categories: code). NULL for interval metrics.
    last double precision,  -- Last value of the day (categories: code). NULL for interval metrics.
    total double precision,  -- Interval metrics: what accumulated on the day, apportioned over local midnight, no moment counted twice within the origin (of overlapping samples the one that began first). NULL for the others.
    zone_offset_min smallint NOT NULL,  -- Offset from UTC in minutes that the day's last sample told; -32768 where it told none.
    CONSTRAINT vitals_1d_pkey PRIMARY KEY (patient_key, day, metric_key, origin_key)
) WITH (fillfactor=80);

-- One row a patient and local day with any trustworthy data: sleep, activity, heart, wear. What was not measured is NULL, never zero. Informs; it does not diagnose.
CREATE TABLE daily_summary (
    patient_key integer NOT NULL,  -- The wearer.
    day date NOT NULL,  -- Their local day, midnight to midnight; the night in it is the one that ends on it.
    zone_offset_min smallint,  -- Offset from UTC in minutes of the day's last sample: told, else by the patient's zone, else 0. NULL if only a night is known of the day.
    day_length_min double precision NOT NULL,  -- Length of the day in minutes by the offsets seen: 1440, 1380 or 1500 when the clocks change, any on a flight.
    sleep_total_min double precision,  -- Total sleep time of the night in minutes: time in stages other than awake, no moment twice. The night is the longest episode of sleep (stretches less than an hour apart; van Hees 2018) with its middle between noon of the day before and noon, of three hours or with its middle between 21:00 and 9:00, and further episodes with their middle between 21:00 and 9:00. Of an episode told by several origins one is believed. NULL: no night was told.
    sleep_in_bed_min double precision,  -- Time in bed in minutes, as told (in_bed), within three hours of the night's sleep, together with the sleep itself; without a told night what was told from noon to noon. NULL: no time in bed was told.
    sleep_efficiency_pct double precision,  -- 100 x sleep_total_min / sleep_in_bed_min (AASM; Reed and Sacco 2016). NULL without time in bed, or if less than half of the sleep lies within it.
    sleep_latency_min double precision,  -- Minutes from going to bed to falling asleep: sleep onset minus the start of the time in bed around it. NULL if no time in bed was told around the onset.
    sleep_core_min double precision,  -- Minutes in core (light, N1 and N2) sleep, as the device calls it. NULL if the night has no stages.
    sleep_deep_min double precision,  -- Minutes in deep sleep (N3), as the device calls it. NULL if the night has no stages.
    sleep_rem_min double precision,  -- Minutes in REM sleep, as the device calls it. NULL if the night has no stages.
    sleep_unspecified_min double precision,  -- Minutes asleep without a stage. NULL: no night was told.
    sleep_awake_min double precision,  -- Wake after sleep onset in minutes (AASM): time between falling asleep and the last waking that was told as awake or in bed and not as sleep. What was not told is not counted. NULL: no night was told.
    sleep_disturbances integer,  -- How many times sleep was broken by a minute or more that was told as awake or in bed. NULL: no night was told.
    sleep_onset_at timestamp with time zone,  -- When the night's first sleep began. NULL: no night was told.
    sleep_midpoint_at timestamp with time zone,  -- Middle between the first falling asleep and the last waking. NULL: no night was told.
    sleep_end_at timestamp with time zone,  -- When the night's last sleep ended. NULL: no night was told.
    sleep_onset_local_min double precision,  -- sleep_onset_at on the wearer's clock on waking, in minutes from the midnight that begins the day: 23:00 of the evening before is -60. NULL: no night was told.
    sleep_midpoint_local_min double precision,  -- sleep_midpoint_at likewise: 3:30 is 210. NULL: no night was told.
    sleep_agreement double precision,  -- Share (0 to 1) of the 24 hours to noon in which sleep and waking were as at the same local time a day before; naps count as sleep. NULL unless both days have a night.
    sleep_regularity_index double precision,  -- Sleep Regularity Index (Phillips et al. 2017): 200 x the mean of sleep_agreement over the seven days up to this one, minus 100; 100 is the same every day, 0 is chance. NULL below five such days.
    nap_count integer,  -- Episodes of sleep that end on the day and are no part of a night. 0 if a night was told and no nap; NULL if neither.
    nap_min double precision,  -- Minutes asleep in naps. 0 if a night was told and no nap; NULL if neither.
    steps double precision,  -- Steps, no stretch of time counted twice: at every moment one origin is believed, the one that covers most of the day (then the one with finer intervals), the others only where it tells nothing; apportioned over local midnight, so not always whole. NULL: no origin told any interval.
    distance_m double precision,  -- Distance walked, run or cycled in metres; as steps.
    active_energy_kcal double precision,  -- Active energy in kcal; as steps. Devices estimate it, each in its own way.
    exercise_min double precision,  -- Minutes that a device counted as exercise (exercise_time); as steps. Another method than the next two, and not to be pooled with them.
    moderate_vigorous_min double precision,  -- Minutes in moderate or vigorous intensity as told (activity_intensity 2 or 3), one origin at a time. NULL: no intensity was told.
    brisk_min double precision,  -- Minutes in intervals of 100 steps a minute or more, moderate intensity for adults (Tudor-Locke et al. 2018); intervals longer than the walk hide it. NULL: no steps were told.
    stand_min double precision,  -- Minutes that a device counted as standing; as steps.
    daylight_min double precision,  -- Minutes in daylight as told; as steps.
    heart_rate_minutes integer,  -- Minutes with heart rate, each quarter of an hour from the origin that has more minutes on the day. NULL: no heart rate.
    heart_rate_mean_bpm double precision,  -- Mean heart rate, /min, over those minutes (mean of their means: a minute at 1 Hz weighs as much as one with a single sample). NULL: no heart rate.
    heart_rate_min_bpm double precision,  -- Lowest trustworthy sample of heart rate, /min, of the believed origins. NULL: no heart rate.
    heart_rate_max_bpm double precision,  -- Highest trustworthy sample of heart rate, /min, of the believed origins. NULL: no heart rate.
    resting_heart_rate_bpm double precision,  -- Lowest half-hour mean of heart rate on the day, /min: two quarters of an hour in a row, from full quarters of UTC, each with two minutes of data or more; in sleep or awake. Vigil's own definition; not the rate of five minutes lying down. NULL: no such half hour.
    resting_heart_rate_told_bpm double precision,  -- Resting heart rate as a device told it (resting_heart_rate), /min: its last of the day. Its maker's definition; not to be pooled with the column before. NULL: none told.
    hrv_sdnn_ms double precision,  -- Mean of the SDNN values that a device told on the day (hrv_sdnn), ms, from the origin with most of them; short recordings of that device's length (Apple: about a minute). Void in atrial fibrillation or pacing. NULL: none told.
    hrv_rmssd_ms double precision,  -- Mean of the RMSSD values that a device told on the day (hrv_rmssd), ms, from the origin with most of them. Void in atrial fibrillation or pacing. NULL: none told.
    hrv_sdnn_24h_ms double precision,  -- Standard deviation of all trustworthy RR intervals of the day, ms, from the origin with most of them (Task Force 1996). Another measure than hrv_sdnn_ms. Void in atrial fibrillation or pacing. NULL below 18 hours of intervals.
    hrv_rmssd_night_ms double precision,  -- Root mean square of successive differences of RR intervals between sleep_onset_at and sleep_end_at, ms (Task Force 1996), over pairs of beats that follow each other and differ by at most 20 %, from the origin with most of them. Void in atrial fibrillation or pacing. NULL without a night or below 300 pairs.
    wear_min double precision,  -- Wear time in minutes: quarters of an hour in which a trustworthy heart rate, pulse, RR interval or SpO2 came, and told wear (wear_state), without what the same device told as not worn. 0 only if told; NULL if nothing speaks of it.
    samples_expected bigint,  -- Trustworthy samples to be expected, over all series with a cadence of 15 minutes or faster in the catalogue: between each series' first and last quarter of an hour, while worn, at its origin's usual rate of the day (median of its quarters), at most the catalogue's. NULL: no such series.
    samples_received bigint,  -- How many of samples_expected came; what is more than expected in one quarter of an hour makes up for no other. NULL as samples_expected.
    completeness double precision,  -- Expected samples that came, 0 to 1. NULL as samples_expected.
    quality_score double precision,  -- wear_min / day_length_min x completeness: 0 to 1, 1 is a day without a gap. 0 if told as not worn all day; NULL if either is.
    valid_day boolean NOT NULL,  -- Whether the day counts where a half-worn one would mislead: ten hours of wear or more (Troiano et al. 2008; Migueles et al. 2017), and completeness not below 0.5. False where wear is not known.
    made_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was made.
    CONSTRAINT daily_summary_pkey PRIMARY KEY (patient_key, day)
) WITH (fillfactor=80);

-- Whether a measure of daily_summary rises, falls or stays, over a span that ends with each Sunday and with the newest day that is over. Directions only: what is better or worse is for a clinician to say.
CREATE TABLE trends (
    patient_key integer NOT NULL,  -- The wearer.
    measure text NOT NULL,  -- A column of daily_summary. Steps, energy, exercise and computed heart rates count on valid days only.
    span text NOT NULL,  -- week: 7 days; month: 30; quarter: 91.
    until date NOT NULL,  -- Last day of the span.
    direction text NOT NULL,  -- rising or falling: the Mann-Kendall test says so at 95 % confidence; stable: two such tests say at 95 % each that the change over the span is less than one that matters (steps 1000, energy 100 kcal, exercise 10 min, sleep and its midpoint 30 min, efficiency 5 points, disturbances 2, heart rates 3 /min, HRV 5 ms: a convention for wording, no clinical threshold); unclear: neither, or too few days.
    slope_per_day double precision,  -- Theil-Sen slope, in the measure's unit a day. NULL with too few days.
    confidence double precision,  -- Of the direction: 1 minus the p value of its test, the variance corrected for ties and for days that resemble the day before (lag-1 autocorrelation); of unclear the best that any direction reached. NULL with too few days.
    days_used integer NOT NULL,  -- Days with a value. A week needs 5, a month 14, a quarter 30, reaching over more than half of the span.
    CONSTRAINT trends_pkey PRIMARY KEY (patient_key, measure, span, until),
    CONSTRAINT trends_confidence_check CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision))),
    CONSTRAINT trends_direction_check CHECK ((direction = ANY (ARRAY['rising'::text, 'falling'::text, 'stable'::text, 'unclear'::text]))),
    CONSTRAINT trends_span_check CHECK ((span = ANY (ARRAY['week'::text, 'month'::text, 'quarter'::text])))
);

-- Who wore a device from when to when; at one time a device has one wearer.
CREATE TABLE device_bindings (
    binding_id bigint GENERATED ALWAYS AS IDENTITY,
    device_key integer NOT NULL,
    patient_key integer NOT NULL,
    valid_from timestamp with time zone NOT NULL,  -- The first moment of the binding, in the device's event time; valid_to is the first moment after it, NULL while it lasts.
    valid_to timestamp with time zone,
    bound_by text NOT NULL,  -- Opaque id of the person or program that said so.
    bound_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT device_bindings_pkey PRIMARY KEY (binding_id),
    CONSTRAINT device_bindings_one_wearer EXCLUDE USING gist (int4range(device_key, device_key, '[]'::text) WITH &&, tstzrange(valid_from, valid_to) WITH &&),
    CONSTRAINT device_bindings_bound_by_check CHECK ((bound_by <> ''::text)),
    CONSTRAINT device_bindings_end_after_start CHECK ((valid_to > valid_from))
);
CREATE INDEX device_bindings_patient ON public.device_bindings USING btree (patient_key, valid_from);

-- Notes on a stretch of a person's time: anomaly flags, trends, correlations, activity, environment, what the wearer reported.
CREATE TABLE annotations (
    annotation_key text NOT NULL,  -- Chosen by the writer from what was found: whoever finds it again writes the same row.
    patient_key integer NOT NULL,
    metric_key smallint,  -- The metric it speaks of; NULL: the person, not a metric.
    from_time timestamp with time zone NOT NULL,
    to_time timestamp with time zone NOT NULL,
    kind text NOT NULL,  -- session: what its source calls one thing, such as a workout. A correlation says "coincides with", never "is caused by".
    source text NOT NULL,  -- Who found it: a detector, a device, the wearer, an opaque id of a person.
    rule text,
    rule_version integer,
    label text NOT NULL,  -- What is seen, in the words of the rule; never a diagnosis, never a name.
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Of a session: device_id, source_app, the metrics it is about, and confidence, which is 1 where the source states the session.
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    retracted_at timestamp with time zone,  -- Taken back then; readers leave it out, the row stays.
    CONSTRAINT annotations_pkey PRIMARY KEY (annotation_key),
    CONSTRAINT annotations_annotation_key_check CHECK ((annotation_key <> ''::text)),
    CONSTRAINT annotations_check CHECK ((to_time >= from_time)),
    CONSTRAINT annotations_check1 CHECK (((rule IS NULL) = (rule_version IS NULL))),
    CONSTRAINT annotations_detail_check CHECK ((jsonb_typeof(detail) = 'object'::text)),
    CONSTRAINT annotations_kind_check CHECK ((kind = ANY (ARRAY['anomaly'::text, 'trend'::text, 'correlation'::text, 'activity'::text, 'environment'::text, 'report'::text, 'session'::text])))
);
CREATE INDEX annotations_patient ON public.annotations USING btree (patient_key, from_time, to_time) WHERE (retracted_at IS NULL);

-- A person's own limits, by version: one holds at a time, and what held then can be read for ever.
CREATE TABLE care_profiles (
    patient_key integer NOT NULL,
    version integer NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone,
    limits jsonb NOT NULL,  -- Waking and sleeping, by metric code: {"spo2": {"low": 88}}; units are the catalogue's.
    created_by text NOT NULL,  -- Opaque id of the clinician who set them.
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    reason text NOT NULL,
    profile jsonb NOT NULL DEFAULT '{}'::jsonb,  -- What else a clinician says of the person, as vitals/care_profile.py reads it: {"pacemaker": true, "sleeping_limits": {"heart_rate": {"low": 36}}}. What is not there is not known.
    ended_by text,  -- Opaque id of who ended it, or set the version after it.
    end_reason text,  -- Why it ended: the number of the matter, never a name.
    CONSTRAINT care_profiles_pkey PRIMARY KEY (patient_key, version),
    CONSTRAINT care_profiles_one_at_a_time EXCLUDE USING gist (int4range(patient_key, patient_key, '[]'::text) WITH &&, tstzrange(valid_from, valid_to) WITH &&),
    CONSTRAINT care_profiles_check CHECK ((num_nulls(ended_by, end_reason) = ANY (ARRAY[0, 2]))),
    CONSTRAINT care_profiles_check1 CHECK (((ended_by IS NULL) OR (valid_to IS NOT NULL))),
    CONSTRAINT care_profiles_created_by_check CHECK ((created_by <> ''::text)),
    CONSTRAINT care_profiles_end_after_start CHECK ((valid_to > valid_from)),
    CONSTRAINT care_profiles_end_reason_check CHECK ((end_reason <> ''::text)),
    CONSTRAINT care_profiles_ended_by_check CHECK ((ended_by <> ''::text)),
    CONSTRAINT care_profiles_limits_check CHECK ((jsonb_typeof(limits) = 'object'::text)),
    CONSTRAINT care_profiles_profile_check CHECK ((jsonb_typeof(profile) = 'object'::text)),
    CONSTRAINT care_profiles_reason_check CHECK ((reason <> ''::text)),
    CONSTRAINT care_profiles_version_check CHECK ((version > 0))
);

-- The raw samples around an alert as they stood when it was new: they outlive the raw tier, by a policy of their own.
CREATE TABLE alert_evidence (
    alert_id text NOT NULL,
    patient_key integer NOT NULL,
    from_time timestamp with time zone NOT NULL,  -- 15 minutes before the alert was opened; to_time is 5 minutes after it was raised.
    to_time timestamp with time zone NOT NULL,
    taken_at timestamp with time zone NOT NULL DEFAULT now(),
    snapshot jsonb NOT NULL,  -- {"series": [{"metric", "unit", "device_id", "source_app", "samples", "offset_us": [...], "duration_ms": [...], "value": [...], "quality": [...], "context": [...]}]}: offsets from from_time; "samples" is how many there were, the arrays hold those nearest to the alert.
    CONSTRAINT alert_evidence_pkey PRIMARY KEY (alert_id)
);
CREATE INDEX alert_evidence_taken ON public.alert_evidence USING btree (taken_at);

-- While a hold stands nothing of its patient is dropped or erased, whatever a policy says. Several may stand at once; each is lifted by itself. Rows are never deleted.
CREATE TABLE legal_holds (
    hold_id bigint GENERATED ALWAYS AS IDENTITY,
    patient_key integer NOT NULL,
    reason text NOT NULL,  -- The number of the matter; never a name.
    placed_by text NOT NULL,  -- Opaque id of the person who placed it; lifted_by of who lifted it.
    placed_at timestamp with time zone NOT NULL DEFAULT now(),
    lifted_by text,
    lifted_at timestamp with time zone,
    lift_reason text,
    CONSTRAINT legal_holds_pkey PRIMARY KEY (hold_id),
    CONSTRAINT legal_holds_check CHECK ((lifted_at >= placed_at)),
    CONSTRAINT legal_holds_check1 CHECK ((num_nulls(lifted_by, lifted_at, lift_reason) = ANY (ARRAY[0, 3]))),
    CONSTRAINT legal_holds_lift_reason_check CHECK ((lift_reason <> ''::text)),
    CONSTRAINT legal_holds_lifted_by_check CHECK ((lifted_by <> ''::text)),
    CONSTRAINT legal_holds_placed_by_check CHECK ((placed_by <> ''::text)),
    CONSTRAINT legal_holds_reason_check CHECK ((reason <> ''::text))
);
CREATE INDEX legal_holds_standing ON public.legal_holds USING btree (patient_key) WHERE (lifted_at IS NULL);

-- After what age the data of a class leave a tier. No row, or NULL: never. Ages count from the beginning of the UTC day.
CREATE TABLE lifecycle_policies (
    retention_class text NOT NULL,  -- A class of the metric catalogue, or waveform, quarantine, audit (alerts, reviews, notifications, attempts, revisions), evidence, sample_ids or deletions.
    tier text NOT NULL,  -- raw: rows as they came; archive: Parquet files; minute, quarter, hour, day: rollups.
    columnstore_after interval,  -- TimescaleDB only. A chunk of samples holds all classes and follows the longest.
    archive_after interval,
    drop_after interval,  -- Raw samples are dropped no sooner than they are archived, verified and rolled up, however late that is.
    CONSTRAINT lifecycle_policies_pkey PRIMARY KEY (retention_class, tier),
    CONSTRAINT lifecycle_policies_archive_after_check CHECK (((archive_after >= '1 day'::interval) AND isfinite(archive_after))),
    CONSTRAINT lifecycle_policies_archive_before_drop CHECK ((('2001-01-01 00:00:00'::timestamp without time zone + archive_after) < ('2001-01-01 00:00:00'::timestamp without time zone + drop_after))),
    CONSTRAINT lifecycle_policies_columnstore_after_check CHECK (((columnstore_after >= '00:00:00'::interval) AND isfinite(columnstore_after))),
    CONSTRAINT lifecycle_policies_drop_after_check CHECK (((drop_after >= '1 day'::interval) AND isfinite(drop_after))),
    CONSTRAINT lifecycle_policies_raw_only CHECK (((tier = 'raw'::text) OR (num_nonnulls(columnstore_after, archive_after) = 0))),
    CONSTRAINT lifecycle_policies_tier_check CHECK ((tier = ANY (ARRAY['raw'::text, 'archive'::text, 'minute'::text, 'quarter'::text, 'hour'::text, 'day'::text])))
);

-- How far the life of a class's samples of one UTC day has come; Vigil's command line writes it, the database's own job reads it.
CREATE TABLE raw_days (
    retention_class text NOT NULL,
    utc_day date NOT NULL,
    state text NOT NULL,  -- archived: in verified files, when it was looked at; moved: and their rollups are history; dropped: and gone from samples, but for those of held_patients. late: samples came after that, and are not yet in the archive and in the history; then it is moved again.
    held_patients integer[] NOT NULL DEFAULT '{}'::integer[],  -- Who was on hold when the rows of the others were dropped: theirs go after the hold was lifted.
    changed_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT raw_days_pkey PRIMARY KEY (retention_class, utc_day),
    CONSTRAINT raw_days_state_check CHECK ((state = ANY (ARRAY['archived'::text, 'late'::text, 'moved'::text, 'dropped'::text])))
);

-- Hours below a raw horizon in which samples came, changed or went: their archive and their history are brought up to date by `vigil db lifecycle --run`.
CREATE TABLE late_hours (
    patient_key integer NOT NULL,
    hour timestamp with time zone NOT NULL,
    noted_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT late_hours_pkey PRIMARY KEY (patient_key, hour)
);

-- One Parquet file of samples: a class, a UTC day, a part. It is here only after it was read back and compared with what was written.
CREATE TABLE archive_files (
    file_id bigint GENERATED ALWAYS AS IDENTITY,
    retention_class text NOT NULL,
    utc_day date NOT NULL,
    part integer NOT NULL,  -- 0, 1, ... in one go where a day is large; later parts hold what came late, corrections and deletions too: the greatest (written, content) wins.
    uri text,  -- Path below VIGIL_ARCHIVE_URI; NULL: all that was in it was erased.
    rows bigint NOT NULL,  -- Rows in the file now, without those that were erased; so are size_bytes, min_time, max_time and sha256 those of the file as it is.
    size_bytes bigint NOT NULL,
    min_time timestamp with time zone,
    max_time timestamp with time zone,
    sha256 bytea,
    leaf_root bytea NOT NULL,  -- SHA-256 over rows and hash of every leaf, erased ones too: what the chain holds.
    link bigint NOT NULL,  -- Its place in the chain, which files and events share.
    previous bytea NOT NULL,
    chain bytea NOT NULL,  -- SHA-256 of previous and of this link's record.
    verified_at timestamp with time zone NOT NULL,  -- When the whole file was last read and agreed with this row.
    created_at timestamp with time zone NOT NULL,
    manifest_written boolean NOT NULL DEFAULT false,  -- False: the JSON copy is still to be written; the next run does so.
    replaces text,  -- The file of before an erasure, still to be removed; the next run does so.
    CONSTRAINT archive_files_pkey PRIMARY KEY (file_id),
    CONSTRAINT archive_files_link_key UNIQUE (link),
    CONSTRAINT archive_files_retention_class_utc_day_part_key UNIQUE (retention_class, utc_day, part),
    CONSTRAINT archive_files_uri_key UNIQUE (uri),
    CONSTRAINT archive_files_chain_check CHECK ((length(chain) = 32)),
    CONSTRAINT archive_files_check CHECK (((num_nulls(uri, min_time, max_time, sha256) = ANY (ARRAY[0, 4])) AND ((uri IS NULL) = (rows = 0)))),
    CONSTRAINT archive_files_leaf_root_check CHECK ((length(leaf_root) = 32)),
    CONSTRAINT archive_files_part_check CHECK ((part >= 0)),
    CONSTRAINT archive_files_previous_check CHECK ((length(previous) = 32))
);

-- What a file holds, or held, of one patient: how many rows, and their salted hash.
CREATE TABLE archive_leaves (
    file_id bigint NOT NULL,
    patient_key integer NOT NULL,
    "position" integer NOT NULL,  -- Its place in the file, which is sorted by patient id.
    rows bigint NOT NULL,
    sha256 bytea NOT NULL,
    salt bytea,  -- Destroyed by the erasure: without it the hash can be held against no guess.
    erased_at timestamp with time zone,
    CONSTRAINT archive_leaves_pkey PRIMARY KEY (file_id, patient_key),
    CONSTRAINT archive_leaves_check CHECK (((salt IS NULL) = (erased_at IS NOT NULL))),
    CONSTRAINT archive_leaves_salt_check CHECK ((length(salt) = 16)),
    CONSTRAINT archive_leaves_sha256_check CHECK ((length(sha256) = 32))
);
CREATE INDEX archive_leaves_by_patient ON public.archive_leaves USING btree (patient_key, file_id);

-- Leaves of a file whose rows left the archive: whose place, who did it, why, when. A link of the chain each.
CREATE TABLE archive_events (
    link bigint NOT NULL,
    kind text NOT NULL,
    file_id bigint NOT NULL,
    positions integer[] NOT NULL,
    who text NOT NULL,
    why text NOT NULL,  -- The number of the matter, never a name.
    at timestamp with time zone NOT NULL,
    previous bytea NOT NULL,
    chain bytea NOT NULL,
    CONSTRAINT archive_events_pkey PRIMARY KEY (link),
    CONSTRAINT archive_events_chain_check CHECK ((length(chain) = 32)),
    CONSTRAINT archive_events_kind_check CHECK ((kind = ANY (ARRAY['erased'::text, 'expired'::text]))),
    CONSTRAINT archive_events_previous_check CHECK ((length(previous) = 32)),
    CONSTRAINT archive_events_who_check CHECK ((who <> ''::text)),
    CONSTRAINT archive_events_why_check CHECK ((why <> ''::text))
);
CREATE INDEX archive_events_by_file ON public.archive_events USING btree (file_id);

-- The newest link of the archive's chain: a link that was cut off at the end shows here. Note it elsewhere from time to time.
CREATE TABLE archive_head (
    only_one boolean NOT NULL DEFAULT true,
    link bigint NOT NULL,
    chain bytea NOT NULL,
    CONSTRAINT archive_head_pkey PRIMARY KEY (only_one),
    CONSTRAINT archive_head_chain_check CHECK ((length(chain) = 32)),
    CONSTRAINT archive_head_only_one_check CHECK (only_one)
);

-- What samples held of a class, UTC day and patient in the snapshot that was archived last. Where they hold the same now, every row of theirs is in the archive.
CREATE TABLE archive_coverage (
    retention_class text NOT NULL,
    utc_day date NOT NULL,
    patient_key integer NOT NULL,
    rows bigint NOT NULL,
    checksum numeric NOT NULL,
    CONSTRAINT archive_coverage_pkey PRIMARY KEY (retention_class, utc_day, patient_key)
);

-- What was brought back from the archive into restored_samples: whose (NULL: everybody's), of which time, by whom.
CREATE TABLE restores (
    restore_id bigint GENERATED ALWAYS AS IDENTITY,
    patient_key integer,
    from_time timestamp with time zone NOT NULL,
    to_time timestamp with time zone NOT NULL,
    last_file bigint NOT NULL,  -- Files that were archived after the restore began are not in it.
    requested_by text NOT NULL,
    requested_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,
    discarded_at timestamp with time zone,  -- Its rows were deleted from restored_samples again.
    rows bigint NOT NULL DEFAULT 0,
    CONSTRAINT restores_pkey PRIMARY KEY (restore_id),
    CONSTRAINT restores_check CHECK ((to_time > from_time)),
    CONSTRAINT restores_requested_by_check CHECK ((requested_by <> ''::text))
);

-- What of a restore is done; written with its rows, so that an interrupted restore goes on and brings nothing twice.
CREATE TABLE restore_steps (
    restore_id bigint NOT NULL,
    retention_class text NOT NULL,
    utc_day date NOT NULL,
    patient_key integer NOT NULL,
    rows bigint NOT NULL,
    CONSTRAINT restore_steps_pkey PRIMARY KEY (restore_id, retention_class, utc_day, patient_key)
);

-- Samples that were brought back from the archive, tombstones too: the standing version of each identity, once a restore.
CREATE TABLE restored_samples (
    "time" timestamp with time zone NOT NULL,  -- When the device measured; the beginning of the interval for metrics that cover one.
    written_at timestamp with time zone NOT NULL,  -- When the phone or bridge wrote it down. The greatest (written, received, content) wins.
    received_at timestamp with time zone NOT NULL,  -- When Vigil received it; received_at - time is the lateness.
    value double precision NOT NULL,
    patient_key integer NOT NULL,
    origin_key integer NOT NULL,
    duration_ms integer NOT NULL,
    quality real NOT NULL,
    metric_key smallint NOT NULL,
    flags smallint NOT NULL,  -- Doubts of validation as bits; bit 7 (128) marks a tombstone: the source deleted this sample.
    context smallint NOT NULL,  -- Circumstances as bits: motion, user entered, asleep, workout, no contact.
    zone_offset_min smallint NOT NULL,  -- The wearer's offset from UTC in minutes; -32768 where the source does not tell.
    restore_id bigint NOT NULL
);
CREATE UNIQUE INDEX restored_samples_identity ON public.restored_samples USING btree (patient_key, metric_key, origin_key, "time", duration_ms, restore_id);

-- What each database role may see through the views in schema data; a reader has the scopes of every role that it is a member of.
CREATE TABLE reader_scopes (
    scope_id bigint GENERATED ALWAYS AS IDENTITY,
    role_name text NOT NULL,
    patient_id text,  -- One patient; NULL: all of them.
    retention_class text,  -- One class of the catalogue, or alert (alerts and annotations); NULL: everything.
    granted_by text NOT NULL,
    granted_at timestamp with time zone NOT NULL DEFAULT now(),
    purpose text NOT NULL DEFAULT 'care'::text,  -- care: all that is stored. research: only what the patient's standing consent to research covers.
    CONSTRAINT reader_scopes_pkey PRIMARY KEY (scope_id),
    CONSTRAINT reader_scopes_once UNIQUE NULLS NOT DISTINCT (role_name, patient_id, retention_class, purpose),
    CONSTRAINT reader_scopes_granted_by_check CHECK ((granted_by <> ''::text)),
    CONSTRAINT reader_scopes_purpose_check CHECK ((purpose = ANY (ARRAY['care'::text, 'research'::text]))),
    CONSTRAINT reader_scopes_retention_class_check CHECK ((retention_class = ANY (ARRAY['vital'::text, 'activity'::text, 'sleep'::text, 'reported'::text, 'technical'::text, 'waveform'::text, 'alert'::text])))
);

-- A device that somebody registered: what it is, what it may tell and how it is read.
CREATE TABLE device_registry (
    device_key integer NOT NULL,  -- The device.
    state text NOT NULL DEFAULT 'active'::text,  -- active; suspended: its samples are quarantined for now; retired: for good.
    device_type text NOT NULL,  -- A word: chest_strap, watch, oximeter, thermometer, cgm, phone.
    manufacturer text,  -- Its maker. Never a name that a person gave it.
    model text,  -- Its model.
    firmware text,  -- The firmware that it is known to run.
    intended_use text NOT NULL DEFAULT 'wellness'::text,  -- What its maker says it is for. Alerts from a wellness device never have high priority.
    permitted_metrics smallint[],  -- Metric keys that it may tell; NULL: all.
    connection jsonb NOT NULL DEFAULT '{}'::jsonb,  -- How to reach it, for a bridge: {"transport": "ble", "service": "180D"}. No secret.
    streams jsonb NOT NULL DEFAULT '{}'::jsonb,  -- By metric code: {"heart_rate": {"cadence_s": 1, "expected_within_s": 900}}.
    accuracy jsonb NOT NULL DEFAULT '{}'::jsonb,  -- By metric code, as its maker states it: {"heart_rate": {"plus_minus": 1, "unit": "/min"}}.
    registered_at timestamp with time zone NOT NULL DEFAULT now(),  -- When it was registered.
    changed_at timestamp with time zone NOT NULL DEFAULT now(),  -- When this row last changed.
    CONSTRAINT device_registry_pkey PRIMARY KEY (device_key),
    CONSTRAINT device_registry_accuracy_check CHECK ((jsonb_typeof(accuracy) = 'object'::text)),
    CONSTRAINT device_registry_connection_check CHECK ((jsonb_typeof(connection) = 'object'::text)),
    CONSTRAINT device_registry_device_type_check CHECK ((device_type <> ''::text)),
    CONSTRAINT device_registry_intended_use_check CHECK ((intended_use = ANY (ARRAY['medical'::text, 'wellness'::text]))),
    CONSTRAINT device_registry_permitted_metrics_check CHECK ((cardinality(permitted_metrics) > 0)),
    CONSTRAINT device_registry_state_check CHECK ((state = ANY (ARRAY['active'::text, 'suspended'::text, 'retired'::text]))),
    CONSTRAINT device_registry_streams_check CHECK ((jsonb_typeof(streams) = 'object'::text))
);

-- What was done to a device: by whom, when, why. Rows are never deleted.
CREATE TABLE device_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY,
    device_key integer NOT NULL,  -- The device.
    at timestamp with time zone NOT NULL DEFAULT now(),
    what text NOT NULL,
    who text NOT NULL,  -- Opaque id of the person or program that did it.
    why text,  -- The number of the matter, never a name.
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,  -- What changed: firmware, permitted metrics, the patient bound.
    CONSTRAINT device_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT device_events_detail_check CHECK ((jsonb_typeof(detail) = 'object'::text)),
    CONSTRAINT device_events_what_check CHECK ((what = ANY (ARRAY['registered'::text, 'changed'::text, 'bound'::text, 'released'::text, 'suspended'::text, 'resumed'::text, 'retired'::text]))),
    CONSTRAINT device_events_who_check CHECK ((who <> ''::text))
);
CREATE INDEX device_events_by_device ON public.device_events USING btree (device_key, at);

-- Counts the changes of what decides who may tell what: recorders look at it every two seconds and read the rest when it moved.
CREATE TABLE gate_version (
    only_one boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT gate_version_pkey PRIMARY KEY (only_one),
    CONSTRAINT gate_version_only_one_check CHECK (only_one)
);

-- Whose data were erased, by whom, when and why. Rows are never deleted; patients keeps the opaque id, and nothing else of the person.
CREATE TABLE erasures (
    erasure_id bigint GENERATED ALWAYS AS IDENTITY,
    patient_key integer NOT NULL,
    who text NOT NULL,
    why text NOT NULL,  -- The number of the matter, never a name.
    begun_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,  -- NULL: it was broken off; the same command goes on.
    rows jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Rows that went, by table; of the archive its samples.
    classes text[],  -- Only data of these classes, after a withdrawal; NULL: the whole person.
    CONSTRAINT erasures_pkey PRIMARY KEY (erasure_id),
    CONSTRAINT erasures_classes_check CHECK ((cardinality(classes) > 0)),
    CONSTRAINT erasures_rows_check CHECK ((jsonb_typeof(rows) = 'object'::text)),
    CONSTRAINT erasures_who_check CHECK ((who <> ''::text)),
    CONSTRAINT erasures_why_check CHECK ((why <> ''::text))
);
CREATE INDEX erasures_by_patient ON public.erasures USING btree (patient_key);

-- Credentials of the gateway: whom each speaks for. The secret itself is nowhere, and no row is ever deleted.
CREATE TABLE access_tokens (
    token_id text NOT NULL,  -- Opaque, and no secret: it stands in logs and lists.
    lineage text NOT NULL,  -- The token that this one came from by rotations; of the first, itself. Anchors and jobs belong to it.
    rotated_from text,  -- The token that this one replaces; that one ends when this one is first used.
    kind text NOT NULL,  -- device: one device on one patient; bridge: a phone or a ward's bridge; platform: signs in by OpenID Connect.
    patient_key integer,  -- All it sends is about this patient; NULL: about whoever wore the device.
    device_keys integer[],  -- The only devices that it may name; NULL: any that is not bound to somebody else.
    secret_sha256 bytea,  -- SHA-256 of the secret; NULL of a platform, which has none here.
    issuer text,  -- Of a platform: the address of its OpenID Connect issuer.
    subject text,  -- Of a platform: whom the issuer's tokens name. Of a program, never a person's name.
    certificate_sha256 text,  -- With it the token counts only over a connection that shows this client certificate (SHA-256 of its DER, hex).
    note text,  -- An opaque word, such as an inventory number; never a name.
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    created_by text NOT NULL,  -- Opaque id of who made it; `gateway` where its holder rotated.
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,  -- From then on it opens nothing; ahead of now in a rotation's overlap. Never taken back or put off.
    revoked_by text,  -- Opaque id of who revoked it; NULL where a rotation ended it.
    last_used_at timestamp with time zone,  -- When it last opened the door; seconds old.
    version bigint NOT NULL DEFAULT 0,  -- What access_version counted when this row last changed what it opens: gateways read what is newer than they know.
    CONSTRAINT access_tokens_pkey PRIMARY KEY (token_id),
    CONSTRAINT access_tokens_certificate_sha256_check CHECK ((certificate_sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT access_tokens_created_by_check CHECK ((created_by <> ''::text)),
    CONSTRAINT access_tokens_devices CHECK (((cardinality(device_keys) >= 1) AND (cardinality(device_keys) <= 1000))),
    CONSTRAINT access_tokens_first CHECK (((rotated_from IS NULL) = (lineage = token_id))),
    CONSTRAINT access_tokens_issuer_check CHECK ((issuer <> ''::text)),
    CONSTRAINT access_tokens_kind_check CHECK ((kind = ANY (ARRAY['device'::text, 'bridge'::text, 'platform'::text]))),
    CONSTRAINT access_tokens_lifetime CHECK (((expires_at > created_at) AND (expires_at <= (created_at + '731 days'::interval)))),
    CONSTRAINT access_tokens_one_device CHECK (((kind <> 'device'::text) OR ((patient_key IS NOT NULL) AND (cardinality(device_keys) = 1)))),
    CONSTRAINT access_tokens_proof CHECK ((((kind = 'platform'::text) = (subject IS NOT NULL)) AND ((issuer IS NULL) = (subject IS NULL)) AND ((secret_sha256 IS NULL) = (subject IS NOT NULL)))),
    CONSTRAINT access_tokens_revoked_by_check CHECK ((revoked_by <> ''::text)),
    CONSTRAINT access_tokens_scope CHECK (((patient_key IS NOT NULL) OR (device_keys IS NOT NULL))),
    CONSTRAINT access_tokens_secret_sha256_check CHECK ((length(secret_sha256) = 32)),
    CONSTRAINT access_tokens_subject_check CHECK ((subject <> ''::text)),
    CONSTRAINT access_tokens_token_id_check CHECK ((token_id ~ '^[a-z2-7]{16}$'::text))
);
CREATE INDEX access_tokens_by_lineage ON public.access_tokens USING btree (lineage);
CREATE INDEX access_tokens_by_patient ON public.access_tokens USING btree (patient_key);
CREATE INDEX access_tokens_by_version ON public.access_tokens USING btree (version);
CREATE UNIQUE INDEX access_tokens_by_subject ON public.access_tokens USING btree (issuer, subject) WHERE (revoked_at IS NULL);

-- What was done to a token: by whom, when, why. Rows are never deleted.
CREATE TABLE access_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY,
    token_id text NOT NULL,  -- The token.
    at timestamp with time zone NOT NULL DEFAULT now(),
    what text NOT NULL,  -- rotated: it was given a successor; revoked: it opens nothing any more; used_first: it opened the door for the first time.
    who text NOT NULL,  -- Opaque id of the person or program that did it; `gateway` where its holder did.
    why text,  -- The number of the matter, never a name.
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,  -- What goes with it: the successor, when the old one ends, the token that it replaces.
    CONSTRAINT access_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT access_events_detail_check CHECK ((jsonb_typeof(detail) = 'object'::text)),
    CONSTRAINT access_events_what_check CHECK ((what = ANY (ARRAY['created'::text, 'rotated'::text, 'revoked'::text, 'used_first'::text]))),
    CONSTRAINT access_events_who_check CHECK ((who <> ''::text))
);
CREATE INDEX access_events_by_token ON public.access_events USING btree (token_id, at);

-- Counts the changes of who may send: gateways look at it every second, and read what changed. Whoever changes tokens holds its row until the commit, so that versions become visible in their order.
CREATE TABLE access_version (
    only_one boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT access_version_pkey PRIMARY KEY (only_one),
    CONSTRAINT access_version_only_one_check CHECK (only_one)
);

-- How far a HealthKit client has come, by type: what it asks its phone for next. An older one makes it send again, which stores nothing twice.
CREATE TABLE sync_anchors (
    lineage text NOT NULL,  -- The first token of the client; it keeps its anchors through rotations.
    type text NOT NULL,  -- The type as the client calls it.
    anchor text NOT NULL,  -- Opaque, as the client told it; all before it is safe.
    at timestamp with time zone NOT NULL,  -- When it was told.
    CONSTRAINT sync_anchors_pkey PRIMARY KEY (lineage, type),
    CONSTRAINT sync_anchors_anchor_check CHECK ((length(anchor) <= 4096)),
    CONSTRAINT sync_anchors_type_check CHECK (((length(type) >= 1) AND (length(type) <= 200)))
);

-- One consent: of a patient, to one category of data, for one purpose. Several may overlap. A row is never deleted and never rewritten: a withdrawal fills its last four columns, once.
CREATE TABLE consents (
    consent_id bigint GENERATED ALWAYS AS IDENTITY,
    patient_key integer NOT NULL,
    category text NOT NULL,  -- A retention class of the catalogue.
    purpose text NOT NULL,  -- care: Vigil may store and watch. research: readers with that purpose may see it.
    valid_from timestamp with time zone NOT NULL,  -- The first moment of event time that it covers; valid_until is the first after it, NULL: no end. Once that has passed, samples measured before may still come.
    valid_until timestamp with time zone,
    on_withdrawal text NOT NULL,  -- What was agreed to become of stored data on withdrawal: keep or erase. Of research always keep: it only ends who may see.
    document text NOT NULL,  -- Number of the document that it is written in; never a name.
    recorded_by text NOT NULL,  -- Opaque id of who noted it; withdrawn_by of who noted the withdrawal.
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    withdrawn_at timestamp with time zone,  -- From then on it covers nothing, whenever it was measured.
    withdrawn_by text,
    withdrawn_for text,  -- Number of the document of the withdrawal.
    withdrawn_stored text,  -- What becomes of stored data: keep, or erase (the row in erasures says how far that is).
    CONSTRAINT consents_pkey PRIMARY KEY (consent_id),
    CONSTRAINT consents_category_check CHECK ((category = ANY (ARRAY['vital'::text, 'activity'::text, 'sleep'::text, 'reported'::text, 'technical'::text, 'waveform'::text]))),
    CONSTRAINT consents_check CHECK ((num_nulls(withdrawn_at, withdrawn_by, withdrawn_for, withdrawn_stored) = ANY (ARRAY[0, 4]))),
    CONSTRAINT consents_check1 CHECK (((purpose = 'care'::text) OR (('erase'::text <> on_withdrawal) AND ('erase'::text <> COALESCE(withdrawn_stored, 'keep'::text))))),
    CONSTRAINT consents_document_check CHECK ((document <> ''::text)),
    CONSTRAINT consents_end_after_start CHECK ((valid_until > valid_from)),
    CONSTRAINT consents_on_withdrawal_check CHECK ((on_withdrawal = ANY (ARRAY['keep'::text, 'erase'::text]))),
    CONSTRAINT consents_purpose_check CHECK ((purpose = ANY (ARRAY['care'::text, 'research'::text]))),
    CONSTRAINT consents_recorded_by_check CHECK ((recorded_by <> ''::text)),
    CONSTRAINT consents_valid_from_check CHECK (isfinite(valid_from)),
    CONSTRAINT consents_valid_until_check CHECK (isfinite(valid_until)),
    CONSTRAINT consents_withdrawn_by_check CHECK ((withdrawn_by <> ''::text)),
    CONSTRAINT consents_withdrawn_for_check CHECK ((withdrawn_for <> ''::text)),
    CONSTRAINT consents_withdrawn_stored_check CHECK ((withdrawn_stored = ANY (ARRAY['keep'::text, 'erase'::text])))
);
CREATE INDEX consents_by_patient ON public.consents USING btree (patient_key, category);
CREATE INDEX consents_to_research ON public.consents USING btree (patient_key, category) WHERE ((purpose = 'research'::text) AND (withdrawn_at IS NULL));

-- What was said of consent and done about it, by whom, when, by which document. Rows are only ever added.
CREATE TABLE consent_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY,
    patient_key integer NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    what text NOT NULL,  -- refused: a patient of whom no consent was noted said no. erased: stored data went, as the withdrawal said.
    purpose text NOT NULL,
    categories text[] NOT NULL,
    who text NOT NULL,  -- Opaque id of the person or program that noted it.
    document text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,  -- from, until and on_withdrawal of a grant; what becomes of stored data; rows erased by table.
    CONSTRAINT consent_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT consent_events_categories_check CHECK ((cardinality(categories) > 0)),
    CONSTRAINT consent_events_detail_check CHECK ((jsonb_typeof(detail) = 'object'::text)),
    CONSTRAINT consent_events_document_check CHECK ((document <> ''::text)),
    CONSTRAINT consent_events_purpose_check CHECK ((purpose = ANY (ARRAY['care'::text, 'research'::text]))),
    CONSTRAINT consent_events_what_check CHECK ((what = ANY (ARRAY['granted'::text, 'refused'::text, 'withdrawn'::text, 'erased'::text]))),
    CONSTRAINT consent_events_who_check CHECK ((who <> ''::text))
);
CREATE INDEX consent_events_by_patient ON public.consent_events USING btree (patient_key, event_id);

-- Samples that no consent covers, counted by day, adapter and metric, never by patient: nothing else of them is kept. A chunk of a waveform counts as one.
CREATE TABLE not_consented (
    day date NOT NULL,
    adapter text NOT NULL,
    metric_key smallint NOT NULL,  -- 0: a metric that the catalogue lacks.
    samples bigint NOT NULL,
    CONSTRAINT not_consented_pkey PRIMARY KEY (day, adapter, metric_key)
);

-- Under which id a sender told a sample. One id may name several samples (a series, both values of a blood pressure), and one sample may have been told under several ids. Only samples that came with an id have a row, written in the transaction that stores them.
CREATE TABLE sample_ids (
    "time" timestamp with time zone NOT NULL,
    written_at timestamp with time zone NOT NULL,  -- The newest version that was told under this id; a deletion of the id takes that version away, and none that is newer.
    sample_id uuid NOT NULL,  -- Chosen by the sender: unique to it, so it names nothing of another patient.
    patient_key integer NOT NULL,
    origin_key integer NOT NULL,
    duration_ms integer NOT NULL,
    metric_key smallint NOT NULL,
    CONSTRAINT sample_ids_pkey PRIMARY KEY (patient_key, sample_id, "time", metric_key, origin_key, duration_ms)
);
CREATE INDEX sample_ids_time ON public.sample_ids USING brin ("time") WITH (autosummarize='on');

-- Sample ids that were told to be no more, the newest telling of each: looked for in sample_ids until every sample that they name is deleted, or given up.
CREATE TABLE deletions_told (
    patient_key integer NOT NULL,
    sample_id uuid NOT NULL,
    told_at timestamp with time zone NOT NULL,  -- When the sender told of it, by its own clock.
    received_at timestamp with time zone NOT NULL,
    look_at timestamp with time zone NOT NULL DEFAULT now(),  -- When it is looked for next. Storing a sample under this id sets it to now.
    settled_at timestamp with time zone,
    looks smallint NOT NULL DEFAULT 0,  -- How often it was looked for since it was told, or since its sample came: pauses grow with it.
    outcome text,  -- done: no sample under this id stands. unknown: none ever came. refused: samples stand: they were written later than this was told, or their tombstones were not stored.
    device_id text NOT NULL,  -- Which device told of it, through which source_app and adapter: the sample may have come by another of its patient.
    source_app text NOT NULL,
    adapter text NOT NULL,
    CONSTRAINT deletions_told_pkey PRIMARY KEY (patient_key, sample_id),
    CONSTRAINT deletions_told_check CHECK (((outcome IS NULL) = (settled_at IS NULL))),
    CONSTRAINT deletions_told_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'unknown'::text, 'refused'::text])))
) WITH (fillfactor=70);
CREATE INDEX deletions_told_open ON public.deletions_told USING btree (look_at) WHERE (settled_at IS NULL);
CREATE INDEX deletions_told_received ON public.deletions_told USING brin (received_at);

-- Every policy that was put in force, as it was written: by whom, when and why. The newest is in force. Rows are never changed or deleted.
CREATE TABLE policy_versions (
    policy_id bigint GENERATED ALWAYS AS IDENTITY,
    version integer NOT NULL,  -- As the file says; each is higher than the one before.
    label text NOT NULL,
    sha256 text NOT NULL,  -- Of the body; its first digits stand in every alert that was judged by it.
    body text NOT NULL,  -- The TOML text.
    applied_by text NOT NULL,  -- Opaque id of who put it in force.
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    reason text NOT NULL,  -- The number of the matter, never a name.
    changes jsonb NOT NULL DEFAULT '[]'::jsonb,  -- What differs from the version before: [{"field", "before", "after"}].
    CONSTRAINT policy_versions_pkey PRIMARY KEY (policy_id),
    CONSTRAINT policy_versions_version_key UNIQUE (version),
    CONSTRAINT policy_versions_applied_by_check CHECK ((applied_by <> ''::text)),
    CONSTRAINT policy_versions_body_check CHECK ((octet_length(body) <= 1048576)),
    CONSTRAINT policy_versions_changes_check CHECK ((jsonb_typeof(changes) = 'array'::text)),
    CONSTRAINT policy_versions_label_check CHECK (((label <> ''::text) AND (length(label) <= 40))),
    CONSTRAINT policy_versions_reason_check CHECK ((reason <> ''::text)),
    CONSTRAINT policy_versions_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT policy_versions_version_check CHECK ((version > 0))
);

-- Counts the changes of what the watch goes by: it looks at it every two seconds and reads the rest when it moved.
CREATE TABLE people_version (
    only_one boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT people_version_pkey PRIMARY KEY (only_one),
    CONSTRAINT people_version_only_one_check CHECK (only_one)
);

-- A change of sleep or activity against the person's own usual days, for the review list of the clinician whom the care profile names (review_by); of nobody else it is looked for. It goes nowhere by itself. Informs; it does not diagnose.
CREATE TABLE reviews (
    review_id text NOT NULL,  -- Hash of patient, rule, metric and when it opened as it was first told: whoever looks at the same days again finds its row.
    patient_key integer NOT NULL,  -- Whose days changed.
    rule text NOT NULL,  -- What was looked for: activity_changed, sleep_timing_changed, sleep_length_changed, sleep_broken, less_activity_and_later_sleep. One of a rule is open at a time.
    rule_version integer NOT NULL,  -- Version of the rule that told it last.
    metric text NOT NULL,  -- The metric that it is filed under.
    metrics text[] NOT NULL,  -- All metrics that it is made of: if a class of any of them is erased, so is the review.
    state text NOT NULL,  -- raised: it lasts; cleared: it ended, see ended.
    opened_at timestamp with time zone NOT NULL,  -- Beginning of the wearer's day on which it began to add up; late or corrected days may move it.
    raised_at timestamp with time zone NOT NULL,  -- End of the day on which it was enough.
    changed_at timestamp with time zone NOT NULL,  -- When it came into its state.
    cleared_at timestamp with time zone,  -- End of the day on which it was as usual again; if it ended for another reason, when that was found. NULL while it lasts.
    ended text,  -- usual_again: the days are as usual. joined: told on as less_activity_and_later_sleep. corrected: late or corrected days show no such change. not_looked_for: the plan or the consent ended. NULL while it lasts.
    review_by text NOT NULL,  -- Opaque id of the clinician on whose list it stands: whom the care profile names while it lasts.
    policy text NOT NULL,  -- Policy and version that it was last judged by.
    sentence text NOT NULL,  -- What is seen, in plain words; never a disorder, never a name. Refreshed while it lasts.
    evidence jsonb NOT NULL,  -- {"since", "unit", "figures": {name: number}, "readings": [{"at", "value"}]}: the wearer's day on which it began, what is usual, what it is since, how unusual that is, and the newest days. Refreshed while it lasts.
    seen_by text,  -- Opaque id of who looked at it first: the clinician on whose list it stood then.
    seen_at timestamp with time zone,  -- When they said so.
    stored_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last written by the look at the days.
    CONSTRAINT reviews_pkey PRIMARY KEY (review_id),
    CONSTRAINT reviews_check CHECK ((metric = ANY (metrics))),
    CONSTRAINT reviews_check1 CHECK (((opened_at <= raised_at) AND (raised_at <= changed_at))),
    CONSTRAINT reviews_check2 CHECK ((((state = 'cleared'::text) = (cleared_at IS NOT NULL)) AND ((state = 'cleared'::text) = (ended IS NOT NULL)))),
    CONSTRAINT reviews_check3 CHECK ((num_nulls(seen_by, seen_at) = ANY (ARRAY[0, 2]))),
    CONSTRAINT reviews_ended_check CHECK ((ended = ANY (ARRAY['usual_again'::text, 'joined'::text, 'corrected'::text, 'not_looked_for'::text]))),
    CONSTRAINT reviews_evidence_check CHECK ((jsonb_typeof(evidence) = 'object'::text)),
    CONSTRAINT reviews_review_by_check CHECK ((review_by <> ''::text)),
    CONSTRAINT reviews_review_id_check CHECK ((review_id ~ '^[0-9a-f]{32}$'::text)),
    CONSTRAINT reviews_rule_check CHECK ((rule <> ''::text)),
    CONSTRAINT reviews_rule_version_check CHECK ((rule_version > 0)),
    CONSTRAINT reviews_seen_by_check CHECK ((seen_by <> ''::text)),
    CONSTRAINT reviews_sentence_check CHECK ((sentence <> ''::text)),
    CONSTRAINT reviews_state_check CHECK ((state = ANY (ARRAY['raised'::text, 'cleared'::text])))
);
CREATE INDEX reviews_listed ON public.reviews USING btree (review_by, raised_at);
CREATE INDEX reviews_patient ON public.reviews USING btree (patient_key, opened_at);
CREATE UNIQUE INDEX reviews_one_open ON public.reviews USING btree (patient_key, rule) WHERE (state = 'raised'::text);

-- When the days of a person under a plan were last looked at, and whether enough of them are known: an empty review list alone would not say that anybody looked.
CREATE TABLE review_looks (
    patient_key integer NOT NULL,  -- Whose days.
    looked_at timestamp with time zone NOT NULL,  -- When.
    until_day date,  -- The newest day that was over. NULL: there was none.
    activity_days integer NOT NULL,  -- Days with enough wear and a number of steps, since 90 days before the plan.
    sleep_days integer NOT NULL,  -- Days with a night that was told, since then.
    needed_days integer NOT NULL,  -- So many are learned before anything is judged.
    CONSTRAINT review_looks_pkey PRIMARY KEY (patient_key),
    CONSTRAINT review_looks_activity_days_check CHECK ((activity_days >= 0)),
    CONSTRAINT review_looks_needed_days_check CHECK ((needed_days > 0)),
    CONSTRAINT review_looks_sleep_days_check CHECK ((sleep_days >= 0))
);

ALTER TABLE origins ADD CONSTRAINT origins_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key);

ALTER TABLE device_bindings ADD CONSTRAINT device_bindings_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key);

ALTER TABLE device_bindings ADD CONSTRAINT device_bindings_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE care_profiles ADD CONSTRAINT care_profiles_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE legal_holds ADD CONSTRAINT legal_holds_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE archive_leaves ADD CONSTRAINT archive_leaves_file_id_fkey FOREIGN KEY (file_id) REFERENCES archive_files(file_id);

ALTER TABLE archive_events ADD CONSTRAINT archive_events_file_id_fkey FOREIGN KEY (file_id) REFERENCES archive_files(file_id);

ALTER TABLE restore_steps ADD CONSTRAINT restore_steps_restore_id_fkey FOREIGN KEY (restore_id) REFERENCES restores(restore_id);

ALTER TABLE reader_scopes ADD CONSTRAINT reader_scopes_patient_id_fkey FOREIGN KEY (patient_id) REFERENCES patients(patient_id);

ALTER TABLE device_registry ADD CONSTRAINT device_registry_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key);

ALTER TABLE device_events ADD CONSTRAINT device_events_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key);

ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_lineage_fkey FOREIGN KEY (lineage) REFERENCES access_tokens(token_id);

ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_rotated_from_fkey FOREIGN KEY (rotated_from) REFERENCES access_tokens(token_id);

ALTER TABLE access_events ADD CONSTRAINT access_events_token_id_fkey FOREIGN KEY (token_id) REFERENCES access_tokens(token_id);

ALTER TABLE sync_anchors ADD CONSTRAINT sync_anchors_lineage_fkey FOREIGN KEY (lineage) REFERENCES access_tokens(token_id);

ALTER TABLE consents ADD CONSTRAINT consents_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE consent_events ADD CONSTRAINT consent_events_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE reviews ADD CONSTRAINT reviews_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

ALTER TABLE review_looks ADD CONSTRAINT review_looks_patient_key_fkey FOREIGN KEY (patient_key) REFERENCES patients(patient_key);

-- Rows that ON CONFLICT DO NOTHING left out are not in the transition table: a repeated write announces nothing.
CREATE OR REPLACE FUNCTION public.quarantine_to_outbox()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO quarantine_outbox (topic, partition, epoch, "offset", index)
    SELECT topic, partition, epoch, "offset", index FROM fresh ORDER BY topic, partition, epoch, "offset", index;
    RETURN NULL;
END
$function$;

-- A helper.
CREATE OR REPLACE FUNCTION public.quarantine_gone()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM quarantine_outbox o USING gone g
    WHERE (o.topic, o.partition, o.epoch, o."offset", o.index) = (g.topic, g.partition, g.epoch, g."offset", g.index);
    RETURN NULL;
END
$function$;

-- Marks all days of a patient, and their neighbours, when patients.time_zone changes.
CREATE OR REPLACE FUNCTION public.mark_days_of_zone()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO dirty_days (patient_key, day)
    SELECT DISTINCT s.patient_key, s.day + around
    FROM daily_summary s, generate_series(-1, 1) AS around
    WHERE s.patient_key = NEW.patient_key
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$function$;

-- Trigger: of a row only the columns named in the trigger may be set, and only while the first of them is NULL.
CREATE OR REPLACE FUNCTION public.only_ends()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    before jsonb := to_jsonb(OLD);
    after  jsonb := to_jsonb(NEW);
BEGIN
    IF before - TG_ARGV <> after - TG_ARGV OR before -> TG_ARGV[0] <> 'null' THEN
        RAISE EXCEPTION '% keeps its history: end a row by setting % once, and add a new row', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$function$;

-- Trigger: no row is deleted.
CREATE OR REPLACE FUNCTION public.never_goes()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION '% keeps every row for ever', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$function$;

-- A helper.
CREATE OR REPLACE FUNCTION public.check_lifecycle_policies()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    touched text := coalesce(NEW.retention_class, OLD.retention_class);
    raw     lifecycle_policies;
    coarser record;
    epoch   CONSTANT timestamp := '2001-01-01';
BEGIN
    SELECT * INTO raw FROM lifecycle_policies WHERE retention_class = touched AND tier = 'raw';
    IF touched IN ('waveform', 'quarantine', 'audit', 'evidence', 'sample_ids', 'deletions') THEN
        IF raw.archive_after IS NOT NULL THEN
            RAISE EXCEPTION '% has no archive: archive_after must be NULL', touched USING ERRCODE = 'check_violation';
        END IF;
    ELSIF raw.drop_after IS NOT NULL AND raw.archive_after IS NULL THEN
        RAISE EXCEPTION 'raw samples of % would be dropped after % and never archived', touched, raw.drop_after
            USING ERRCODE = 'check_violation', HINT = 'Set archive_after, to less than drop_after.';
    ELSIF epoch + raw.drop_after < epoch + INTERVAL '14 days' THEN
        RAISE EXCEPTION 'raw samples of % would be dropped after %: rollups of the newest week are still being made', touched, raw.drop_after
            USING ERRCODE = 'check_violation', HINT = 'Keep raw samples for 14 days or longer.';
    END IF;
    -- Each tier is kept at least as long as the finer one that it can be made from.
    FOR coarser IN
        SELECT tier, drop_after, lag(tier) OVER finer AS finer_tier, lag(drop_after) OVER finer AS finer_after
        FROM lifecycle_policies WHERE retention_class = touched AND tier <> 'archive'
        WINDOW finer AS (ORDER BY array_position(ARRAY['raw', 'minute', 'quarter', 'hour', 'day'], tier))
        UNION ALL
        SELECT tier, drop_after, 'raw', raw.drop_after
        FROM lifecycle_policies WHERE retention_class = touched AND tier = 'archive' AND raw.tier IS NOT NULL
    LOOP
        IF coarser.finer_tier IS NOT NULL AND epoch + coarser.drop_after < coalesce(epoch + coarser.finer_after, 'infinity') THEN
            RAISE EXCEPTION 'tier % of % would be kept for %, shorter than tier % (%)', coarser.tier, touched,
                coarser.drop_after, coarser.finer_tier, coalesce(coarser.finer_after::text, 'for ever')
                USING ERRCODE = 'check_violation',
                HINT = 'Change both in one statement, or in one transaction after SET CONSTRAINTS ALL DEFERRED.';
        END IF;
    END LOOP;
    RETURN NULL;
END
$function$;

-- A helper.
CREATE OR REPLACE FUNCTION public.note_late_hours()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO late_hours AS l (patient_key, hour)
    SELECT patient_key, hour FROM forgotten
    WHERE hour < (SELECT max(horizon) FROM raw_horizons)
    ORDER BY 1, 2
    ON CONFLICT (patient_key, hour) DO UPDATE SET noted_at = excluded.noted_at;
    RETURN NULL;
END
$function$;

-- What is older than this leaves the tier; NULL: nothing does.
CREATE OR REPLACE FUNCTION public.lifecycle_horizon(of_class text, of_tier text, moment timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$
    SELECT date_trunc('day', moment AT TIME ZONE 'UTC' - drop_after) AT TIME ZONE 'UTC'
    FROM lifecycle_policies WHERE retention_class = of_class AND tier = of_tier
$function$;

-- The advisory lock of whoever works on the life of data: one run or job at a time.
CREATE OR REPLACE FUNCTION public.lifecycle_key()
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$ SELECT 508656969827::bigint $function$;

-- A helper.
CREATE OR REPLACE FUNCTION public.metrics_of(of_class text)
 RETURNS smallint[]
 LANGUAGE sql
 STABLE
AS $function$ SELECT coalesce(array_agg(metric_key), '{}') FROM metrics WHERE retention_class = of_class $function$;

-- Until this transaction ends nobody places or lifts a hold; gives up after 5 s, as every lock after it in the transaction does.
CREATE OR REPLACE FUNCTION public.lock_holds()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'holds are read after they were locked: that takes a transaction that is read committed';
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    LOCK TABLE legal_holds IN SHARE MODE;
END
$function$;

-- Of a plain table with patient_key: up to at_most rows from before the horizon, of nobody on hold.
CREATE OR REPLACE FUNCTION public.drop_rows(of_table regclass, time_column name, horizon timestamp with time zone, of_metrics smallint[] DEFAULT NULL::smallint[], at_most integer DEFAULT 50000)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    gone bigint;
BEGIN
    PERFORM lock_holds();
    EXECUTE format(
        'DELETE FROM %1$s WHERE ctid = ANY (ARRAY (SELECT ctid FROM %1$s WHERE %2$I < $1 %3$s '
        'AND NOT EXISTS (SELECT FROM patients_on_hold h WHERE h.patient_key = %1$s.patient_key) LIMIT $3))',
        of_table, time_column, CASE WHEN of_metrics IS NOT NULL THEN 'AND metric_key = ANY ($2)' ELSE '' END)
        USING horizon, of_metrics, at_most;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$function$;

-- Rejections, and raw records of which no rejection is left; a hold finds its patient by the record's id or key.
CREATE OR REPLACE FUNCTION public.drop_quarantine(horizon timestamp with time zone, at_most integer DEFAULT 50000)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    rejected bigint;
    records  bigint;
BEGIN
    PERFORM lock_holds();
    DELETE FROM quarantine WHERE ctid = ANY (ARRAY (
        SELECT q.ctid FROM quarantine q LEFT JOIN quarantine_records r USING (topic, partition, epoch, "offset")
        WHERE q.recorded_at < horizon AND NOT EXISTS (
            SELECT FROM patients_on_hold h WHERE h.patient_id = r.patient_id OR convert_to(h.patient_id, 'UTF8') = r.key)
        LIMIT at_most));
    GET DIAGNOSTICS rejected = ROW_COUNT;
    DELETE FROM quarantine_records WHERE ctid = ANY (ARRAY (
        SELECT r.ctid FROM quarantine_records r
        WHERE r.recorded_at < horizon
          AND NOT EXISTS (SELECT FROM quarantine q WHERE (q.topic, q.partition, q.epoch, q."offset")
                                                       = (r.topic, r.partition, r.epoch, r."offset"))
          AND NOT EXISTS (SELECT FROM patients_on_hold h
                          WHERE h.patient_id = r.patient_id OR convert_to(h.patient_id, 'UTF8') = r.key)
        LIMIT at_most));
    GET DIAGNOSTICS records = ROW_COUNT;
    RETURN rejected + records;
END
$function$;

-- Cleared alerts and reviews, notifications, attempts, and older versions of samples. An alert or a review that is open stays, however old.
CREATE OR REPLACE FUNCTION public.drop_audit(horizon timestamp with time zone, at_most integer DEFAULT 50000)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    notes    bigint;
    attempts bigint;
    cleared  bigint;
    reviewed bigint;
BEGIN
    PERFORM lock_holds();
    WITH gone AS (
        DELETE FROM notifications WHERE ctid = ANY (ARRAY (
            SELECT n.ctid FROM notifications n
            WHERE n.stored_at < horizon AND n.patient_id NOT IN (SELECT patient_id FROM patients_on_hold) LIMIT at_most))
        RETURNING notification_id
    ), told AS (
        DELETE FROM delivery_attempts a USING gone g WHERE a.notification_id = g.notification_id
    )
    SELECT count(*) INTO notes FROM gone;
    -- Attempts whose notification never came or went before them speak of nobody any more.
    DELETE FROM delivery_attempts WHERE ctid = ANY (ARRAY (
        SELECT a.ctid FROM delivery_attempts a
        WHERE a.stored_at < horizon
          AND NOT EXISTS (SELECT FROM notifications n WHERE n.notification_id = a.notification_id) LIMIT at_most));
    GET DIAGNOSTICS attempts = ROW_COUNT;
    DELETE FROM alerts WHERE ctid = ANY (ARRAY (
        SELECT a.ctid FROM alerts a
        WHERE a.stored_at < horizon AND a.state = 'cleared'
          AND a.patient_id NOT IN (SELECT patient_id FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS cleared = ROW_COUNT;
    DELETE FROM reviews WHERE ctid = ANY (ARRAY (
        SELECT r.ctid FROM reviews r
        WHERE r.stored_at < horizon AND r.state = 'cleared'
          AND r.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS reviewed = ROW_COUNT;
    RETURN notes + attempts + cleared + reviewed + drop_rows('sample_revisions', 'superseded_at', horizon, NULL, at_most);
END
$function$;

-- Days of a class's metrics, and summaries and trends once every class lets go of that day.
CREATE OR REPLACE FUNCTION public.drop_days(of_class text, moment timestamp with time zone, at_most integer DEFAULT 50000)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    until      CONSTANT date := (lifecycle_horizon(of_class, 'day', moment) AT TIME ZONE 'UTC')::date;
    of_metrics CONSTANT smallint[] := metrics_of(of_class);
    days       bigint;
    summaries  bigint;
    trending   bigint;
    last_until date;
BEGIN
    PERFORM lock_holds();
    DELETE FROM vitals_1d WHERE ctid = ANY (ARRAY (
        SELECT d.ctid FROM vitals_1d d
        WHERE d.day < until AND d.metric_key = ANY (of_metrics)
          AND d.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS days = ROW_COUNT;
    -- What is made of all classes stays as long as the longest of them.
    SELECT CASE WHEN bool_and(drop_after IS NOT NULL)
                THEN (min(lifecycle_horizon(retention_class, 'day', moment)) AT TIME ZONE 'UTC')::date END
    INTO last_until FROM lifecycle_policies WHERE tier = 'day';
    DELETE FROM daily_summary WHERE ctid = ANY (ARRAY (
        SELECT s.ctid FROM daily_summary s
        WHERE s.day < last_until AND s.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS summaries = ROW_COUNT;
    DELETE FROM trends WHERE ctid = ANY (ARRAY (
        SELECT t.ctid FROM trends t
        WHERE t.until < last_until AND t.patient_key NOT IN (SELECT patient_key FROM patients_on_hold) LIMIT at_most));
    GET DIAGNOSTICS trending = ROW_COUNT;
    RETURN days + summaries + trending;
END
$function$;

-- One slice of what a policy lets go without an archive; raw samples are not among that. drop_history and drop_waveforms are the mode's own.
CREATE OR REPLACE FUNCTION public.drop_tier(of_class text, of_tier text, moment timestamp with time zone DEFAULT now())
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    horizon timestamptz := lifecycle_horizon(of_class, of_tier, moment);
BEGIN
    RETURN CASE
        WHEN horizon IS NULL THEN 0
        WHEN of_tier IN ('minute', 'quarter', 'hour') THEN drop_history(of_class, of_tier, moment)
        WHEN of_tier = 'day' THEN drop_days(of_class, moment)
        WHEN of_class = 'quarantine' THEN drop_quarantine(horizon)
        WHEN of_class = 'audit' THEN drop_audit(horizon)
        WHEN of_class = 'evidence' THEN drop_rows('alert_evidence', 'taken_at', horizon)
        WHEN of_class = 'waveform' THEN drop_waveforms(horizon)
        WHEN of_class = 'sample_ids' THEN drop_rows('sample_ids', 'time', horizon)
        WHEN of_class = 'deletions' THEN drop_rows('deletions_told', 'received_at', horizon)
        ELSE 0
    END;
END
$function$;

-- Rows go one by one: up to the horizon itself.
CREATE OR REPLACE FUNCTION public.drop_horizon(of_table regclass, horizon timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE
AS $function$
    SELECT horizon
$function$;

-- Lets go of the samples of a class's UTC day that is due, in the history and wholly in the archive, but for those of patients on hold.
CREATE OR REPLACE FUNCTION public.drop_raw_day(of_class text, day date, moment timestamp with time zone DEFAULT now())
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    from_time CONSTANT timestamptz := day::timestamp AT TIME ZONE 'UTC';
    to_time   CONSTANT timestamptz := from_time + INTERVAL '24 hours';
    of_class_metrics CONSTANT smallint[] := metrics_of(of_class);
    held      integer[];
    gone      bigint;
BEGIN
    -- One snapshot for the comparison and for the deletion: what is written meanwhile is in neither, and a row that is
    -- corrected meanwhile ends this transaction. So nobody who writes has to wait.
    IF current_setting('transaction_isolation') <> 'repeatable read' THEN
        RAISE EXCEPTION 'drop_raw_day takes a transaction that is repeatable read and has locked legal_holds in SHARE MODE first';
    END IF;
    PERFORM FROM raw_days d JOIN raw_horizons h USING (retention_class)
    WHERE d.retention_class = of_class AND d.utc_day = day AND d.state IN ('moved', 'dropped') AND h.horizon >= to_time
      AND lifecycle_horizon(of_class, 'raw', moment) >= to_time;
    IF NOT FOUND OR NOT archive_covers(of_class, day) THEN
        RETURN 0;
    END IF;
    SELECT coalesce(array_agg(patient_key), '{}') INTO held FROM patients_on_hold;
    DELETE FROM samples
    WHERE time >= from_time AND time < to_time AND metric_key = ANY (of_class_metrics) AND patient_key <> ALL (held);
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE raw_days SET state = 'dropped', changed_at = now(), held_patients = ARRAY(
        SELECT DISTINCT patient_key FROM samples
        WHERE time >= from_time AND time < to_time AND metric_key = ANY (of_class_metrics))
    WHERE retention_class = of_class AND utc_day = day;
    RETURN gone;
END
$function$;

-- A helper.
CREATE OR REPLACE FUNCTION public.drop_waveforms(horizon timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
AS $function$
    SELECT drop_rows('waveforms', 'time', horizon, NULL, 5000)
$function$;

-- A helper.
CREATE OR REPLACE FUNCTION public.drop_history(of_class text, of_tier text, moment timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
AS $function$
    SELECT drop_rows(
        CASE of_tier WHEN 'minute' THEN 'vitals_1m_history' WHEN 'quarter' THEN 'vitals_15m_history' WHEN 'hour' THEN 'vitals_1h_history' END,
        'bucket', least(lifecycle_horizon(of_class, of_tier, moment),
                        (SELECT coalesce(max(horizon), '-infinity') FROM raw_horizons WHERE retention_class = of_class)),
        metrics_of(of_class))
$function$;

-- Rows of each patient in samples, and a checksum over all their columns that does not depend on their order.
CREATE OR REPLACE FUNCTION public.samples_of_day(of_class text, day date, of_patients integer[] DEFAULT NULL::integer[])
 RETURNS TABLE(patient_key integer, rows bigint, checksum numeric)
 LANGUAGE sql
 STABLE
AS $function$
    -- Hashed once more: the hash of a record is linear in its columns, so two rows that change a value would add up to the same.
    SELECT s.patient_key, count(*), sum(hashtextextended(hash_record_extended(
               ROW(s.time, s.written_at, s.received_at, s.value, s.patient_key, s.origin_key, s.duration_ms, s.quality,
                   s.metric_key, s.flags, s.context, s.zone_offset_min), 0)::text, 0))
    FROM samples s
    WHERE s.time >= day::timestamp AT TIME ZONE 'UTC' AND s.time < (day + 1)::timestamp AT TIME ZONE 'UTC'
      AND s.metric_key = ANY ((SELECT metrics_of(of_class))::smallint[])
      AND (of_patients IS NULL OR s.patient_key = ANY (of_patients))
    GROUP BY s.patient_key
$function$;

-- Is every row that samples hold of this class and UTC day, as this statement's snapshot sees them, in files that were read back of late?
CREATE OR REPLACE FUNCTION public.archive_covers(of_class text, of_day date, fresh interval DEFAULT '30 days'::interval)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    SELECT NOT EXISTS (
        SELECT FROM archive_files f
        WHERE f.retention_class = of_class AND f.utc_day = of_day AND f.uri IS NOT NULL AND f.verified_at < now() - fresh
    ) AND NOT EXISTS (
        SELECT FROM samples_of_day(of_class, of_day) s
        LEFT JOIN archive_coverage c
            ON c.retention_class = of_class AND c.utc_day = of_day AND c.patient_key = s.patient_key
        WHERE (c.rows, c.checksum) IS DISTINCT FROM (s.rows, s.checksum)
    )
$function$;

-- Trigger: the gate is to be read again.
CREATE OR REPLACE FUNCTION public.gate_moved()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE gate_version SET version = version + 1;
    RETURN NULL;
END
$function$;

-- Trigger: the token is to be read again; tells whoever listens on vigil_access.
CREATE OR REPLACE FUNCTION public.access_moved()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE access_version SET version = access_version.version + 1 RETURNING access_version.version INTO NEW.version;
    PERFORM pg_notify('vigil_access', '');
    RETURN NEW;
END
$function$;

-- Trigger: what a token opens is never widened, and a revocation never taken back or put off.
CREATE OR REPLACE FUNCTION public.access_only_narrows()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF (to_jsonb(NEW) - '{revoked_at, revoked_by, last_used_at, expires_at, certificate_sha256, note, version}'::text[])
       <> (to_jsonb(OLD) - '{revoked_at, revoked_by, last_used_at, expires_at, certificate_sha256, note, version}'::text[])
       OR NEW.expires_at > OLD.expires_at
       OR (OLD.certificate_sha256 IS NOT NULL AND NEW.certificate_sha256 IS DISTINCT FROM OLD.certificate_sha256)
       OR (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS NULL OR NEW.revoked_at > OLD.revoked_at)) THEN
        RAISE EXCEPTION 'a token only ever loses rights: make a new one' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$function$;

-- Trigger: a successor opens what the token before it opens, for no longer than that one lasted; only the owner makes a first token.
CREATE OR REPLACE FUNCTION public.access_succeeds()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    may_make boolean := pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE');
    same     text[] := '{lineage, kind, patient_key, device_keys, issuer, subject, certificate_sha256}';
    old      access_tokens;
BEGIN
    IF NEW.rotated_from IS NULL AND may_make THEN
        RETURN NEW;
    END IF;
    SELECT * INTO old FROM access_tokens WHERE token_id = NEW.rotated_from;
    IF old.token_id IS NULL OR old.secret_sha256 IS NULL
       OR old.expires_at <= now() OR old.revoked_at <= now()
       OR EXISTS (SELECT FROM unnest(same) AS s(field)
                  WHERE to_jsonb(NEW) -> s.field IS DISTINCT FROM to_jsonb(old) -> s.field)
       OR NEW.created_at <> now() OR NEW.expires_at - NEW.created_at > old.expires_at - old.created_at
       OR NEW.revoked_at IS NOT NULL OR NEW.last_used_at IS NOT NULL THEN
        RAISE EXCEPTION 'a token is made by the owner, or succeeds one that stands and opens the same' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$function$;

-- Trigger: profiles, devices and policy are to be read again.
CREATE OR REPLACE FUNCTION public.people_moved()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE people_version SET version = version + 1;
    RETURN NULL;
END
$function$;

-- Samples with their words instead of keys, without tombstones: what people query.
CREATE VIEW current_samples AS
 SELECT s."time",
    p.patient_id,
    m.code AS metric,
    m.unit,
    d.device_id,
    o.source_app,
    s.value,
    s.quality,
    s.duration_ms,
    NULLIF(s.zone_offset_min, '-32768'::integer) AS zone_offset_min,
    s.context,
    s.flags,
    s.written_at,
    s.received_at
   FROM ((((samples s
     JOIN patients p USING (patient_key))
     JOIN metrics m USING (metric_key))
     JOIN origins o USING (origin_key))
     JOIN devices d USING (device_key))
  WHERE (((s.flags)::integer & 128) = 0);

-- Waveform chunks with their words instead of keys: what people query.
CREATE VIEW current_waveforms AS
 SELECT w."time",
    (w."time" + ((w.first_us)::double precision * '00:00:00.000001'::interval)) AS first_time,
    p.patient_id,
    m.code AS metric,
    m.unit,
    d.device_id,
    o.source_app,
    w.channel,
    w.sample_rate_hz,
    w.original_rate_hz,
    w.axes,
    w.scale,
    w."values",
    w.quality,
    w.duration_ms,
    NULLIF(w.zone_offset_min, '-32768'::integer) AS zone_offset_min,
    w.context,
    w.flags,
    w.written_at,
    w.received_at
   FROM ((((waveforms w
     JOIN patients p USING (patient_key))
     JOIN metrics m USING (metric_key))
     JOIN origins o USING (origin_key))
     JOIN devices d USING (device_key));

-- The horizon of each metric whose class has one.
CREATE VIEW metric_horizons AS
 SELECT m.metric_key,
    h.horizon
   FROM (metrics m
     JOIN raw_horizons h USING (retention_class));

-- A minute of a series over all of time, whether its samples are still here or not: what readers ask.
CREATE VIEW vitals_1m_all AS
 SELECT v.bucket,
    v.patient_key,
    v.metric_key,
    v.origin_key,
    v.n,
    v.sum,
    v.min,
    v.max,
    v.first,
    v.last,
    v.sum_sq,
    v.minutes,
    v.minute_mean_sum,
    v.zone_offset_min
   FROM (vitals_1m v
     LEFT JOIN metric_horizons h USING (metric_key))
  WHERE ((h.horizon IS NULL) OR (v.bucket >= h.horizon))
UNION ALL
 SELECT v.bucket,
    v.patient_key,
    v.metric_key,
    v.origin_key,
    v.n,
    v.sum,
    v.min,
    v.max,
    v.first,
    v.last,
    v.sum_sq,
    v.minutes,
    v.minute_mean_sum,
    v.zone_offset_min
   FROM (vitals_1m_history v
     JOIN metric_horizons h USING (metric_key))
  WHERE (v.bucket < h.horizon);

-- A quarter of an hour of a series over all of time; see vitals_1m_all.
CREATE VIEW vitals_15m_all AS
 SELECT v.bucket,
    v.patient_key,
    v.metric_key,
    v.origin_key,
    v.n,
    v.sum,
    v.min,
    v.max,
    v.first,
    v.last,
    v.sum_sq,
    v.minutes,
    v.minute_mean_sum,
    v.zone_offset_min
   FROM (vitals_15m v
     LEFT JOIN metric_horizons h USING (metric_key))
  WHERE ((h.horizon IS NULL) OR (v.bucket >= h.horizon))
UNION ALL
 SELECT v.bucket,
    v.patient_key,
    v.metric_key,
    v.origin_key,
    v.n,
    v.sum,
    v.min,
    v.max,
    v.first,
    v.last,
    v.sum_sq,
    v.minutes,
    v.minute_mean_sum,
    v.zone_offset_min
   FROM (vitals_15m_history v
     JOIN metric_horizons h USING (metric_key))
  WHERE (v.bucket < h.horizon);

-- An hour of a series over all of time; see vitals_1m_all.
CREATE VIEW vitals_1h_all AS
 SELECT v.bucket,
    v.patient_key,
    v.metric_key,
    v.origin_key,
    v.n,
    v.sum,
    v.min,
    v.max,
    v.first,
    v.last,
    v.sum_sq,
    v.minutes,
    v.minute_mean_sum,
    v.zone_offset_min
   FROM (vitals_1h v
     LEFT JOIN metric_horizons h USING (metric_key))
  WHERE ((h.horizon IS NULL) OR (v.bucket >= h.horizon))
UNION ALL
 SELECT v.bucket,
    v.patient_key,
    v.metric_key,
    v.origin_key,
    v.n,
    v.sum,
    v.min,
    v.max,
    v.first,
    v.last,
    v.sum_sq,
    v.minutes,
    v.minute_mean_sum,
    v.zone_offset_min
   FROM (vitals_1h_history v
     JOIN metric_horizons h USING (metric_key))
  WHERE (v.bucket < h.horizon);

-- Whose data nothing may drop or erase now. Whoever drops locks legal_holds in SHARE mode first and reads this after it: a hold waits for the step under way, and no step overtakes a hold.
CREATE VIEW patients_on_hold AS
 SELECT patient_key,
    patient_id
   FROM patients p
  WHERE (EXISTS ( SELECT
           FROM legal_holds h
          WHERE ((h.patient_key = p.patient_key) AND (h.lifted_at IS NULL))));

-- Days that are archived and in the history and still have rows in samples that no hold keeps.
CREATE VIEW raw_days_to_drop AS
 SELECT retention_class,
    utc_day
   FROM raw_days d
  WHERE ((state = 'moved'::text) OR ((state = 'dropped'::text) AND (EXISTS ( SELECT
           FROM unnest(d.held_patients) held(held)
          WHERE (NOT (held.held IN ( SELECT patients_on_hold.patient_key
                   FROM patients_on_hold)))))));

-- The scopes of whoever asks.
CREATE VIEW my_scopes AS
 SELECT patient_id,
    retention_class,
    purpose
   FROM reader_scopes
  WHERE pg_has_role(CURRENT_USER, (to_regrole(quote_ident(role_name)))::oid, 'member'::text);

-- The metric catalogue: what each channel means, its UCUM unit, and what it cannot mean.
CREATE VIEW data.metrics AS
 SELECT code AS metric,
    loinc,
    unit,
    kind,
    retention_class,
    low,
    high,
    cadence_s
   FROM metrics;

-- Each registered device as it is now: state, wearer, when it was last heard, battery and clock.
CREATE VIEW device_overview AS
 WITH told AS (
         SELECT o.device_key,
            max(l.received_at) AS last_seen_at,
            max(l."time") AS last_measured_at,
            (array_agg(l.value ORDER BY l."time" DESC) FILTER (WHERE (m.code = 'battery'::text)))[1] AS battery_pct,
            max(l."time") FILTER (WHERE (m.code = 'battery'::text)) AS battery_at,
            (array_agg(l.value ORDER BY l."time" DESC) FILTER (WHERE (m.code = 'clock_offset'::text)))[1] AS clock_offset_s
           FROM ((latest l
             JOIN origins o USING (origin_key))
             JOIN metrics m USING (metric_key))
          GROUP BY o.device_key
        )
 SELECT d.device_id,
    r.state,
    r.device_type,
    r.manufacturer,
    r.model,
    r.firmware,
    r.intended_use,
    ( SELECT array_agg(m.code ORDER BY m.code) AS array_agg
           FROM metrics m
          WHERE (m.metric_key = ANY (r.permitted_metrics))) AS permitted_metrics,
    r.connection,
    r.streams,
    r.accuracy,
    r.registered_at,
    r.changed_at,
    p.patient_id,
    b.valid_from AS bound_since,
    t.last_seen_at,
    t.last_measured_at,
    t.battery_pct,
    t.battery_at,
    t.clock_offset_s
   FROM ((((device_registry r
     JOIN devices d USING (device_key))
     LEFT JOIN device_bindings b ON (((b.device_key = r.device_key) AND (now() >= b.valid_from) AND ((b.valid_to IS NULL) OR (now() < b.valid_to)))))
     LEFT JOIN patients p USING (patient_key))
     LEFT JOIN told t ON ((t.device_key = r.device_key)));

-- Each token as it is now, without its hash: whom it speaks for, when it was used, and its state (unused, active, ending, rotated, expired, revoked).
CREATE VIEW access_overview AS
 SELECT t.token_id,
    t.lineage,
    t.rotated_from,
    t.kind,
    p.patient_id,
    ( SELECT array_agg(d.device_id ORDER BY d.device_id) AS array_agg
           FROM devices d
          WHERE (d.device_key = ANY (t.device_keys))) AS devices,
    t.issuer,
    t.subject,
    t.certificate_sha256,
    t.note,
    t.created_at,
    t.created_by,
    t.last_used_at,
    t.expires_at,
    t.revoked_at,
    t.revoked_by,
    ( SELECT max(s.token_id) AS max
           FROM access_tokens s
          WHERE ((s.rotated_from = t.token_id) AND ((s.revoked_at IS NULL) OR (s.last_used_at IS NOT NULL)))) AS replaced_by,
        CASE
            WHEN ((t.revoked_at <= now()) AND (t.revoked_by IS NULL)) THEN 'rotated'::text
            WHEN (t.revoked_at <= now()) THEN 'revoked'::text
            WHEN (t.expires_at <= now()) THEN 'expired'::text
            WHEN (t.revoked_at IS NOT NULL) THEN 'ending'::text
            WHEN (t.last_used_at IS NULL) THEN 'unused'::text
            ELSE 'active'::text
        END AS state
   FROM (access_tokens t
     LEFT JOIN patients p USING (patient_key));

-- Those scopes of whoever asks that no consent to research limits.
CREATE VIEW my_care_scopes AS
 SELECT patient_id,
    retention_class
   FROM my_scopes
  WHERE (purpose = 'care'::text);

-- Standing consents to research of classes that whoever asks may read for it.
CREATE VIEW my_research AS
 SELECT patient_key,
    category,
    valid_from,
    COALESCE(valid_until, 'infinity'::timestamp with time zone) AS valid_until
   FROM consents c
  WHERE ((purpose = 'research'::text) AND (withdrawn_at IS NULL) AND (( SELECT bool_or(((my_scopes.patient_id IS NULL) AND (my_scopes.retention_class IS NULL))) AS bool_or
           FROM my_scopes
          WHERE (my_scopes.purpose = 'research'::text)) OR (EXISTS ( SELECT
           FROM (my_scopes s
             JOIN patients p ON (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id))))
          WHERE ((p.patient_key = c.patient_key) AND (s.purpose = 'research'::text) AND ((s.retention_class IS NULL) OR (s.retention_class = c.category)))))));

-- Samples as they stand: newest versions, without what its source deleted. Ask with a patient, a metric and a time range.
CREATE VIEW data.samples WITH (security_barrier=true) AS
 SELECT "time",
    patient_id,
    metric,
    unit,
    value,
    quality,
    trustworthy,
    duration_ms,
    device_id,
    source_app,
    zone_offset_min,
    context,
    flags,
    written_at,
    received_at
   FROM ( SELECT s."time",
            p.patient_id,
            m.code AS metric,
            m.unit,
            s.value,
            s.quality,
            (s.quality >= (0.5)::double precision) AS trustworthy,
            s.duration_ms,
            d.device_id,
            o.source_app,
            NULLIF(s.zone_offset_min, '-32768'::integer) AS zone_offset_min,
            s.context,
            s.flags,
            s.written_at,
            s.received_at
           FROM ((((samples s
             JOIN patients p USING (patient_key))
             JOIN metrics m USING (metric_key))
             JOIN origins o USING (origin_key))
             JOIN devices d USING (device_key))
          WHERE ((((s.flags)::integer & 128) = 0) AND (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes c
                  WHERE (((c.patient_id IS NULL) OR (c.patient_id = p.patient_id)) AND ((c.retention_class IS NULL) OR (c.retention_class = m.retention_class))))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE ((r.patient_key = s.patient_key) AND (r.category = m.retention_class) AND (s."time" >= r.valid_from) AND (s."time" < r.valid_until))))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- A minute of a series, over trustworthy samples; one row an origin. An interval sample stands in the minute of its start.
CREATE VIEW data.vitals_1m WITH (security_barrier=true) AS
 SELECT bucket,
    patient_id,
    metric,
    unit,
    device_id,
    source_app,
    n,
    mean,
    time_weighted_mean,
    min,
    max,
    first,
    last,
    sum,
    sum_sq,
    minutes,
    minute_mean_sum,
    zone_offset_min
   FROM ( SELECT v_1.bucket,
            p.patient_id,
            m.code AS metric,
            m.unit,
            d.device_id,
            o.source_app,
            v_1.n,
            (v_1.sum / (v_1.n)::double precision) AS mean,
            (v_1.minute_mean_sum / (v_1.minutes)::double precision) AS time_weighted_mean,
            v_1.min,
            v_1.max,
            v_1.first,
            v_1.last,
            v_1.sum,
            v_1.sum_sq,
            v_1.minutes,
            v_1.minute_mean_sum,
            NULLIF(v_1.zone_offset_min, '-32768'::integer) AS zone_offset_min
           FROM ((((vitals_1m_all v_1
             JOIN patients p USING (patient_key))
             JOIN metrics m USING (metric_key))
             JOIN origins o USING (origin_key))
             JOIN devices d USING (device_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = m.retention_class))))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE ((r.patient_key = v_1.patient_key) AND (r.category = m.retention_class) AND (v_1.bucket >= r.valid_from) AND ((v_1.bucket + '00:01:00'::interval) <= r.valid_until)))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- A quarter of an hour of a series, made of its minutes.
CREATE VIEW data.vitals_15m WITH (security_barrier=true) AS
 SELECT bucket,
    patient_id,
    metric,
    unit,
    device_id,
    source_app,
    n,
    mean,
    time_weighted_mean,
    min,
    max,
    first,
    last,
    sum,
    sum_sq,
    minutes,
    minute_mean_sum,
    zone_offset_min
   FROM ( SELECT v_1.bucket,
            p.patient_id,
            m.code AS metric,
            m.unit,
            d.device_id,
            o.source_app,
            v_1.n,
            (v_1.sum / (v_1.n)::double precision) AS mean,
            (v_1.minute_mean_sum / (v_1.minutes)::double precision) AS time_weighted_mean,
            v_1.min,
            v_1.max,
            v_1.first,
            v_1.last,
            v_1.sum,
            v_1.sum_sq,
            v_1.minutes,
            v_1.minute_mean_sum,
            NULLIF(v_1.zone_offset_min, '-32768'::integer) AS zone_offset_min
           FROM ((((vitals_15m_all v_1
             JOIN patients p USING (patient_key))
             JOIN metrics m USING (metric_key))
             JOIN origins o USING (origin_key))
             JOIN devices d USING (device_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = m.retention_class))))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE ((r.patient_key = v_1.patient_key) AND (r.category = m.retention_class) AND (v_1.bucket >= r.valid_from) AND ((v_1.bucket + '00:15:00'::interval) <= r.valid_until)))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- An hour of a series, made of its quarters.
CREATE VIEW data.vitals_1h WITH (security_barrier=true) AS
 SELECT bucket,
    patient_id,
    metric,
    unit,
    device_id,
    source_app,
    n,
    mean,
    time_weighted_mean,
    min,
    max,
    first,
    last,
    sum,
    sum_sq,
    minutes,
    minute_mean_sum,
    zone_offset_min
   FROM ( SELECT v_1.bucket,
            p.patient_id,
            m.code AS metric,
            m.unit,
            d.device_id,
            o.source_app,
            v_1.n,
            (v_1.sum / (v_1.n)::double precision) AS mean,
            (v_1.minute_mean_sum / (v_1.minutes)::double precision) AS time_weighted_mean,
            v_1.min,
            v_1.max,
            v_1.first,
            v_1.last,
            v_1.sum,
            v_1.sum_sq,
            v_1.minutes,
            v_1.minute_mean_sum,
            NULLIF(v_1.zone_offset_min, '-32768'::integer) AS zone_offset_min
           FROM ((((vitals_1h_all v_1
             JOIN patients p USING (patient_key))
             JOIN metrics m USING (metric_key))
             JOIN origins o USING (origin_key))
             JOIN devices d USING (device_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = m.retention_class))))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE ((r.patient_key = v_1.patient_key) AND (r.category = m.retention_class) AND (v_1.bucket >= r.valid_from) AND ((v_1.bucket + '01:00:00'::interval) <= r.valid_until)))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- A local day of the wearer, of a series; total apportions intervals over midnight.
CREATE VIEW data.vitals_1d WITH (security_barrier=true) AS
 SELECT day,
    patient_id,
    metric,
    unit,
    device_id,
    source_app,
    n,
    mean,
    time_weighted_mean,
    min,
    max,
    first,
    last,
    sum,
    total,
    minutes,
    zone_offset_min
   FROM ( SELECT v_1.day,
            p.patient_id,
            m.code AS metric,
            m.unit,
            d.device_id,
            o.source_app,
            v_1.n,
            v_1.mean,
            v_1.time_weighted_mean,
            v_1.min,
            v_1.max,
            v_1.first,
            v_1.last,
            v_1.sum,
            v_1.total,
            v_1.minutes,
            NULLIF(v_1.zone_offset_min, '-32768'::integer) AS zone_offset_min
           FROM ((((vitals_1d v_1
             JOIN patients p USING (patient_key))
             JOIN metrics m USING (metric_key))
             JOIN origins o USING (origin_key))
             JOIN devices d USING (device_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = m.retention_class))))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE ((r.patient_key = v_1.patient_key) AND (r.category = m.retention_class) AND (r.valid_from <= ((v_1.day - '14:00:00'::interval) AT TIME ZONE 'UTC'::text)) AND (r.valid_until >= ((v_1.day + '36:00:00'::interval) AT TIME ZONE 'UTC'::text))))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- Chunks of ECG, PPG and acceleration; value i of an axis is "values"[i] * scale at first_time + i / sample_rate_hz.
CREATE VIEW data.waveforms WITH (security_barrier=true) AS
 SELECT "time",
    first_time,
    patient_id,
    metric,
    unit,
    device_id,
    source_app,
    channel,
    sample_rate_hz,
    original_rate_hz,
    axes,
    scale,
    "values",
    quality,
    duration_ms,
    zone_offset_min
   FROM ( SELECT w."time",
            (w."time" + ((w.first_us)::double precision * '00:00:00.000001'::interval)) AS first_time,
            p.patient_id,
            m.code AS metric,
            m.unit,
            d.device_id,
            o.source_app,
            w.channel,
            w.sample_rate_hz,
            w.original_rate_hz,
            w.axes,
            w.scale,
            w."values",
            w.quality,
            w.duration_ms,
            NULLIF(w.zone_offset_min, '-32768'::integer) AS zone_offset_min
           FROM ((((waveforms w
             JOIN patients p USING (patient_key))
             JOIN metrics m USING (metric_key))
             JOIN origins o USING (origin_key))
             JOIN devices d USING (device_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = 'waveform'::text))))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE ((r.patient_key = w.patient_key) AND (r.category = 'waveform'::text) AND (w."time" >= r.valid_from) AND (((w."time" + ((w.first_us)::double precision * '00:00:00.000001'::interval)) + ((w.duration_ms)::double precision * '00:00:00.001'::interval)) <= r.valid_until)))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- The same for what mixes classes: a scope of one class does not reach it.
CREATE VIEW my_research_days AS
 SELECT patient_key,
    category,
    valid_from,
    COALESCE(valid_until, 'infinity'::timestamp with time zone) AS valid_until
   FROM consents c
  WHERE ((purpose = 'research'::text) AND (withdrawn_at IS NULL) AND (( SELECT bool_or(((my_scopes.patient_id IS NULL) AND (my_scopes.retention_class IS NULL))) AS bool_or
           FROM my_scopes
          WHERE (my_scopes.purpose = 'research'::text)) OR (EXISTS ( SELECT
           FROM (my_scopes s
             JOIN patients p ON (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id))))
          WHERE ((p.patient_key = c.patient_key) AND (s.purpose = 'research'::text) AND (s.retention_class IS NULL))))));

-- The clinical daily view, one row a patient and local day: sleep, activity, heart, wear, quality. It mixes classes, so a scope of one class does not show it. Unworn is NULL, never zero.
CREATE VIEW data.user_analytics WITH (security_barrier=true) AS
 SELECT day,
    patient_id,
    zone_offset_min,
    day_length_min,
    sleep_total_min,
    sleep_in_bed_min,
    sleep_efficiency_pct,
    sleep_latency_min,
    sleep_core_min,
    sleep_deep_min,
    sleep_rem_min,
    sleep_unspecified_min,
    sleep_awake_min,
    sleep_disturbances,
    sleep_onset_at,
    sleep_midpoint_at,
    sleep_end_at,
    sleep_onset_local_min,
    sleep_midpoint_local_min,
    sleep_agreement,
    sleep_regularity_index,
    nap_count,
    nap_min,
    steps,
    distance_m,
    active_energy_kcal,
    exercise_min,
    moderate_vigorous_min,
    brisk_min,
    stand_min,
    daylight_min,
    heart_rate_minutes,
    heart_rate_mean_bpm,
    heart_rate_min_bpm,
    heart_rate_max_bpm,
    resting_heart_rate_bpm,
    resting_heart_rate_told_bpm,
    hrv_sdnn_ms,
    hrv_rmssd_ms,
    hrv_sdnn_24h_ms,
    hrv_rmssd_night_ms,
    wear_min,
    samples_expected,
    samples_received,
    completeness,
    quality_score,
    valid_day
   FROM ( SELECT v_1.day,
            p.patient_id,
            v_1.zone_offset_min,
            v_1.day_length_min,
            v_1.sleep_total_min,
            v_1.sleep_in_bed_min,
            v_1.sleep_efficiency_pct,
            v_1.sleep_latency_min,
            v_1.sleep_core_min,
            v_1.sleep_deep_min,
            v_1.sleep_rem_min,
            v_1.sleep_unspecified_min,
            v_1.sleep_awake_min,
            v_1.sleep_disturbances,
            v_1.sleep_onset_at,
            v_1.sleep_midpoint_at,
            v_1.sleep_end_at,
            v_1.sleep_onset_local_min,
            v_1.sleep_midpoint_local_min,
            v_1.sleep_agreement,
            v_1.sleep_regularity_index,
            v_1.nap_count,
            v_1.nap_min,
            v_1.steps,
            v_1.distance_m,
            v_1.active_energy_kcal,
            v_1.exercise_min,
            v_1.moderate_vigorous_min,
            v_1.brisk_min,
            v_1.stand_min,
            v_1.daylight_min,
            v_1.heart_rate_minutes,
            v_1.heart_rate_mean_bpm,
            v_1.heart_rate_min_bpm,
            v_1.heart_rate_max_bpm,
            v_1.resting_heart_rate_bpm,
            v_1.resting_heart_rate_told_bpm,
            v_1.hrv_sdnn_ms,
            v_1.hrv_rmssd_ms,
            v_1.hrv_sdnn_24h_ms,
            v_1.hrv_rmssd_night_ms,
            v_1.wear_min,
            v_1.samples_expected,
            v_1.samples_received,
            v_1.completeness,
            v_1.quality_score,
            v_1.valid_day
           FROM (daily_summary v_1
             JOIN patients p USING (patient_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND (s.retention_class IS NULL)))) OR (( SELECT count(DISTINCT r.category) AS count
                   FROM my_research_days r
                  WHERE ((r.patient_key = v_1.patient_key) AND (r.category = ANY (ARRAY['vital'::text, 'activity'::text, 'sleep'::text, 'technical'::text])) AND (r.valid_from <= ((v_1.day - '9 days'::interval) AT TIME ZONE 'UTC'::text)) AND (r.valid_until >= ((v_1.day + '36:00:00'::interval) AT TIME ZONE 'UTC'::text)))) = 4))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- Whether a measure of user_analytics rises, falls or stays, by week, month and quarter.
CREATE VIEW data.user_trends WITH (security_barrier=true) AS
 SELECT until,
    patient_id,
    measure,
    span,
    direction,
    slope_per_day,
    confidence,
    days_used
   FROM ( SELECT v_1.until,
            p.patient_id,
            v_1.measure,
            v_1.span,
            v_1.direction,
            v_1.slope_per_day,
            v_1.confidence,
            v_1.days_used
           FROM (trends v_1
             JOIN patients p USING (patient_key))
          WHERE (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND (s.retention_class IS NULL)))) OR (( SELECT count(DISTINCT r.category) AS count
                   FROM my_research_days r
                  WHERE ((r.patient_key = v_1.patient_key) AND (r.category = ANY (ARRAY['vital'::text, 'activity'::text, 'sleep'::text, 'technical'::text])) AND (r.valid_from <= (((v_1.until -
                        CASE v_1.span
                            WHEN 'week'::text THEN 16
                            WHEN 'month'::text THEN 39
                            ELSE 100
                        END))::timestamp without time zone AT TIME ZONE 'UTC'::text)) AND (r.valid_until >= ((v_1.until + '36:00:00'::interval) AT TIME ZONE 'UTC'::text)))) = 4))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- The same for alerts and annotations.
CREATE VIEW my_research_notes AS
 SELECT patient_key,
    category,
    valid_from,
    COALESCE(valid_until, 'infinity'::timestamp with time zone) AS valid_until
   FROM consents c
  WHERE ((purpose = 'research'::text) AND (withdrawn_at IS NULL) AND (( SELECT bool_or(((my_scopes.patient_id IS NULL) AND (my_scopes.retention_class IS NULL))) AS bool_or
           FROM my_scopes
          WHERE (my_scopes.purpose = 'research'::text)) OR (EXISTS ( SELECT
           FROM (my_scopes s
             JOIN patients p ON (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id))))
          WHERE ((p.patient_key = c.patient_key) AND (s.purpose = 'research'::text) AND ((s.retention_class IS NULL) OR (s.retention_class = 'alert'::text)))))));

-- The patients you may see, by opaque id.
CREATE VIEW data.patients WITH (security_barrier=true) AS
 SELECT patient_id,
    time_zone,
    first_seen_at
   FROM ( SELECT p.patient_id,
            p.time_zone,
            p.created_at AS first_seen_at
           FROM patients p
          WHERE (( SELECT bool_or((my_care_scopes.patient_id IS NULL)) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (s.patient_id = p.patient_id))) OR (EXISTS ( SELECT
                   FROM my_research r
                  WHERE (r.patient_key = p.patient_key))) OR (EXISTS ( SELECT
                   FROM my_research_notes r
                  WHERE (r.patient_key = p.patient_key))))) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- Alerts in their newest state. Who acknowledged one is not shown.
CREATE VIEW data.alerts WITH (security_barrier=true) AS
 SELECT p.alert_id,
    p.patient_id,
    p.kind,
    p.priority,
    p.rule,
    p.rule_version,
    p.metric,
    p.state,
    p.opened_at,
    p.raised_at,
    p.cleared_at,
    p.retrospective,
    p.sentence,
    p.evidence,
    p.acknowledged_at,
    p.raised_sentence,
    p.raised_evidence,
    "substring"(p.policy, '^default [0-9]+$|v[0-9]+ sha256:[0-9a-f]{12}$'::text) AS policy
   FROM ((alerts p
     LEFT JOIN patients k ON ((k.patient_id = p.patient_id)))
     LEFT JOIN metrics m ON ((m.code = p.metric)))
  WHERE ((p.patient_id <> 'vigil-synthetic'::text) AND (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
           FROM my_care_scopes) OR (EXISTS ( SELECT
           FROM my_care_scopes s
          WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = 'alert'::text))))) OR ( SELECT (count(DISTINCT r.category) FILTER (WHERE (r.category = COALESCE(m.retention_class, r.category))) =
                CASE
                    WHEN (m.code IS NULL) THEN 6
                    ELSE 1
                END)
           FROM my_research_notes r
          WHERE ((r.patient_key = k.patient_key) AND (r.valid_from <= (p.opened_at - '1 day'::interval)) AND (COALESCE(p.cleared_at, p.changed_at) < r.valid_until)))));

-- Notes on a stretch of a patient's time, alerts among them: join on patient and overlapping time. to_time is infinity while an alert is open.
CREATE VIEW data.annotations WITH (security_barrier=true) AS
 SELECT from_time,
    to_time,
    patient_id,
    metric,
    kind,
    source,
    rule,
    rule_version,
    label,
    detail
   FROM ( SELECT a.from_time,
            a.to_time,
            p.patient_id,
            m.code AS metric,
            a.kind,
            a.source,
            a.rule,
            a.rule_version,
            a.label,
            a.detail
           FROM ((annotations a
             JOIN patients p USING (patient_key))
             LEFT JOIN metrics m USING (metric_key))
          WHERE ((a.retracted_at IS NULL) AND (( SELECT bool_or(((my_care_scopes.patient_id IS NULL) AND (my_care_scopes.retention_class IS NULL))) AS bool_or
                   FROM my_care_scopes) OR (EXISTS ( SELECT
                   FROM my_care_scopes s
                  WHERE (((s.patient_id IS NULL) OR (s.patient_id = p.patient_id)) AND ((s.retention_class IS NULL) OR (s.retention_class = 'alert'::text))))) OR ( SELECT (count(DISTINCT r.category) FILTER (WHERE (r.category = COALESCE(m.retention_class, r.category))) =
                        CASE
                            WHEN (m.code IS NULL) THEN 6
                            ELSE 1
                        END)
                   FROM my_research_notes r
                  WHERE ((r.patient_key = a.patient_key) AND (a.from_time >= r.valid_from) AND (a.to_time < r.valid_until)))))
        UNION ALL
         SELECT alerts.opened_at AS from_time,
            COALESCE(alerts.cleared_at, 'infinity'::timestamp with time zone) AS to_time,
            alerts.patient_id,
            alerts.metric,
            'anomaly'::text AS kind,
            'watch'::text AS source,
            alerts.rule,
            alerts.rule_version,
            alerts.sentence AS label,
            alerts.evidence AS detail
           FROM data.alerts) v
  WHERE (patient_id <> 'vigil-synthetic'::text);

-- Samples that open deletions name and that still stand, or that only the archive has: what the deleter writes tombstones for. A version written later than the deletion was told is not among them, nor a sample of which another version stands.
CREATE VIEW samples_to_delete AS
 SELECT d.patient_key,
    d.sample_id,
    d.look_at,
    p.patient_id,
    v.device_id,
    o.source_app,
    d.adapter,
    i.metric_key,
    i."time",
    i.duration_ms,
    i.written_at,
    d.received_at
   FROM (((((deletions_told d
     JOIN sample_ids i USING (patient_key, sample_id))
     JOIN patients p USING (patient_key))
     JOIN origins o USING (origin_key))
     JOIN devices v USING (device_key))
     LEFT JOIN LATERAL ( SELECT s_1.written_at,
            (((s_1.flags)::integer & 128) <> 0) AS is_tombstone
           FROM samples s_1
          WHERE ((s_1.patient_key = i.patient_key) AND (s_1.metric_key = i.metric_key) AND (s_1.origin_key = i.origin_key) AND (s_1."time" = i."time") AND (s_1.duration_ms = i.duration_ms))
         LIMIT 1) s ON (true))
  WHERE ((d.settled_at IS NULL) AND (i.written_at <= GREATEST(d.told_at, d.received_at)) AND ((s.written_at IS NULL) OR ((s.written_at <= i.written_at) AND (NOT s.is_tombstone))));

-- Open deletions of which a sample stands in a version written later than they were told: no tombstone takes that away.
CREATE VIEW samples_written_later AS
 SELECT d.patient_key,
    d.sample_id
   FROM ((deletions_told d
     JOIN sample_ids i USING (patient_key, sample_id))
     LEFT JOIN LATERAL ( SELECT s_1.written_at,
            (((s_1.flags)::integer & 128) <> 0) AS is_tombstone
           FROM samples s_1
          WHERE ((s_1.patient_key = i.patient_key) AND (s_1.metric_key = i.metric_key) AND (s_1.origin_key = i.origin_key) AND (s_1."time" = i."time") AND (s_1.duration_ms = i.duration_ms))
         LIMIT 1) s ON (true))
  WHERE ((d.settled_at IS NULL) AND (i.written_at > GREATEST(d.told_at, d.received_at)) AND ((s.written_at IS NULL) OR ((s.written_at <= i.written_at) AND (NOT s.is_tombstone))));

-- When the newest stored sample of the synthetic patient was measured; NULL: there is none. What vigil heartbeat looks at.
CREATE VIEW synthetic_newest AS
 SELECT max(l."time") AS newest
   FROM (latest l
     JOIN patients p USING (patient_key))
  WHERE (p.patient_id = 'vigil-synthetic'::text);

-- Who was erased as a whole, and until when nothing told of them is stored: infinity, or the erasure where they consented to care again after it.
CREATE VIEW erased_people AS
 SELECT p.patient_id,
    max(
        CASE
            WHEN c.again THEN e.begun_at
            ELSE 'infinity'::timestamp with time zone
        END) AS until
   FROM ((erasures e
     JOIN patients p USING (patient_key))
     CROSS JOIN LATERAL ( SELECT (count(*) > 0) AS was_asked,
            COALESCE(bool_or(((consents.withdrawn_at IS NULL) OR (consents.recorded_at > e.finished_at))), false) AS again
           FROM consents
          WHERE ((consents.patient_key = e.patient_key) AND (consents.purpose = 'care'::text))) c)
  WHERE ((e.classes IS NULL) AND ((e.finished_at IS NOT NULL) OR (c.was_asked AND (NOT c.again))))
  GROUP BY p.patient_id;

CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON public.access_events FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER a_successor_only BEFORE INSERT ON public.access_tokens FOR EACH ROW EXECUTE FUNCTION access_succeeds();

CREATE TRIGGER access_changed BEFORE UPDATE OF revoked_at, expires_at, certificate_sha256 ON public.access_tokens FOR EACH ROW WHEN (((old.revoked_at IS DISTINCT FROM new.revoked_at) OR (old.expires_at <> new.expires_at) OR (old.certificate_sha256 IS DISTINCT FROM new.certificate_sha256))) EXECUTE FUNCTION access_moved();

CREATE TRIGGER access_moved BEFORE INSERT ON public.access_tokens FOR EACH ROW EXECUTE FUNCTION access_moved();

CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON public.access_tokens FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER only_narrows BEFORE UPDATE OF token_id, lineage, rotated_from, kind, patient_key, device_keys, secret_sha256, issuer, subject, certificate_sha256, created_at, created_by, expires_at, revoked_at ON public.access_tokens FOR EACH ROW EXECUTE FUNCTION access_only_narrows();

CREATE TRIGGER only_ends BEFORE UPDATE ON public.care_profiles FOR EACH ROW EXECUTE FUNCTION only_ends('valid_to', 'ended_by', 'end_reason');

CREATE TRIGGER people_moved AFTER INSERT OR DELETE OR UPDATE ON public.care_profiles FOR EACH STATEMENT EXECUTE FUNCTION people_moved();

CREATE TRIGGER never_goes BEFORE DELETE OR UPDATE OR TRUNCATE ON public.consent_events FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER gate_moved AFTER INSERT OR UPDATE ON public.consents FOR EACH STATEMENT EXECUTE FUNCTION gate_moved();

CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON public.consents FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER only_ends BEFORE UPDATE ON public.consents FOR EACH ROW EXECUTE FUNCTION only_ends('withdrawn_at', 'withdrawn_by', 'withdrawn_for', 'withdrawn_stored');

CREATE TRIGGER gate_moved AFTER INSERT OR DELETE OR UPDATE ON public.device_bindings FOR EACH STATEMENT EXECUTE FUNCTION gate_moved();

CREATE TRIGGER only_ends BEFORE UPDATE ON public.device_bindings FOR EACH ROW EXECUTE FUNCTION only_ends('valid_to');

CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON public.device_events FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER gate_moved AFTER INSERT OR DELETE OR UPDATE ON public.device_registry FOR EACH STATEMENT EXECUTE FUNCTION gate_moved();

CREATE TRIGGER people_moved AFTER INSERT OR DELETE OR UPDATE ON public.device_registry FOR EACH STATEMENT EXECUTE FUNCTION people_moved();

CREATE TRIGGER note_late_hours AFTER DELETE ON public.dirty_ranges REFERENCING OLD TABLE AS forgotten FOR EACH STATEMENT EXECUTE FUNCTION note_late_hours();

CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON public.erasures FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER never_goes BEFORE DELETE OR TRUNCATE ON public.legal_holds FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER only_ends BEFORE UPDATE ON public.legal_holds FOR EACH ROW EXECUTE FUNCTION only_ends('lifted_at', 'lifted_by', 'lift_reason');

CREATE CONSTRAINT TRIGGER check_lifecycle_policies AFTER INSERT OR UPDATE ON public.lifecycle_policies DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION check_lifecycle_policies();

CREATE TRIGGER mark_days_of_zone AFTER UPDATE OF time_zone ON public.patients FOR EACH ROW WHEN ((old.time_zone IS DISTINCT FROM new.time_zone)) EXECUTE FUNCTION mark_days_of_zone();

CREATE TRIGGER never_goes BEFORE DELETE OR UPDATE OR TRUNCATE ON public.policy_versions FOR EACH STATEMENT EXECUTE FUNCTION never_goes();

CREATE TRIGGER people_moved AFTER INSERT ON public.policy_versions FOR EACH STATEMENT EXECUTE FUNCTION people_moved();

CREATE TRIGGER quarantine_gone AFTER DELETE ON public.quarantine REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION quarantine_gone();

CREATE TRIGGER quarantine_to_outbox AFTER INSERT ON public.quarantine REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION quarantine_to_outbox();
