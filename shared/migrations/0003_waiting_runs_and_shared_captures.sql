-- A slot becomes a run of one row; its captures are made when it is admitted, a window at a time,
-- so that claiming a hundred thousand is cheap and who goes next is decided here and not in Redis.
-- A capture belongs to an organisation, and any number of its runs may share it.

ALTER TABLE run
    -- Until admission NULL: what is to be made then stands in the report. An edit or the deletion
    -- of the report writes the copy first, so that no run changes half-way.
    ALTER COLUMN spec DROP NOT NULL,
    -- Before this it waits, where its report spreads its slots.
    ADD COLUMN not_before timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What is not rendered by then is of no use; NULL for runs from before there were deadlines.
    ADD COLUMN deadline timestamptz,
    ADD COLUMN admitted_at timestamptz,
    ADD CHECK (spec IS NOT NULL OR report_id IS NOT NULL),
    ADD CHECK (admitted_at IS NULL OR spec IS NOT NULL),
    ADD CHECK (state NOT IN ('rendering', 'delivering') OR admitted_at IS NOT NULL) NOT VALID;

-- A notice is the mail that tells a report's owner of a slot that did not go out.
ALTER TABLE run DROP CONSTRAINT run_kind_check;
ALTER TABLE run ADD CONSTRAINT run_kind_check
    CHECK (kind IN ('schedule', 'api', 'test', 'export', 'notice'));

UPDATE run SET admitted_at = created_at;

CREATE INDEX run_waiting ON run (org_id, not_before, id)
    WHERE state = 'queued' AND admitted_at IS NULL;
CREATE INDEX run_not_sent ON run (finished_at)
    WHERE kind = 'schedule' AND state IN ('failed', 'partial', 'missed', 'skipped');
-- For whoever asks what went wrong, among all that went well.
CREATE INDEX run_amiss ON run (org_id, id)
    WHERE state IN ('failed', 'partial', 'missed', 'skipped');
DROP INDEX run_requested;
CREATE INDEX run_requested ON run (org_id)
    WHERE kind IN ('api', 'test', 'export') AND state IN ('queued', 'rendering', 'delivering');
CREATE INDEX run_unrendered ON run (deadline) WHERE state IN ('queued', 'rendering');

ALTER TABLE capture
    ADD COLUMN org_id bigint,
    -- Everything that shapes it, frozen; and a digest of that: equal ones are rendered once.
    ADD COLUMN spec jsonb,
    ADD COLUMN key text,
    -- When the attempt under way began; a run may share only what began after its slot.
    ADD COLUMN started_at timestamptz,
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp();

UPDATE capture SET
    org_id = run.org_id,
    key = 'of an earlier release ' || capture.id,
    spec = jsonb_build_object(
        'dashboard', run.spec->'dashboards'->capture.position,
        'at', to_char(run.scheduled_for AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'formats', (run.spec->'formats') - 'csv',
        'tables', run.spec->'formats' ? 'csv'
            OR coalesce((run.spec->>'table_appendix')::boolean, false),
        'orientation', coalesce(run.spec->>'orientation', 'portrait'),
        'layout', coalesce(run.spec->>'layout', 'grid'),
        'scale_factor', coalesce((run.spec->>'scale_factor')::int, 0),
        'time_zone', coalesce(run.spec->>'time_zone', 'UTC'),
        'content_time_zone', coalesce(run.spec->>'content_time_zone', ''),
        'raw', coalesce((run.spec->>'csv_raw')::boolean, false),
        'render_timeout', coalesce((run.spec->>'render_timeout')::int, 0),
        'on_incomplete', coalesce(run.spec->>'on_incomplete', 'deliver')
    )
    FROM run WHERE run.id = capture.run_id;

CREATE TABLE run_capture (
    run_id bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    -- Which dashboard of the run's spec, from 0.
    position int NOT NULL CHECK (position >= 0),
    capture_id bigint NOT NULL REFERENCES capture,
    PRIMARY KEY (run_id, position)
);

INSERT INTO run_capture (run_id, position, capture_id) SELECT run_id, position, id FROM capture;

CREATE INDEX run_capture_by_capture ON run_capture (capture_id);

-- Raw output belongs to its capture, documents to their run.
ALTER TABLE document ALTER COLUMN run_id DROP NOT NULL;
UPDATE document SET run_id = NULL WHERE capture_id IS NOT NULL;
ALTER TABLE document ADD CHECK ((run_id IS NULL) = (capture_id IS NOT NULL));
DROP INDEX document_by_capture;
CREATE INDEX document_by_capture ON document (capture_id) WHERE capture_id IS NOT NULL;

ALTER TABLE task ALTER COLUMN run_id DROP NOT NULL;
UPDATE task SET run_id = NULL WHERE kind = 'render';
ALTER TABLE task ADD CHECK ((kind = 'render') = (run_id IS NULL));
DROP INDEX task_ringing;
CREATE INDEX task_ringing ON task (kind, ring_at) WHERE lease_until IS NULL;
-- Messages that are out; the window counts them.
CREATE INDEX task_rung ON task (kind) WHERE lease_until IS NULL AND rings > 0;

ALTER TABLE capture
    DROP COLUMN run_id,
    DROP COLUMN position,
    ALTER COLUMN org_id SET NOT NULL,
    ALTER COLUMN spec SET NOT NULL,
    ALTER COLUMN key SET NOT NULL;

CREATE INDEX capture_open ON capture (key) WHERE state IN ('queued', 'rendering');
