-- Organisations are kept apart by the database: in a transaction of the role `broadsheet_org`,
-- which the API takes on for each caller, rows of other organisations than `broadsheet.org` do not
-- exist. Without that setting the statement fails. The owner of the tables sees all: workers,
-- beats and the command line serve every organisation.

-- All at once and first, in the order in which processes take them.
LOCK TABLE report, run, capture, run_capture, document, delivery, task, resolution,
    report_settings, api_token IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'broadsheet_org') THEN
        CREATE ROLE broadsheet_org NOLOGIN;
    END IF;
EXCEPTION
    -- Another database of this server was migrated at the same time.
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'The role broadsheet_org, which keeps organisations apart, is missing, and %I may not '
            'make it. Have an administrator of Postgres run: CREATE ROLE broadsheet_org NOLOGIN; '
            'GRANT broadsheet_org TO %I;', current_user, current_user);
END $$;

-- From Postgres 16 on, who makes a role may administer it, and not yet take it on. So it is tried.
DO $$
BEGIN
    BEGIN
        SET LOCAL ROLE broadsheet_org;
    EXCEPTION
        WHEN insufficient_privilege THEN
            EXECUTE format('GRANT broadsheet_org TO %I', current_user);
            SET LOCAL ROLE broadsheet_org;
    END;
    SET LOCAL ROLE NONE;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            '%I may not take on the role broadsheet_org. Have an administrator of Postgres run: '
            'GRANT broadsheet_org TO %I;', current_user, current_user);
END $$;

-- Who did what. Kept for as long as the settings say.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- "token:4", "user:3", "service-account:7" of Grafana, "terminal:name", "link".
    who text NOT NULL CHECK (who <> ''),
    -- What that was called then.
    name text NOT NULL,
    address text,
    action text NOT NULL CHECK (action <> ''),
    -- What it was done to; nothing refers to it, since a record outlives its object.
    report_id bigint,
    run_id bigint,
    detail jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_by_org ON audit (org_id, id);

-- Who asked for a run, as in `audit.who`; `requested_by` is of earlier releases.
ALTER TABLE run ADD COLUMN asked_by text;

-- Callers by Grafana's own credentials have no token of ours.
ALTER TABLE resolution ADD CHECK (token_id IS NULL OR through = 'api');
DO $$
DECLARE rule text;
BEGIN
    FOR rule IN
        SELECT conname FROM pg_constraint
         WHERE conrelid = 'resolution'::regclass AND contype = 'c'
           AND pg_get_constraintdef(oid) LIKE '%(token_id IS NOT NULL)%'
    LOOP
        EXECUTE format('ALTER TABLE resolution DROP CONSTRAINT %I', rule);
    END LOOP;
END $$;

DO $$
BEGIN
    IF NOT has_schema_privilege('broadsheet_org', current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO broadsheet_org', current_schema());
    END IF;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON report, report_settings, api_token, run, capture,
    run_capture, document, delivery, task, resolution TO broadsheet_org;
GRANT SELECT, INSERT ON audit TO broadsheet_org;
GRANT SELECT ON mail_server TO broadsheet_org;

ALTER TABLE report ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE run ENABLE ROW LEVEL SECURITY;
ALTER TABLE capture ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE run_capture ENABLE ROW LEVEL SECURITY;
ALTER TABLE document ENABLE ROW LEVEL SECURITY;
ALTER TABLE delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
ALTER TABLE resolution ENABLE ROW LEVEL SECURITY;

CREATE POLICY of_org ON report TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
CREATE POLICY of_org ON report_settings TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
CREATE POLICY of_org ON api_token TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
CREATE POLICY of_org ON run TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
CREATE POLICY of_org ON capture TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
CREATE POLICY of_org ON audit TO broadsheet_org
    USING (org_id = current_setting('broadsheet.org')::bigint);
-- What has no organisation of its own is its run's or its capture's, whose policies hold in here.
CREATE POLICY of_org ON run_capture TO broadsheet_org
    USING (EXISTS (SELECT FROM run WHERE run.id = run_id)
       AND EXISTS (SELECT FROM capture WHERE capture.id = capture_id));
CREATE POLICY of_org ON document TO broadsheet_org
    USING (EXISTS (SELECT FROM run WHERE run.id = run_id)
        OR EXISTS (SELECT FROM capture WHERE capture.id = capture_id));
CREATE POLICY of_org ON delivery TO broadsheet_org
    USING (EXISTS (SELECT FROM run WHERE run.id = run_id));
CREATE POLICY of_org ON task TO broadsheet_org
    USING (EXISTS (SELECT FROM run WHERE run.id = run_id)
        OR EXISTS (SELECT FROM capture WHERE capture.id = capture_id));
CREATE POLICY of_org ON resolution TO broadsheet_org
    USING (EXISTS (SELECT FROM delivery WHERE delivery.id = delivery_id));

-- Under a policy no index can be searched for `@>`, which might tell of rows that are not to be
-- seen; so this one looks as the owner, in the caller's organisation only.
CREATE FUNCTION report_ids_of_dashboard(wanted text) RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    AS $$
        SELECT report.id FROM report
         WHERE org_id = current_setting('broadsheet.org')::bigint
           AND dashboards @> jsonb_build_array(
               jsonb_build_object('dashboard', jsonb_build_object('uid', wanted)))
    $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION report_ids_of_dashboard SET search_path = %I, pg_temp',
        current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION report_ids_of_dashboard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION report_ids_of_dashboard TO broadsheet_org;
