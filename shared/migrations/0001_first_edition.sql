-- The nouns of Broadsheet. Impossible rows are forbidden here, not in Python.

CREATE TABLE report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid text NOT NULL UNIQUE,
    org_id bigint NOT NULL,
    user_id bigint NOT NULL,
    name text NOT NULL,
    subject text NOT NULL,
    message text NOT NULL,
    recipients text[] NOT NULL,
    reply_to text[] NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'scheduled', 'paused', 'expired')),
    frequency text NOT NULL CHECK (frequency IN
        ('once', 'hourly', 'daily', 'weekly', 'monthly', 'last', 'custom', 'never')),
    interval_frequency text NOT NULL,
    interval_amount bigint NOT NULL,
    workdays_only boolean NOT NULL,
    day_of_month text NOT NULL,
    time_zone text NOT NULL,
    start_at timestamptz,
    end_at timestamptz,
    dashboards jsonb NOT NULL,
    formats text[] NOT NULL,
    options jsonb NOT NULL,
    scale_factor bigint NOT NULL,
    enable_dashboard_url boolean NOT NULL,
    enable_csv boolean NOT NULL,
    created timestamptz NOT NULL,
    updated timestamptz NOT NULL,
    -- Raised by every edit, so that a run says which text of the report it was made from.
    revision int NOT NULL DEFAULT 1,
    -- The next slot; a cache of the schedule, filled with the tzdata release named beside it.
    next_run_at timestamptz,
    tzdata text NOT NULL,
    CHECK (next_run_at IS NULL OR state = 'scheduled')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);

CREATE INDEX report_due ON report (next_run_at) WHERE state = 'scheduled';
CREATE INDEX report_by_org ON report (org_id, id);
CREATE INDEX report_by_dashboard ON report USING gin (dashboards jsonb_path_ops);

CREATE TABLE report_settings (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    org_id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    body jsonb NOT NULL
);

CREATE TABLE api_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL,
    name text NOT NULL,
    -- SHA-256 of the token: it is random and long, so a slow hash would add nothing.
    hash bytea NOT NULL UNIQUE,
    -- A role or explicit permissions ({action: [scope, …]}), never both, never neither.
    role text CHECK (role IN ('Admin', 'Editor', 'Viewer')),
    permissions jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CHECK ((role IS NULL) <> (permissions IS NULL))
);

CREATE TABLE run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL,
    -- NULL for a test or an export, which no stored report stands behind, and after its deletion.
    report_id bigint REFERENCES report ON DELETE SET NULL,
    report_revision int,
    -- The id of the token that asked for it; NULL for a slot.
    requested_by bigint,
    -- What its caller named the request, so that it can be repeated without a second mail; and a
    -- digest of the request, so that the name means one request only.
    idempotency_key text,
    request_sha256 text,
    kind text NOT NULL CHECK (kind IN ('schedule', 'api', 'test', 'export')),
    -- The slot: the identity of a scheduled run, and what relative time ranges resolve against.
    scheduled_for timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'rendering', 'delivering', 'sent', 'partial',
        'failed', 'missed', 'skipped', 'cancelled')),
    cause text,
    -- A frozen copy of what to render and to whom: an edit never changes a run half-way.
    spec jsonb NOT NULL,
    -- The mail as assembled (subject, bodies, attached documents), the same for every attempt.
    mail jsonb,
    -- Whether every panel shows what it should; NULL until that is known.
    complete boolean,
    timings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    rendered_at timestamptz,
    finished_at timestamptz,
    UNIQUE (report_id, kind, scheduled_for),
    CHECK ((state IN ('queued', 'rendering', 'delivering')) = (finished_at IS NULL)),
    CHECK (state NOT IN ('failed', 'missed', 'skipped', 'cancelled') OR cause IS NOT NULL),
    CHECK (state <> 'delivering' OR (rendered_at IS NOT NULL AND mail IS NOT NULL)),
    CHECK ((idempotency_key IS NULL) = (request_sha256 IS NULL))
);

CREATE INDEX run_by_org ON run (org_id, id);
CREATE INDEX run_active ON run (report_id) WHERE state IN ('queued', 'rendering', 'delivering');
CREATE INDEX run_requested ON run (org_id)
    WHERE kind <> 'schedule' AND state IN ('queued', 'rendering', 'delivering');
CREATE UNIQUE INDEX run_by_key ON run (org_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_exports ON run (finished_at) WHERE kind = 'export';

CREATE TABLE capture (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    -- Which dashboard of the run's spec, from 0.
    position int NOT NULL CHECK (position >= 0),
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'rendering', 'done', 'failed')),
    cause text,
    -- What the page turned out to be: title, resolved range, variables; verdict; milliseconds.
    -- json, not jsonb: read whole and never searched, and its order is the order of the stages.
    facts json NOT NULL DEFAULT '{}',
    verdict json,
    timings json NOT NULL DEFAULT '{}',
    attempts int NOT NULL DEFAULT 0,
    UNIQUE (run_id, position),
    CHECK (state <> 'failed' OR cause IS NOT NULL),
    CHECK (state <> 'done' OR verdict IS NOT NULL)
);

CREATE TABLE document (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    -- Set for the raw output of one capture, which assembly joins; such a part is not shown.
    capture_id bigint REFERENCES capture ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('pdf', 'image', 'csv')),
    name text NOT NULL,
    media_type text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    content bytea NOT NULL
);

-- Compressed formats: TOAST compression would cost time and win nothing.
ALTER TABLE document ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX document_by_run ON document (run_id);
CREATE INDEX document_by_capture ON document (capture_id);

CREATE TABLE delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    recipient text NOT NULL,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'dot', 'sent', 'retry', 'failed', 'unknown')),
    attempts int NOT NULL DEFAULT 0,
    message_id text NOT NULL,
    smtp_code int,
    cause text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    UNIQUE (run_id, recipient),
    CHECK ((state IN ('sent', 'failed', 'unknown')) = (finished_at IS NOT NULL)),
    CHECK (state NOT IN ('retry', 'failed', 'unknown') OR cause IS NOT NULL)
);

-- What has to be done next: the outbox, the lease and the retry clock of one step, in one row.
-- A worker takes it by compare-and-set and deletes it in the transaction that stores the result,
-- so a message may be lost or doubled at will, and a worker whose lease ran out stores nothing.
CREATE TABLE task (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('render', 'assemble', 'deliver')),
    run_id bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    capture_id bigint UNIQUE REFERENCES capture ON DELETE CASCADE,
    delivery_id bigint UNIQUE REFERENCES delivery ON DELETE CASCADE,
    lane text NOT NULL CHECK (lane IN ('interactive', 'scheduled')),
    attempt int NOT NULL DEFAULT 0,
    -- Nobody may take it before.
    not_before timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner text,
    lease_until timestamptz,
    -- When beat rings for it, unless it was taken by then: soon where whoever added it did not,
    -- later and later while the messages that went out may be waiting in a long line.
    ring_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '2 seconds',
    rings int NOT NULL DEFAULT 0,
    CHECK ((kind = 'render') = (capture_id IS NOT NULL)),
    CHECK ((kind = 'deliver') = (delivery_id IS NOT NULL)),
    CHECK ((owner IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX task_one_assembly ON task (run_id) WHERE kind = 'assemble';
CREATE INDEX task_ringing ON task (ring_at) WHERE lease_until IS NULL;
CREATE INDEX task_leased ON task (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX task_by_run ON task (run_id);
