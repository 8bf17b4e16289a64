-- Alerts are made of events by whoever moves the cursor; what is to be told goes into the deliveries in that same
-- transaction, so that a master killed at any instant neither loses a notice nor makes it twice.

CREATE TABLE alert_cursor (
  one boolean PRIMARY KEY DEFAULT true CONSTRAINT alert_cursor_one_row CHECK (one),
  cursor text NOT NULL,
  version counter NOT NULL DEFAULT 1
);

-- No foreign keys to what an alert is about: history outlives it.
CREATE TABLE alerts (
  id uuid PRIMARY KEY,
  key text NOT NULL,
  rule text NOT NULL,
  kind text NOT NULL,
  severity text NOT NULL CONSTRAINT alerts_severity CHECK (severity IN ('info', 'warning', 'error')),
  state text NOT NULL CONSTRAINT alerts_state CHECK (state IN ('firing', 'resolved')),
  title text NOT NULL,
  message text NOT NULL,
  next text NOT NULL,
  host_id uuid,
  host text,
  deployment_id uuid,
  deployment text,
  placement_id uuid,
  lifecycle_id uuid,
  count counter NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  resolved_at timestamptz,
  resolved_because text,
  told boolean NOT NULL,
  notified_at timestamptz,
  notify_at timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT alerts_resolved_has_end CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
  CONSTRAINT alerts_acknowledged_while_firing CHECK (acknowledged_at IS NULL OR state = 'firing'),
  CONSTRAINT alerts_acknowledged_by_somebody CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
-- The same thing does not fire twice.
CREATE UNIQUE INDEX alerts_one_firing ON alerts (key) WHERE state = 'firing';
CREATE INDEX alerts_by_key ON alerts (key, last_at);
CREATE INDEX alerts_firing_by_host ON alerts (host_id) WHERE state = 'firing';
CREATE INDEX alerts_firing_by_deployment ON alerts (deployment_id) WHERE state = 'firing';
CREATE INDEX alerts_notice_due ON alerts (notify_at) WHERE notify_at IS NOT NULL;
CREATE INDEX alerts_by_end ON alerts (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE webhooks (
  id uuid PRIMARY KEY,
  name text NOT NULL CONSTRAINT webhooks_name_unique UNIQUE,
  url text NOT NULL,
  filter jsonb NOT NULL,
  secret text NOT NULL,
  enabled boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  version counter NOT NULL DEFAULT 1
);

CREATE TABLE webhook_deliveries (
  id uuid PRIMARY KEY,
  webhook_id uuid NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  alert_id uuid,
  body jsonb NOT NULL,
  status text NOT NULL DEFAULT 'pending' CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'dead')),
  attempt integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  claim_expires_at timestamptz,
  last_status integer,
  last_error text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  completed_at timestamptz,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT webhook_deliveries_ended_has_end CHECK ((status = 'pending') = (completed_at IS NULL))
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_of_alert ON webhook_deliveries (webhook_id, alert_id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (completed_at) WHERE status = 'delivered';
