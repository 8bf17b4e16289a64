-- Placements that go from one host to another, and hosts that are being emptied. Everything either knows is here, so
-- that any master can go on where another was killed.

CREATE TABLE drains (
  id uuid PRIMARY KEY,
  host_id uuid NOT NULL REFERENCES hosts (id),
  host text NOT NULL,
  status text NOT NULL CONSTRAINT drains_status CHECK (status IN ('draining', 'blocked', 'drained', 'cancelled')),
  stop_pinned boolean NOT NULL,
  because text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT drains_ended_has_end CHECK ((status IN ('drained', 'cancelled')) = (completed_at IS NOT NULL))
);
CREATE UNIQUE INDEX drains_one_open ON drains (host_id) WHERE status IN ('draining', 'blocked');
CREATE INDEX drains_by_host ON drains (host_id, id);
CREATE TRIGGER drains_notify AFTER INSERT OR UPDATE ON drains FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('moves');

CREATE TABLE moves (
  id uuid PRIMARY KEY,
  deployment_id uuid NOT NULL REFERENCES deployments (id),
  deployment text NOT NULL,
  reason text NOT NULL CONSTRAINT moves_reason CHECK (reason IN ('drain', 'rebalance')),
  drain_id uuid REFERENCES drains (id),
  status text NOT NULL CONSTRAINT moves_status
    CHECK (status IN ('pending', 'starting', 'stopping', 'returning', 'succeeded', 'failed', 'cancelled')),
  from_placement_id uuid NOT NULL REFERENCES placements (id),
  from_host_id uuid NOT NULL REFERENCES hosts (id),
  from_host text NOT NULL,
  to_host_id uuid NOT NULL REFERENCES hosts (id),
  to_host text NOT NULL,
  to_placement_id uuid REFERENCES placements (id),
  desired text NOT NULL CONSTRAINT moves_desired CHECK (desired IN ('running', 'stopped')),
  break_first boolean NOT NULL,
  cancel_requested boolean NOT NULL DEFAULT false,
  slot integer,
  because text NOT NULL,
  progress_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT moves_ended_has_end CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
  CONSTRAINT moves_active_has_slot CHECK ((status IN ('starting', 'stopping', 'returning')) = (slot IS NOT NULL))
);
-- A placement goes to one host at a time.
CREATE UNIQUE INDEX moves_one_open ON moves (from_placement_id) WHERE status IN ('pending', 'starting', 'stopping', 'returning');
-- The fleet's limit, whichever masters begin moves at the same moment: there are so many slots and no more.
CREATE UNIQUE INDEX moves_one_per_slot ON moves (slot);
CREATE INDEX moves_by_deployment ON moves (deployment_id, id);
CREATE INDEX moves_by_drain ON moves (drain_id) WHERE drain_id IS NOT NULL;
CREATE TRIGGER moves_notify AFTER INSERT OR UPDATE ON moves FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('moves');
