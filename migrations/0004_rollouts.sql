-- Changes in place go through a deployment's placements wave by wave. Everything a rollout knows is here, so that any
-- master can go on where another was killed.

ALTER TABLE deployments ADD COLUMN rollout jsonb NOT NULL DEFAULT '{}';

CREATE TABLE rollouts (
  id uuid PRIMARY KEY,
  deployment_id uuid NOT NULL REFERENCES deployments (id),
  deployment text NOT NULL,
  action text NOT NULL CONSTRAINT rollouts_action CHECK (action IN ('deploy', 'mutate', 'redeploy', 'rollback')),
  status text NOT NULL CONSTRAINT rollouts_status
    CHECK (status IN ('running', 'paused', 'rolling_back', 'succeeded', 'failed', 'rolled_back', 'superseded')),
  generation counter NOT NULL,
  desired text NOT NULL CONSTRAINT rollouts_desired CHECK (desired IN ('running', 'stopped')),
  base_generation counter,
  base_desired text NOT NULL CONSTRAINT rollouts_base_desired CHECK (base_desired IN ('running', 'stopped')),
  rollback_generation counter,
  policy jsonb NOT NULL,
  components jsonb,
  patched_generation counter,
  whole boolean NOT NULL,
  timeout_s integer,
  wave integer NOT NULL,
  promoted boolean NOT NULL DEFAULT false,
  members jsonb NOT NULL,
  because text NOT NULL,
  progress_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT rollouts_ended_has_end
    CHECK ((status IN ('succeeded', 'failed', 'rolled_back', 'superseded')) = (completed_at IS NOT NULL)),
  CONSTRAINT rollouts_back_to_something CHECK (rollback_generation IS NULL OR base_generation IS NOT NULL)
);
-- Two releases of one deployment would each see the other's placements as its own failures.
CREATE UNIQUE INDEX rollouts_one_open ON rollouts (deployment_id) WHERE status IN ('running', 'paused', 'rolling_back');
CREATE INDEX rollouts_by_deployment ON rollouts (deployment_id, id);
CREATE TRIGGER rollouts_notify AFTER INSERT OR UPDATE ON rollouts FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('rollouts');

-- A row that a rollout stopped on its way back is nobody's decision against trying again.
ALTER TABLE lifecycle
  DROP CONSTRAINT lifecycle_cancel_reason,
  ADD CONSTRAINT lifecycle_cancel_reason CHECK (cancel_reason IN ('operator', 'timeout', 'absent', 'dispatch_deadline', 'rollout'));
