-- Append-only ledgers, keys of repeated requests, and operators' tokens.

-- `xid` makes a cursor that no later commit can slip in front of: an id is drawn before its transaction commits,
-- so ids alone become visible out of order. No foreign keys: history outlives what it is about.
CREATE TABLE events (
  id bigserial PRIMARY KEY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind text NOT NULL,
  severity text NOT NULL CONSTRAINT events_severity CHECK (severity IN ('info', 'warning', 'error')),
  message text NOT NULL,
  host_id uuid,
  deployment_id uuid,
  placement_id uuid,
  lifecycle_id uuid,
  data jsonb
);
CREATE INDEX events_in_order ON events (xid, id);
CREATE INDEX events_by_host ON events (host_id, id) WHERE host_id IS NOT NULL;
CREATE INDEX events_by_deployment ON events (deployment_id, id) WHERE deployment_id IS NOT NULL;
CREATE TRIGGER events_notify AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('events');

CREATE TABLE audit_log (
  id bigserial PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  action text NOT NULL,
  subject text NOT NULL,
  outcome text NOT NULL CONSTRAINT audit_log_outcome CHECK (outcome IN ('allowed', 'denied')),
  request_id text,
  detail jsonb
);

CREATE TABLE idempotency_keys (
  scope text NOT NULL,
  key text NOT NULL,
  body_hash text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  status integer,
  body jsonb,
  PRIMARY KEY (scope, key),
  CONSTRAINT idempotency_keys_whole CHECK ((completed_at IS NULL) = (status IS NULL))
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE api_tokens (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  role text NOT NULL CONSTRAINT api_tokens_role CHECK (role IN ('viewer', 'operator', 'admin')),
  secret_hash text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);
