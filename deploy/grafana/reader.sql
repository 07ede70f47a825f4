-- The role with which Grafana reads Broadsheet's database, for the dashboard `details.json`:
--
--     psql "$BROADSHEET_DATABASE_URL" -v ON_ERROR_STOP=1 -f deploy/grafana/reader.sql
--     psql "$BROADSHEET_DATABASE_URL" -c '\password broadsheet_reader'
--
-- Run it as the owner of Broadsheet's tables if he may create roles, or else the whole file as a superuser
-- (with the address of the same database); again after an upgrade, which does no harm. The role reads what
-- that dashboard is made of: no recipients, texts, files, tokens or settings. Causes may name an address, and captures have
-- the values of their variables.
--
-- Grafana lets everybody in an organisation of its own ask a data source anything. So put this one where
-- only operators are: it reads the reports of all organisations.
--
-- Rights on columns rather than views, since no later migration trips over them.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'broadsheet_reader') THEN
        CREATE ROLE broadsheet_reader LOGIN CONNECTION LIMIT 10;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO broadsheet_reader', current_database());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO broadsheet_reader', current_schema());
END $$;

-- A dashboard over too long a time gives up before it is in anybody's way.
ALTER ROLE broadsheet_reader SET default_transaction_read_only = on;
ALTER ROLE broadsheet_reader SET statement_timeout = '15s';
ALTER ROLE broadsheet_reader SET idle_in_transaction_session_timeout = '15s';

GRANT SELECT (id, org_id, name, state, next_run_at) ON report TO broadsheet_reader;
GRANT SELECT (id, org_id, report_id, kind, state, cause, complete, scheduled_for, created_at, not_before,
              started_at, rendered_at, finished_at) ON run TO broadsheet_reader;
GRANT SELECT ON run_capture TO broadsheet_reader;
GRANT SELECT (id, org_id, state, cause, spec, verdict, timings, attempts, created_at, started_at)
    ON capture TO broadsheet_reader;
GRANT SELECT (id, run_id, state, attempts, smtp_code, cause, created_at, since, finished_at)
    ON delivery TO broadsheet_reader;

-- Without a policy of its own, no row exists for it.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['report', 'run', 'run_capture', 'capture', 'delivery'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_policies WHERE schemaname = current_schema()
                                 AND tablename = name AND policyname = 'of_reader');
        EXECUTE format('CREATE POLICY of_reader ON %I FOR SELECT TO broadsheet_reader USING (true)', name);
    END LOOP;
END $$;
