-- What masters see of hosts over the network. It never touches what hosts say of themselves, and nothing that judges
-- silence reads it.
CREATE TABLE host_reachability (
  host_id uuid PRIMARY KEY REFERENCES hosts (id),
  state text NOT NULL DEFAULT 'unknown' CONSTRAINT host_reachability_state CHECK (state IN ('unknown', 'reachable', 'unreachable')),
  consecutive_failures counter NOT NULL DEFAULT 0,
  consecutive_successes counter NOT NULL DEFAULT 0,
  changed_at timestamptz,
  last_probe_at timestamptz,
  last_ok_at timestamptz,
  last_error text,
  transitions jsonb NOT NULL DEFAULT '[]',
  flapping boolean NOT NULL DEFAULT false,
  due_at timestamptz NOT NULL DEFAULT now(),
  version counter NOT NULL DEFAULT 1
) WITH (fillfactor = 70);
-- Probes are claimed by the masters in the order in which they are due.
CREATE INDEX host_reachability_due ON host_reachability (due_at);
INSERT INTO host_reachability (host_id) SELECT id FROM hosts WHERE status <> 'decommissioned';

-- Breakers live in each master's memory; an operator's reset reaches all of them with the host's record.
ALTER TABLE hosts ADD COLUMN breaker_resets counter NOT NULL DEFAULT 0;
