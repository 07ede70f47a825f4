-- What people wait for is rung for again ahead of however much is scheduled, and found by this.
CREATE INDEX task_interactive ON task (kind, ring_at)
    WHERE lease_until IS NULL AND lane = 'interactive';
