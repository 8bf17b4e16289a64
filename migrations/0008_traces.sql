-- The span that opened a row. Another master that goes on with it, and the agent, continue that trace; nothing is decided by it.
ALTER TABLE lifecycle ADD COLUMN traceparent text
  CONSTRAINT lifecycle_traceparent CHECK (traceparent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$');
