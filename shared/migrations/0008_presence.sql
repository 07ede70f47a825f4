-- Which processes are there: each writes its row every few seconds, and beat forgets old ones.
CREATE TABLE process (
    -- "host:pid", with the role, since a host may run two in containers of one pid each.
    name text PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('api', 'beat', 'worker')),
    -- What a worker's child listens to; each child does one task at a time.
    queues text[] NOT NULL DEFAULT '{}',
    version text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What it says of itself: a beat's last ticks, a worker's browser.
    detail jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

-- Endings that are already counted: `tally` has those up to a moment that no transaction under way
-- can still come before, and whoever asks adds those since. So nobody counts all that ever was.
CREATE TABLE tally (
    name text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    number bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (name, kind, state)
);
CREATE TABLE tallied (
    name text PRIMARY KEY,
    until timestamptz NOT NULL
);

CREATE INDEX run_finished ON run (finished_at) INCLUDE (kind, state) WHERE finished_at IS NOT NULL;
CREATE INDEX delivery_finished ON delivery (finished_at) INCLUDE (state)
    WHERE finished_at IS NOT NULL;

GRANT SELECT ON process TO broadsheet_org;
