-- Logos that were uploaded: of an organisation, drawn anew, under names that nobody guesses.

CREATE TABLE logo_image (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL CHECK (org_id > 0),
    name text NOT NULL UNIQUE CHECK (name ~ '^[0-9a-f]{32}\.png$'),
    sha256 text NOT NULL,
    content bytea NOT NULL CHECK (length(content) BETWEEN 1 AND 1048576),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (org_id, sha256)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON logo_image TO broadsheet_org;
ALTER TABLE logo_image ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_org ON logo_image TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
