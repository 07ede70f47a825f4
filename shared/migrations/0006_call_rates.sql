-- How often each caller has called lately; see shared/rates.py.

-- Unlogged: a crash of the database forgives what was called before it.
CREATE UNLOGGED TABLE call_rate (
    -- What is limited, and whose calls: "calls token:7".
    key text PRIMARY KEY,
    -- When the caller will have its whole share again.
    whole_at timestamptz NOT NULL
);
CREATE INDEX call_rate_whole_at ON call_rate (whole_at);
