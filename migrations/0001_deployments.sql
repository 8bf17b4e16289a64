-- What is desired, what was attempted, what was observed: three tables that are never merged into one word.

CREATE TABLE deployments (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  generation counter NOT NULL,
  desired text NOT NULL CONSTRAINT deployments_desired CHECK (desired IN ('running', 'stopped', 'absent')),
  reconcile text NOT NULL CONSTRAINT deployments_reconcile CHECK (reconcile IN ('auto', 'report')),
  placement jsonb NOT NULL,
  status text NOT NULL DEFAULT 'pending' CONSTRAINT deployments_status
    CHECK (status IN ('pending', 'deploying', 'active', 'degraded', 'failed', 'tearing_down', 'torn_down', 'teardown_failed')),
  last_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  version counter NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX deployments_live_name ON deployments (name) WHERE deleted_at IS NULL;

CREATE TABLE deployment_generations (
  deployment_id uuid NOT NULL REFERENCES deployments (id),
  generation counter NOT NULL,
  spec jsonb NOT NULL,
  spec_hash text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (deployment_id, generation)
);

CREATE TABLE placements (
  id uuid PRIMARY KEY,
  deployment_id uuid NOT NULL REFERENCES deployments (id),
  host_id uuid NOT NULL REFERENCES hosts (id),
  desired text NOT NULL CONSTRAINT placements_desired CHECK (desired IN ('running', 'stopped', 'absent')),
  epoch counter NOT NULL,
  generation counter NOT NULL,
  applied_generation counter,
  reconcile_attempts integer NOT NULL DEFAULT 0,
  reconcile_not_before timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  removed_at timestamptz,
  version counter NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX placements_once_per_host ON placements (deployment_id, host_id) WHERE removed_at IS NULL;
CREATE INDEX placements_by_deployment ON placements (deployment_id, id);
CREATE INDEX placements_by_host ON placements (host_id, id) WHERE removed_at IS NULL;

-- What the owning host said of a placement when it last said something new. When it was last said is the host's
-- `observed_at`: a repeated list says the same again and costs no write here.
CREATE TABLE observed (
  placement_id uuid PRIMARY KEY REFERENCES placements (id),
  host_id uuid NOT NULL REFERENCES hosts (id),
  state text NOT NULL CONSTRAINT observed_state CHECK (state IN
    ('unknown', 'pending', 'deploying', 'running', 'degraded', 'failed', 'stopped', 'tearing_down', 'teardown_failed', 'absent')),
  generation counter NOT NULL,
  epoch counter NOT NULL,
  spec_hash text NOT NULL,
  components jsonb NOT NULL,
  changed_at timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE lifecycle (
  id uuid PRIMARY KEY,
  placement_id uuid NOT NULL REFERENCES placements (id),
  deployment_id uuid NOT NULL REFERENCES deployments (id),
  deployment text NOT NULL,
  host_id uuid NOT NULL REFERENCES hosts (id),
  operation text NOT NULL CONSTRAINT lifecycle_operation CHECK (operation IN ('deploy', 'mutate', 'teardown')),
  status text NOT NULL DEFAULT 'pending' CONSTRAINT lifecycle_status
    CHECK (status IN ('pending', 'running', 'lost', 'succeeded', 'failed', 'cancelled', 'superseded')),
  phase text NOT NULL DEFAULT 'queued' CONSTRAINT lifecycle_phase CHECK (phase IN ('queued', 'sent', 'accepted', 'working')),
  generation counter NOT NULL,
  base_generation counter,
  epoch counter NOT NULL,
  timeout_s integer NOT NULL,
  dispatch_deadline timestamptz NOT NULL,
  dispatch_attempts integer NOT NULL DEFAULT 0,
  next_dispatch_at timestamptz NOT NULL DEFAULT now(),
  claim_expires_at timestamptz,
  sent_at timestamptz,
  accepted_op_seq counter,
  accepted_boot_id text,
  cancel_requested_at timestamptz,
  cancel_reason text CONSTRAINT lifecycle_cancel_reason CHECK (cancel_reason IN ('operator', 'timeout', 'absent', 'dispatch_deadline')),
  failure_code text CONSTRAINT lifecycle_failure_code
    CHECK (failure_code IN ('dispatch_failed', 'agent_error', 'interrupted', 'host_lost', 'timeout', 'rejected', 'swept_unknown')),
  error text,
  because text,
  steps jsonb NOT NULL DEFAULT '[]',
  retry_of uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  running_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  agent_completed_at timestamptz,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT lifecycle_failed_has_code CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
  CONSTRAINT lifecycle_terminal_has_end
    CHECK ((status IN ('succeeded', 'failed', 'cancelled', 'superseded')) = (completed_at IS NOT NULL)),
  CONSTRAINT lifecycle_cancel_whole CHECK ((cancel_reason IS NULL) = (cancel_requested_at IS NULL)),
  CONSTRAINT lifecycle_sent_when CHECK (phase = 'queued' OR status <> 'pending' OR sent_at IS NOT NULL)
) WITH (fillfactor = 70);
-- The rule that two requests cannot both win: one open row for a placement.
CREATE UNIQUE INDEX lifecycle_one_open ON lifecycle (placement_id) WHERE status IN ('pending', 'running', 'lost');
CREATE INDEX lifecycle_open ON lifecycle (id) WHERE status IN ('pending', 'running', 'lost');
CREATE INDEX lifecycle_open_by_host ON lifecycle (host_id, id) WHERE status IN ('pending', 'running', 'lost');
CREATE INDEX lifecycle_due ON lifecycle (next_dispatch_at) WHERE status = 'pending';
CREATE INDEX lifecycle_by_placement ON lifecycle (placement_id, id);
CREATE INDEX lifecycle_by_deployment ON lifecycle (deployment_id, id);
CREATE INDEX lifecycle_by_host ON lifecycle (host_id, id);

-- A row that ended is history. Not a convention: no statement of ours, and no hand at a console, changes it.
CREATE FUNCTION freeze_terminal_lifecycle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'lifecycle row % is terminal', OLD.id USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'lifecycle_terminal_frozen';
END $$;
CREATE TRIGGER lifecycle_terminal_frozen BEFORE UPDATE ON lifecycle
  FOR EACH ROW WHEN (OLD.status IN ('succeeded', 'failed', 'cancelled', 'superseded'))
  EXECUTE FUNCTION freeze_terminal_lifecycle();

-- A signal wakes and never informs: the payload is the topic, nothing else.
CREATE FUNCTION notify_topic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('skep', TG_ARGV[0]);
  RETURN NULL;
END $$;
CREATE TRIGGER lifecycle_notify AFTER INSERT ON lifecycle FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('lifecycle');
