-- Mail servers as all mailers see them, what a delivery carries, and who resolved an unknown one.

CREATE TABLE mail_server (
    -- "host:port" of the settings.
    name text PRIMARY KEY,
    -- Connections that failed in a row; from the fifth on nobody connects until `open_until`.
    failures int NOT NULL DEFAULT 0 CHECK (failures >= 0),
    openings int NOT NULL DEFAULT 0 CHECK (openings >= 0),
    open_until timestamptz,
    -- Until then one mailer is trying whether the server is back.
    probe_until timestamptz,
    cause text,
    -- Whether the last failure is one that only other settings will mend.
    configuration boolean NOT NULL DEFAULT false,
    -- The server asked for fewer mails: how often in a row, and until when there are none.
    throttles int NOT NULL DEFAULT 0 CHECK (throttles >= 0),
    quiet_until timestamptz,
    -- When the next mail may go out, where their rate is limited.
    next_at timestamptz,
    -- The largest mail that it takes, as it said last; NULL: it did not say.
    size_limit bigint CHECK (size_limit > 0),
    CHECK ((openings > 0) = (open_until IS NOT NULL)),
    CHECK (openings = 0 OR failures > 0),
    CHECK ((failures > 0) = (cause IS NOT NULL)),
    CHECK (probe_until IS NULL OR open_until IS NOT NULL),
    CHECK (failures > 0 OR NOT configuration),
    CHECK ((throttles > 0) = (quiet_until IS NOT NULL))
) WITH (fillfactor = 50);

-- What signs download links where no BROADSHEET_SECRET_KEY is set. Made once, at the first use.
CREATE TABLE secret (
    name text PRIMARY KEY,
    value bytea NOT NULL CHECK (length(value) >= 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE delivery
    -- Which documents travel in the mail; for the others it has links, or says where they are.
    ADD COLUMN attached text NOT NULL DEFAULT 'all' CHECK (attached IN ('all', 'some', 'none')),
    -- Since when it is tried: it has a day. Later than `created_at` where somebody sent it again.
    ADD COLUMN since timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CHECK (attempts >= 0),
    ADD CHECK (state NOT IN ('sending', 'dot', 'unknown') OR attempts > 0) NOT VALID,
    ADD CHECK (state <> 'sent' OR cause IS NULL) NOT VALID;

UPDATE delivery SET since = created_at;

CREATE INDEX delivery_undelivered ON delivery (state, id) WHERE state <> 'sent';

-- What a person decided of a delivery of which nobody knew whether it arrived.
CREATE TABLE resolution (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id bigint NOT NULL REFERENCES delivery ON DELETE CASCADE,
    -- The attempt that was unknown; resolved once.
    attempt int NOT NULL CHECK (attempt > 0),
    verdict text NOT NULL CHECK (verdict IN ('sent', 'again')),
    -- Why it was unknown.
    cause text NOT NULL,
    through text NOT NULL CHECK (through IN ('api', 'command line')),
    -- The token that was shown, with its name at that time; or the user at the terminal.
    token_id bigint,
    who text NOT NULL CHECK (who <> ''),
    resolved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (delivery_id, attempt),
    CHECK ((through = 'api') = (token_id IS NOT NULL))
);

-- Nothing comes after that.
CREATE UNIQUE INDEX resolution_sent ON resolution (delivery_id) WHERE verdict = 'sent';
