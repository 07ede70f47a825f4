-- transactional: false
--
-- What Prometheus counts: a notch for each thing that happened, made in the transaction in which it
-- did. Beat adds notches up in `total` and deletes them. Rows are only ever added by who works, so
-- nobody waits for anybody, and what was counted stays counted when a run is taken up again.
-- `tally` and `tallied`, of the release before, are left to its beats.
--
-- Each statement is a transaction of its own and may be repeated: who works locks runs, captures and
-- deliveries in one order or another, so only one of the tables may be held here at a time.
CREATE TABLE IF NOT EXISTS notch (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    kind text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT '',
    number bigint NOT NULL DEFAULT 1 CHECK (number > 0),
    -- How long it took, where that is what is counted.
    seconds float8 CHECK (seconds >= 0)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE IF NOT EXISTS total (
    name text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    -- The bucket of a histogram; of a plain count, the one of everything.
    le float8 NOT NULL DEFAULT 'Infinity',
    number bigint NOT NULL,
    seconds float8 NOT NULL DEFAULT 0,
    PRIMARY KEY (name, kind, state, le)
) WITH (fillfactor = 50);

-- Triggers and not the program: the release before, which works beside this one during an upgrade,
-- and whoever mends a row by hand are counted as well. They act as the owner of the tables, since
-- `broadsheet_org` may not write here.
CREATE OR REPLACE FUNCTION notch_new_runs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO notch (name, state, number)
    SELECT 'slots', state, count(*) FROM made WHERE kind = 'schedule' GROUP BY state;
    INSERT INTO notch (name, kind, state, number)
    SELECT 'runs', kind, state, count(*) FROM made WHERE finished_at IS NOT NULL
     GROUP BY kind, state;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION notch_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NEW.state = 'rendering' THEN
        INSERT INTO notch (name, kind, seconds) VALUES ('run_lag', NEW.kind,
            greatest(0, extract(epoch FROM NEW.started_at - NEW.not_before)));
        RETURN NULL;
    END IF;
    INSERT INTO notch (name, kind, state) VALUES ('runs', NEW.kind, NEW.state);
    -- Resolving a mail of a run that has ended changes its state, and not how long it took.
    IF OLD.finished_at IS NULL AND NEW.started_at IS NOT NULL
       AND NEW.state IN ('sent', 'partial', 'failed') THEN
        INSERT INTO notch (name, kind, seconds) VALUES ('run_duration', NEW.kind,
            greatest(0, extract(epoch FROM NEW.finished_at - NEW.started_at)));
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION notch_capture() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO notch (name, state) VALUES ('captures', CASE
        WHEN NEW.state = 'done' THEN
            CASE WHEN (NEW.verdict->>'complete')::boolean THEN 'complete' ELSE 'incomplete' END
        WHEN EXISTS (
            SELECT FROM run_capture JOIN run ON run.id = run_capture.run_id
             WHERE run_capture.capture_id = NEW.id AND run.state IN ('queued', 'rendering')
        ) THEN 'failed'
        -- Its runs were cancelled, or ended for another reason.
        ELSE 'unwanted' END);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION notch_delivery() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO notch (name, state) VALUES ('deliveries', NEW.state);
    RETURN NULL;
END $$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['notch_new_runs', 'notch_run', 'notch_capture', 'notch_delivery']
    LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %I FROM PUBLIC', name);
    END LOOP;
END $$;

-- With its triggers a table's endings so far are taken over: under their lock nothing ends.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger
                WHERE tgname = 'notch_run' AND tgrelid = 'run'::regclass) THEN
        RETURN;
    END IF;
    CREATE TRIGGER notch_new_runs AFTER INSERT ON run
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION notch_new_runs();
    CREATE TRIGGER notch_run AFTER UPDATE OF state ON run FOR EACH ROW
        WHEN (OLD.state <> NEW.state AND (NEW.finished_at IS NOT NULL OR NEW.state = 'rendering'))
        EXECUTE FUNCTION notch_run();
    INSERT INTO total (name, kind, state, number)
    SELECT 'runs', kind, state, sum(number) FROM (
        SELECT kind, state, number FROM tally WHERE name = 'runs'
        UNION ALL
        SELECT kind, state, count(*) FROM run
         WHERE finished_at > coalesce(
             (SELECT until FROM tallied WHERE name = 'runs'), '-infinity')
         GROUP BY kind, state
    ) AS so_far GROUP BY kind, state;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger
                WHERE tgname = 'notch_delivery' AND tgrelid = 'delivery'::regclass) THEN
        RETURN;
    END IF;
    CREATE TRIGGER notch_delivery AFTER UPDATE OF state ON delivery FOR EACH ROW
        WHEN (OLD.state <> NEW.state AND NEW.finished_at IS NOT NULL)
        EXECUTE FUNCTION notch_delivery();
    INSERT INTO total (name, kind, state, number)
    SELECT 'deliveries', '', state, sum(number) FROM (
        SELECT state, number FROM tally WHERE name = 'deliveries'
        UNION ALL
        SELECT state, count(*) FROM delivery
         WHERE finished_at > coalesce(
             (SELECT until FROM tallied WHERE name = 'deliveries'), '-infinity')
         GROUP BY state
    ) AS so_far GROUP BY state;
END $$;

CREATE OR REPLACE TRIGGER notch_capture AFTER UPDATE OF state ON capture FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NEW.state IN ('done', 'failed'))
    EXECUTE FUNCTION notch_capture();
