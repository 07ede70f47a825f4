-- The span that a run began with, as W3C's traceparent: messages carry ids only, so workers go on
-- with the trace from here. Null where traces were off, or an earlier release made the run.
ALTER TABLE run ADD COLUMN traceparent text;
