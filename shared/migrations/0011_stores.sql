-- Documents may lie in an S3-compatible store instead of here. Releases before this one read
-- `content` only, so the setting is changed once all processes are of this release; nothing else
-- differs for them.

ALTER TABLE document ADD COLUMN key text;
ALTER TABLE document ALTER COLUMN content DROP NOT NULL;
-- Not looked at for the rows that are there: none of them can break it.
ALTER TABLE document ADD CONSTRAINT document_lies_in_one_store
    CHECK ((content IS NULL) <> (key IS NULL)) NOT VALID;
CREATE UNIQUE INDEX document_by_key ON document (key) WHERE key IS NOT NULL;

-- Objects of the store that no document has: not yet (it is being uploaded), or not any more. The
-- row is there before the object is, and until it is gone for certain.
CREATE TABLE loose_object (
    key text PRIMARY KEY,
    -- When it may be deleted; while it is being uploaded, long after that must have ended.
    due_at timestamptz NOT NULL,
    -- Being deleted: no document can get it any more.
    condemned boolean NOT NULL DEFAULT false
);
CREATE INDEX loose_object_due ON loose_object (due_at);

-- Whoever deletes a document, also by deleting its run or capture, under whatever role.
CREATE FUNCTION loosen_object() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
    BEGIN
        INSERT INTO loose_object (key, due_at) VALUES (OLD.key, clock_timestamp())
            ON CONFLICT (key) DO NOTHING;
        RETURN NULL;
    END
    $$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION loosen_object SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION loosen_object FROM PUBLIC;
CREATE TRIGGER loosen_object AFTER DELETE ON document
    FOR EACH ROW WHEN (OLD.key IS NOT NULL) EXECUTE FUNCTION loosen_object();

-- What documents take, by store, as beat last counted it.
CREATE TABLE stored (
    store text PRIMARY KEY CHECK (store IN ('postgres', 's3')),
    number bigint NOT NULL,
    bytes bigint NOT NULL,
    counted_at timestamptz NOT NULL
);

-- When the database was restored from a backup: what was due before may have gone out already.
CREATE TABLE restored (
    id int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    at timestamptz NOT NULL
);
