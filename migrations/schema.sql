-- What the migrations add up to. Written by packages/store/test/migrations.test.ts (vitest -u); never run, only compared.

-- domains
DOMAIN counter AS bigint CHECK (((VALUE >= 0) AND (VALUE <= '9007199254740991'::bigint)));

-- tables
TABLE alert_cursor
  one boolean NOT NULL DEFAULT true
  cursor text NOT NULL
  version counter NOT NULL DEFAULT 1;
TABLE alerts
  id uuid NOT NULL
  key text NOT NULL
  rule text NOT NULL
  kind text NOT NULL
  severity text NOT NULL
  state text NOT NULL
  title text NOT NULL
  message text NOT NULL
  next text NOT NULL
  host_id uuid
  host text
  deployment_id uuid
  deployment text
  placement_id uuid
  lifecycle_id uuid
  count counter NOT NULL
  first_at timestamp with time zone NOT NULL
  last_at timestamp with time zone NOT NULL
  resolved_at timestamp with time zone
  resolved_because text
  told boolean NOT NULL
  notified_at timestamp with time zone
  notify_at timestamp with time zone
  acknowledged_at timestamp with time zone
  acknowledged_by text
  version counter NOT NULL DEFAULT 1;
TABLE api_tokens
  id uuid NOT NULL
  name text NOT NULL
  role text NOT NULL
  secret_hash text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  expires_at timestamp with time zone NOT NULL
  revoked_at timestamp with time zone;
TABLE audit_log
  id bigint NOT NULL DEFAULT nextval('audit_log_id_seq'::regclass)
  at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  actor text NOT NULL
  action text NOT NULL
  subject text NOT NULL
  outcome text NOT NULL
  request_id text
  detail jsonb;
TABLE cluster_meta
  one boolean NOT NULL DEFAULT true
  lineage uuid NOT NULL
  system_identifier bigint NOT NULL
  pin_version counter NOT NULL DEFAULT 1
  pruned_xid xid8 NOT NULL DEFAULT '0'::xid8
  pruned_id bigint NOT NULL DEFAULT 0
  created_at timestamp with time zone NOT NULL DEFAULT now();
TABLE deployment_generations
  deployment_id uuid NOT NULL
  generation counter NOT NULL
  spec jsonb NOT NULL
  spec_hash text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now();
TABLE deployments
  id uuid NOT NULL
  name text NOT NULL
  generation counter NOT NULL
  desired text NOT NULL
  reconcile text NOT NULL
  placement jsonb NOT NULL
  status text NOT NULL DEFAULT 'pending'::text
  last_error text
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  deleted_at timestamp with time zone
  version counter NOT NULL DEFAULT 1
  rollout jsonb NOT NULL DEFAULT '{}'::jsonb
  failover jsonb NOT NULL DEFAULT '{}'::jsonb;
TABLE drains
  id uuid NOT NULL
  host_id uuid NOT NULL
  host text NOT NULL
  status text NOT NULL
  stop_pinned boolean NOT NULL
  because text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  completed_at timestamp with time zone
  version counter NOT NULL DEFAULT 1;
TABLE enrollment_tokens
  id uuid NOT NULL
  host_id uuid NOT NULL
  secret_hash text NOT NULL
  expires_at timestamp with time zone NOT NULL
  attempts integer NOT NULL DEFAULT 0
  claimed_at timestamp with time zone
  claimed_spki text
  cert_pem text
  burned boolean NOT NULL DEFAULT false
  created_at timestamp with time zone NOT NULL DEFAULT now();
TABLE events
  id bigint NOT NULL DEFAULT nextval('events_id_seq'::regclass)
  xid xid8 NOT NULL DEFAULT pg_current_xact_id()
  at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  kind text NOT NULL
  severity text NOT NULL
  message text NOT NULL
  host_id uuid
  deployment_id uuid
  placement_id uuid
  lifecycle_id uuid
  data jsonb;
TABLE host_certs
  sha256 text NOT NULL
  host_id uuid NOT NULL
  spki_sha256 text NOT NULL
  status text NOT NULL
  not_before timestamp with time zone NOT NULL
  not_after timestamp with time zone NOT NULL
  retire_at timestamp with time zone
  revoked_at timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now();
TABLE host_heartbeats WITH (fillfactor=70)
  host_id uuid NOT NULL
  slot smallint NOT NULL
  changed boolean NOT NULL
  received_at timestamp with time zone NOT NULL
  seq counter NOT NULL
  phase text;
TABLE host_liveness WITH (fillfactor=70)
  host_id uuid NOT NULL
  last_heartbeat_at timestamp with time zone NOT NULL
  snapshot_at timestamp with time zone
  observed_at timestamp with time zone
  seq counter NOT NULL DEFAULT 0
  op_seq counter
  taken boolean NOT NULL
  changed boolean NOT NULL
  boot_id text
  phase text
  snapshot_hash text;
TABLE host_reachability WITH (fillfactor=70)
  host_id uuid NOT NULL
  state text NOT NULL DEFAULT 'unknown'::text
  consecutive_failures counter NOT NULL DEFAULT 0
  consecutive_successes counter NOT NULL DEFAULT 0
  changed_at timestamp with time zone
  last_probe_at timestamp with time zone
  last_ok_at timestamp with time zone
  last_error text
  transitions jsonb NOT NULL DEFAULT '[]'::jsonb
  flapping boolean NOT NULL DEFAULT false
  due_at timestamp with time zone NOT NULL DEFAULT now()
  version counter NOT NULL DEFAULT 1;
TABLE host_reports WITH (fillfactor=70)
  host_id uuid NOT NULL
  boot_id text NOT NULL
  op_seq counter NOT NULL
  received_at timestamp with time zone NOT NULL
  since_seq counter NOT NULL
  job_ids jsonb
  jobs_truncated boolean NOT NULL
  resources jsonb
  capabilities jsonb NOT NULL DEFAULT '[]'::jsonb
  observed_error text
  cert_sha256 text
  cert_not_after timestamp with time zone
  boot jsonb
  orphans jsonb;
TABLE host_sessions
  host_id uuid NOT NULL
  session_epoch counter NOT NULL
  boot_id text NOT NULL
  host_boot_id text NOT NULL
  agent_version text NOT NULL
  agent_url text
  opened_at timestamp with time zone NOT NULL DEFAULT now()
  closed_at timestamp with time zone;
TABLE hosts WITH (fillfactor=70)
  id uuid NOT NULL
  name text NOT NULL
  status text NOT NULL DEFAULT 'pending'::text
  status_because text
  schedulable boolean NOT NULL DEFAULT true
  labels jsonb NOT NULL DEFAULT '{}'::jsonb
  notes text
  address text
  agent_port integer NOT NULL
  agent_url text
  allowed_cidr text
  agent_version text
  session_epoch counter NOT NULL DEFAULT 0
  session_boot_id text
  rotation_wanted boolean NOT NULL DEFAULT false
  last_probe_at timestamp with time zone
  last_probe_ok boolean
  last_probe_error text
  created_at timestamp with time zone NOT NULL DEFAULT now()
  enrolled_at timestamp with time zone
  decommissioned_at timestamp with time zone
  version counter NOT NULL DEFAULT 1
  breaker_resets counter NOT NULL DEFAULT 0;
TABLE idempotency_keys
  scope text NOT NULL
  key text NOT NULL
  body_hash text NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  completed_at timestamp with time zone
  status integer
  body jsonb;
TABLE lifecycle WITH (fillfactor=70)
  id uuid NOT NULL
  placement_id uuid NOT NULL
  deployment_id uuid NOT NULL
  deployment text NOT NULL
  host_id uuid NOT NULL
  operation text NOT NULL
  status text NOT NULL DEFAULT 'pending'::text
  phase text NOT NULL DEFAULT 'queued'::text
  generation counter NOT NULL
  base_generation counter
  epoch counter NOT NULL
  timeout_s integer NOT NULL
  dispatch_deadline timestamp with time zone NOT NULL
  dispatch_attempts integer NOT NULL DEFAULT 0
  next_dispatch_at timestamp with time zone NOT NULL DEFAULT now()
  claim_expires_at timestamp with time zone
  sent_at timestamp with time zone
  accepted_op_seq counter
  accepted_boot_id text
  cancel_requested_at timestamp with time zone
  cancel_reason text
  failure_code text
  error text
  because text
  steps jsonb NOT NULL DEFAULT '[]'::jsonb
  retry_of uuid
  created_at timestamp with time zone NOT NULL DEFAULT now()
  running_at timestamp with time zone
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  completed_at timestamp with time zone
  agent_completed_at timestamp with time zone
  version counter NOT NULL DEFAULT 1
  options jsonb NOT NULL DEFAULT '{}'::jsonb
  progress counter
  progress_at timestamp with time zone
  job_phase text
  traceparent text;
TABLE moves
  id uuid NOT NULL
  deployment_id uuid NOT NULL
  deployment text NOT NULL
  reason text NOT NULL
  drain_id uuid
  status text NOT NULL
  from_placement_id uuid NOT NULL
  from_host_id uuid NOT NULL
  from_host text NOT NULL
  to_host_id uuid NOT NULL
  to_host text NOT NULL
  to_placement_id uuid
  desired text NOT NULL
  break_first boolean NOT NULL
  cancel_requested boolean NOT NULL DEFAULT false
  slot integer
  because text NOT NULL
  progress_at timestamp with time zone NOT NULL DEFAULT now()
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  completed_at timestamp with time zone
  version counter NOT NULL DEFAULT 1;
TABLE observed WITH (fillfactor=70)
  placement_id uuid NOT NULL
  host_id uuid NOT NULL
  state text NOT NULL
  generation counter NOT NULL
  epoch counter NOT NULL
  spec_hash text NOT NULL
  components jsonb NOT NULL
  changed_at timestamp with time zone NOT NULL;
TABLE placements
  id uuid NOT NULL
  deployment_id uuid NOT NULL
  host_id uuid NOT NULL
  desired text NOT NULL
  epoch counter NOT NULL
  generation counter NOT NULL
  applied_generation counter
  reconcile_attempts integer NOT NULL DEFAULT 0
  reconcile_not_before timestamp with time zone
  created_at timestamp with time zone NOT NULL DEFAULT now()
  removed_at timestamp with time zone
  version counter NOT NULL DEFAULT 1;
TABLE rollouts
  id uuid NOT NULL
  deployment_id uuid NOT NULL
  deployment text NOT NULL
  action text NOT NULL
  status text NOT NULL
  generation counter NOT NULL
  desired text NOT NULL
  base_generation counter
  base_desired text NOT NULL
  rollback_generation counter
  policy jsonb NOT NULL
  components jsonb
  patched_generation counter
  whole boolean NOT NULL
  timeout_s integer
  wave integer NOT NULL
  promoted boolean NOT NULL DEFAULT false
  members jsonb NOT NULL
  because text NOT NULL
  progress_at timestamp with time zone NOT NULL DEFAULT now()
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  completed_at timestamp with time zone
  version counter NOT NULL DEFAULT 1
  base_placement jsonb;
TABLE webhook_deliveries
  id uuid NOT NULL
  webhook_id uuid NOT NULL
  alert_id uuid
  body jsonb NOT NULL
  status text NOT NULL DEFAULT 'pending'::text
  attempt integer NOT NULL DEFAULT 0
  next_attempt_at timestamp with time zone NOT NULL DEFAULT now()
  claim_expires_at timestamp with time zone
  last_status integer
  last_error text
  created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  completed_at timestamp with time zone
  version counter NOT NULL DEFAULT 1;
TABLE webhooks
  id uuid NOT NULL
  name text NOT NULL
  url text NOT NULL
  filter jsonb NOT NULL
  secret text NOT NULL
  enabled boolean NOT NULL DEFAULT true
  created_at timestamp with time zone NOT NULL DEFAULT now()
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  version counter NOT NULL DEFAULT 1;

-- constraints
alert_cursor CONSTRAINT alert_cursor_one_row CHECK (one);
alert_cursor CONSTRAINT alert_cursor_pkey PRIMARY KEY (one);
alerts CONSTRAINT alerts_acknowledged_by_somebody CHECK (((acknowledged_at IS NULL) = (acknowledged_by IS NULL)));
alerts CONSTRAINT alerts_acknowledged_while_firing CHECK (((acknowledged_at IS NULL) OR (state = 'firing'::text)));
alerts CONSTRAINT alerts_pkey PRIMARY KEY (id);
alerts CONSTRAINT alerts_resolved_has_end CHECK (((state = 'resolved'::text) = (resolved_at IS NOT NULL)));
alerts CONSTRAINT alerts_severity CHECK ((severity = ANY (ARRAY['info'::text, 'warning'::text, 'error'::text])));
alerts CONSTRAINT alerts_state CHECK ((state = ANY (ARRAY['firing'::text, 'resolved'::text])));
api_tokens CONSTRAINT api_tokens_pkey PRIMARY KEY (id);
api_tokens CONSTRAINT api_tokens_role CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'admin'::text])));
audit_log CONSTRAINT audit_log_outcome CHECK ((outcome = ANY (ARRAY['allowed'::text, 'denied'::text])));
audit_log CONSTRAINT audit_log_pkey PRIMARY KEY (id);
cluster_meta CONSTRAINT cluster_meta_one_row CHECK (one);
cluster_meta CONSTRAINT cluster_meta_pkey PRIMARY KEY (one);
deployment_generations CONSTRAINT deployment_generations_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES deployments(id);
deployment_generations CONSTRAINT deployment_generations_pkey PRIMARY KEY (deployment_id, generation);
deployments CONSTRAINT deployments_desired CHECK ((desired = ANY (ARRAY['running'::text, 'stopped'::text, 'absent'::text])));
deployments CONSTRAINT deployments_pkey PRIMARY KEY (id);
deployments CONSTRAINT deployments_reconcile CHECK ((reconcile = ANY (ARRAY['auto'::text, 'report'::text])));
deployments CONSTRAINT deployments_status CHECK ((status = ANY (ARRAY['pending'::text, 'deploying'::text, 'active'::text, 'degraded'::text, 'failed'::text, 'tearing_down'::text, 'torn_down'::text, 'teardown_failed'::text])));
drains CONSTRAINT drains_ended_has_end CHECK (((status = ANY (ARRAY['drained'::text, 'cancelled'::text])) = (completed_at IS NOT NULL)));
drains CONSTRAINT drains_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
drains CONSTRAINT drains_pkey PRIMARY KEY (id);
drains CONSTRAINT drains_status CHECK ((status = ANY (ARRAY['draining'::text, 'blocked'::text, 'drained'::text, 'cancelled'::text])));
enrollment_tokens CONSTRAINT enrollment_tokens_claim_whole CHECK ((((claimed_at IS NULL) = (claimed_spki IS NULL)) AND ((claimed_at IS NULL) = (cert_pem IS NULL))));
enrollment_tokens CONSTRAINT enrollment_tokens_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
enrollment_tokens CONSTRAINT enrollment_tokens_pkey PRIMARY KEY (id);
events CONSTRAINT events_pkey PRIMARY KEY (id);
events CONSTRAINT events_severity CHECK ((severity = ANY (ARRAY['info'::text, 'warning'::text, 'error'::text])));
host_certs CONSTRAINT host_certs_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
host_certs CONSTRAINT host_certs_pkey PRIMARY KEY (sha256);
host_certs CONSTRAINT host_certs_retire_when CHECK (((status <> 'retiring'::text) OR (retire_at IS NOT NULL)));
host_certs CONSTRAINT host_certs_revoked_when CHECK (((status = 'revoked'::text) = (revoked_at IS NOT NULL)));
host_certs CONSTRAINT host_certs_sha256 CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text));
host_certs CONSTRAINT host_certs_spki_once UNIQUE (spki_sha256);
host_certs CONSTRAINT host_certs_status CHECK ((status = ANY (ARRAY['active'::text, 'retiring'::text, 'pending'::text, 'revoked'::text])));
host_heartbeats CONSTRAINT host_heartbeats_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
host_heartbeats CONSTRAINT host_heartbeats_phase CHECK ((phase = ANY (ARRAY['booting'::text, 'ready'::text, 'draining'::text, 'stopping'::text])));
host_heartbeats CONSTRAINT host_heartbeats_pkey PRIMARY KEY (host_id, slot);
host_heartbeats CONSTRAINT host_heartbeats_slot CHECK (((slot >= 0) AND (slot <= 63)));
host_liveness CONSTRAINT host_liveness_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
host_liveness CONSTRAINT host_liveness_phase CHECK ((phase = ANY (ARRAY['booting'::text, 'ready'::text, 'draining'::text, 'stopping'::text])));
host_liveness CONSTRAINT host_liveness_pkey PRIMARY KEY (host_id);
host_reachability CONSTRAINT host_reachability_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
host_reachability CONSTRAINT host_reachability_pkey PRIMARY KEY (host_id);
host_reachability CONSTRAINT host_reachability_state CHECK ((state = ANY (ARRAY['unknown'::text, 'reachable'::text, 'unreachable'::text])));
host_reports CONSTRAINT host_reports_cert_whole CHECK (((cert_sha256 IS NULL) = (cert_not_after IS NULL)));
host_reports CONSTRAINT host_reports_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
host_reports CONSTRAINT host_reports_pkey PRIMARY KEY (host_id);
host_sessions CONSTRAINT host_sessions_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
host_sessions CONSTRAINT host_sessions_pkey PRIMARY KEY (host_id, session_epoch);
hosts CONSTRAINT hosts_agent_port CHECK (((agent_port >= 0) AND (agent_port <= 65535)));
hosts CONSTRAINT hosts_pkey PRIMARY KEY (id);
hosts CONSTRAINT hosts_probe_whole CHECK (((last_probe_at IS NULL) = (last_probe_ok IS NULL)));
hosts CONSTRAINT hosts_status CHECK ((status = ANY (ARRAY['pending'::text, 'enrolled'::text, 'active'::text, 'suspect'::text, 'unreachable'::text, 'decommissioned'::text])));
hosts CONSTRAINT hosts_tombstone CHECK (((status = 'decommissioned'::text) = (decommissioned_at IS NOT NULL)));
idempotency_keys CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key);
idempotency_keys CONSTRAINT idempotency_keys_whole CHECK (((completed_at IS NULL) = (status IS NULL)));
lifecycle CONSTRAINT lifecycle_cancel_reason CHECK ((cancel_reason = ANY (ARRAY['operator'::text, 'timeout'::text, 'absent'::text, 'dispatch_deadline'::text, 'rollout'::text])));
lifecycle CONSTRAINT lifecycle_cancel_whole CHECK (((cancel_reason IS NULL) = (cancel_requested_at IS NULL)));
lifecycle CONSTRAINT lifecycle_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES deployments(id);
lifecycle CONSTRAINT lifecycle_failed_has_code CHECK (((status = 'failed'::text) = (failure_code IS NOT NULL)));
lifecycle CONSTRAINT lifecycle_failure_code CHECK ((failure_code = ANY (ARRAY['dispatch_failed'::text, 'agent_error'::text, 'interrupted'::text, 'host_lost'::text, 'timeout'::text, 'rejected'::text, 'swept_unknown'::text])));
lifecycle CONSTRAINT lifecycle_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
lifecycle CONSTRAINT lifecycle_operation CHECK ((operation = ANY (ARRAY['deploy'::text, 'mutate'::text, 'teardown'::text])));
lifecycle CONSTRAINT lifecycle_phase CHECK ((phase = ANY (ARRAY['queued'::text, 'sent'::text, 'accepted'::text, 'working'::text])));
lifecycle CONSTRAINT lifecycle_pkey PRIMARY KEY (id);
lifecycle CONSTRAINT lifecycle_placement_id_fkey FOREIGN KEY (placement_id) REFERENCES placements(id);
lifecycle CONSTRAINT lifecycle_progress_whole CHECK (((progress IS NULL) = (progress_at IS NULL)));
lifecycle CONSTRAINT lifecycle_sent_when CHECK (((phase = 'queued'::text) OR (status <> 'pending'::text) OR (sent_at IS NOT NULL)));
lifecycle CONSTRAINT lifecycle_status CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'lost'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text, 'superseded'::text])));
lifecycle CONSTRAINT lifecycle_terminal_has_end CHECK (((status = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text, 'superseded'::text])) = (completed_at IS NOT NULL)));
lifecycle CONSTRAINT lifecycle_traceparent CHECK ((traceparent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$'::text));
moves CONSTRAINT moves_active_has_slot CHECK (((status = ANY (ARRAY['starting'::text, 'stopping'::text, 'returning'::text])) = (slot IS NOT NULL)));
moves CONSTRAINT moves_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES deployments(id);
moves CONSTRAINT moves_desired CHECK ((desired = ANY (ARRAY['running'::text, 'stopped'::text])));
moves CONSTRAINT moves_drain_id_fkey FOREIGN KEY (drain_id) REFERENCES drains(id);
moves CONSTRAINT moves_ended_has_end CHECK (((status = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text])) = (completed_at IS NOT NULL)));
moves CONSTRAINT moves_from_host_id_fkey FOREIGN KEY (from_host_id) REFERENCES hosts(id);
moves CONSTRAINT moves_from_placement_id_fkey FOREIGN KEY (from_placement_id) REFERENCES placements(id);
moves CONSTRAINT moves_pkey PRIMARY KEY (id);
moves CONSTRAINT moves_reason CHECK ((reason = ANY (ARRAY['drain'::text, 'rebalance'::text])));
moves CONSTRAINT moves_status CHECK ((status = ANY (ARRAY['pending'::text, 'starting'::text, 'stopping'::text, 'returning'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])));
moves CONSTRAINT moves_to_host_id_fkey FOREIGN KEY (to_host_id) REFERENCES hosts(id);
moves CONSTRAINT moves_to_placement_id_fkey FOREIGN KEY (to_placement_id) REFERENCES placements(id);
observed CONSTRAINT observed_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
observed CONSTRAINT observed_pkey PRIMARY KEY (placement_id);
observed CONSTRAINT observed_placement_id_fkey FOREIGN KEY (placement_id) REFERENCES placements(id);
observed CONSTRAINT observed_state CHECK ((state = ANY (ARRAY['unknown'::text, 'pending'::text, 'deploying'::text, 'running'::text, 'degraded'::text, 'failed'::text, 'stopped'::text, 'tearing_down'::text, 'teardown_failed'::text, 'absent'::text])));
placements CONSTRAINT placements_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES deployments(id);
placements CONSTRAINT placements_desired CHECK ((desired = ANY (ARRAY['running'::text, 'stopped'::text, 'absent'::text])));
placements CONSTRAINT placements_host_id_fkey FOREIGN KEY (host_id) REFERENCES hosts(id);
placements CONSTRAINT placements_pkey PRIMARY KEY (id);
rollouts CONSTRAINT rollouts_action CHECK ((action = ANY (ARRAY['deploy'::text, 'mutate'::text, 'redeploy'::text, 'rollback'::text])));
rollouts CONSTRAINT rollouts_back_to_something CHECK (((rollback_generation IS NULL) OR (base_generation IS NOT NULL)));
rollouts CONSTRAINT rollouts_base_desired CHECK ((base_desired = ANY (ARRAY['running'::text, 'stopped'::text])));
rollouts CONSTRAINT rollouts_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES deployments(id);
rollouts CONSTRAINT rollouts_desired CHECK ((desired = ANY (ARRAY['running'::text, 'stopped'::text])));
rollouts CONSTRAINT rollouts_ended_has_end CHECK (((status = ANY (ARRAY['succeeded'::text, 'failed'::text, 'rolled_back'::text, 'superseded'::text])) = (completed_at IS NOT NULL)));
rollouts CONSTRAINT rollouts_pkey PRIMARY KEY (id);
rollouts CONSTRAINT rollouts_status CHECK ((status = ANY (ARRAY['running'::text, 'paused'::text, 'rolling_back'::text, 'succeeded'::text, 'failed'::text, 'rolled_back'::text, 'superseded'::text])));
webhook_deliveries CONSTRAINT webhook_deliveries_ended_has_end CHECK (((status = 'pending'::text) = (completed_at IS NULL)));
webhook_deliveries CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id);
webhook_deliveries CONSTRAINT webhook_deliveries_status CHECK ((status = ANY (ARRAY['pending'::text, 'delivered'::text, 'dead'::text])));
webhook_deliveries CONSTRAINT webhook_deliveries_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES webhooks(id) ON DELETE CASCADE;
webhooks CONSTRAINT webhooks_name_unique UNIQUE (name);
webhooks CONSTRAINT webhooks_pkey PRIMARY KEY (id);

-- indexes
CREATE INDEX alerts_by_end ON public.alerts USING btree (resolved_at) WHERE (resolved_at IS NOT NULL);
CREATE INDEX alerts_by_key ON public.alerts USING btree (key, last_at);
CREATE INDEX alerts_firing_by_deployment ON public.alerts USING btree (deployment_id) WHERE (state = 'firing'::text);
CREATE INDEX alerts_firing_by_host ON public.alerts USING btree (host_id) WHERE (state = 'firing'::text);
CREATE INDEX alerts_notice_due ON public.alerts USING btree (notify_at) WHERE (notify_at IS NOT NULL);
CREATE UNIQUE INDEX alerts_one_firing ON public.alerts USING btree (key) WHERE (state = 'firing'::text);
CREATE UNIQUE INDEX deployments_live_name ON public.deployments USING btree (name) WHERE (deleted_at IS NULL);
CREATE INDEX drains_by_creation ON public.drains USING btree (host_id, created_at, id);
CREATE INDEX drains_by_end ON public.drains USING btree (completed_at) WHERE (completed_at IS NOT NULL);
CREATE INDEX drains_by_host ON public.drains USING btree (host_id, id);
CREATE UNIQUE INDEX drains_one_open ON public.drains USING btree (host_id) WHERE (status = ANY (ARRAY['draining'::text, 'blocked'::text]));
CREATE INDEX enrollment_tokens_by_expiry ON public.enrollment_tokens USING btree (expires_at);
CREATE INDEX enrollment_tokens_by_host ON public.enrollment_tokens USING btree (host_id);
CREATE INDEX events_by_deployment ON public.events USING btree (deployment_id, id) WHERE (deployment_id IS NOT NULL);
CREATE INDEX events_by_host ON public.events USING btree (host_id, id) WHERE (host_id IS NOT NULL);
CREATE INDEX events_in_order ON public.events USING btree (xid, id);
CREATE INDEX host_certs_by_host ON public.host_certs USING btree (host_id);
CREATE INDEX host_reachability_due ON public.host_reachability USING btree (due_at);
CREATE UNIQUE INDEX host_sessions_one_open ON public.host_sessions USING btree (host_id) WHERE (closed_at IS NULL);
CREATE INDEX hosts_by_status ON public.hosts USING btree (status, id);
CREATE UNIQUE INDEX hosts_live_name ON public.hosts USING btree (name) WHERE (status <> 'decommissioned'::text);
CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys USING btree (created_at);
CREATE INDEX lifecycle_by_deployment ON public.lifecycle USING btree (deployment_id, id);
CREATE INDEX lifecycle_by_host ON public.lifecycle USING btree (host_id, id);
CREATE INDEX lifecycle_by_placement ON public.lifecycle USING btree (placement_id, id);
CREATE INDEX lifecycle_due ON public.lifecycle USING btree (next_dispatch_at) WHERE (status = 'pending'::text);
CREATE UNIQUE INDEX lifecycle_one_open ON public.lifecycle USING btree (placement_id) WHERE (status = ANY (ARRAY['pending'::text, 'running'::text, 'lost'::text]));
CREATE INDEX lifecycle_open ON public.lifecycle USING btree (id) WHERE (status = ANY (ARRAY['pending'::text, 'running'::text, 'lost'::text]));
CREATE INDEX lifecycle_open_by_host ON public.lifecycle USING btree (host_id, id) WHERE (status = ANY (ARRAY['pending'::text, 'running'::text, 'lost'::text]));
CREATE INDEX moves_by_deployment ON public.moves USING btree (deployment_id, id);
CREATE INDEX moves_by_drain ON public.moves USING btree (drain_id) WHERE (drain_id IS NOT NULL);
CREATE INDEX moves_by_end ON public.moves USING btree (completed_at) WHERE (completed_at IS NOT NULL);
CREATE UNIQUE INDEX moves_one_open ON public.moves USING btree (from_placement_id) WHERE (status = ANY (ARRAY['pending'::text, 'starting'::text, 'stopping'::text, 'returning'::text]));
CREATE UNIQUE INDEX moves_one_per_slot ON public.moves USING btree (slot);
CREATE INDEX placements_by_deployment ON public.placements USING btree (deployment_id, id);
CREATE INDEX placements_by_host ON public.placements USING btree (host_id, id) WHERE (removed_at IS NULL);
CREATE UNIQUE INDEX placements_once_per_host ON public.placements USING btree (deployment_id, host_id) WHERE (removed_at IS NULL);
CREATE INDEX rollouts_by_creation ON public.rollouts USING btree (deployment_id, created_at, id);
CREATE INDEX rollouts_by_deployment ON public.rollouts USING btree (deployment_id, id);
CREATE INDEX rollouts_by_end ON public.rollouts USING btree (completed_at) WHERE (completed_at IS NOT NULL);
CREATE UNIQUE INDEX rollouts_one_open ON public.rollouts USING btree (deployment_id) WHERE (status = ANY (ARRAY['running'::text, 'paused'::text, 'rolling_back'::text]));
CREATE INDEX webhook_deliveries_by_end ON public.webhook_deliveries USING btree (completed_at) WHERE (status = 'delivered'::text);
CREATE INDEX webhook_deliveries_by_webhook ON public.webhook_deliveries USING btree (webhook_id, id);
CREATE INDEX webhook_deliveries_dead ON public.webhook_deliveries USING btree (webhook_id, completed_at, id) WHERE (status = 'dead'::text);
CREATE INDEX webhook_deliveries_due ON public.webhook_deliveries USING btree (webhook_id, next_attempt_at) WHERE (status = 'pending'::text);
CREATE INDEX webhook_deliveries_of_alert ON public.webhook_deliveries USING btree (webhook_id, alert_id) WHERE (status = 'pending'::text);

-- functions
CREATE OR REPLACE FUNCTION public.bump_pin_version()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  UPDATE cluster_meta SET pin_version = pin_version + 1;
  PERFORM pg_notify('skep', 'pins');
  RETURN NULL;
END $function$;
CREATE OR REPLACE FUNCTION public.freeze_terminal_lifecycle()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  RAISE EXCEPTION 'lifecycle row % is terminal', OLD.id USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'lifecycle_terminal_frozen';
END $function$;
CREATE OR REPLACE FUNCTION public.notify_topic()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  PERFORM pg_notify('skep', TG_ARGV[0]);
  RETURN NULL;
END $function$;

-- triggers
CREATE TRIGGER drains_notify AFTER INSERT OR UPDATE ON public.drains FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('moves');
CREATE TRIGGER events_notify AFTER INSERT ON public.events FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('events');
CREATE CONSTRAINT TRIGGER host_certs_bump_pins AFTER INSERT OR DELETE OR UPDATE ON public.host_certs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bump_pin_version();
CREATE CONSTRAINT TRIGGER hosts_bump_pins AFTER UPDATE OF status, rotation_wanted ON public.hosts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.rotation_wanted IS DISTINCT FROM new.rotation_wanted) OR ((old.status IS DISTINCT FROM new.status) AND (('decommissioned'::text = old.status) OR ('decommissioned'::text = new.status))))) EXECUTE FUNCTION bump_pin_version();
CREATE TRIGGER lifecycle_notify AFTER INSERT ON public.lifecycle FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('lifecycle');
CREATE TRIGGER lifecycle_terminal_frozen BEFORE UPDATE ON public.lifecycle FOR EACH ROW WHEN ((old.status = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text, 'superseded'::text]))) EXECUTE FUNCTION freeze_terminal_lifecycle();
CREATE TRIGGER moves_notify AFTER INSERT OR UPDATE ON public.moves FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('moves');
CREATE TRIGGER rollouts_notify AFTER INSERT OR UPDATE ON public.rollouts FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('rollouts');
