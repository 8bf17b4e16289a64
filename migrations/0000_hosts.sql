-- Hosts and their identities. Every counter is a bigint that JavaScript can hold exactly; every state is checked
-- here and compared with core's const arrays by packages/store/test/schema.test.ts.

CREATE DOMAIN counter AS bigint CONSTRAINT counter_range CHECK (VALUE BETWEEN 0 AND 9007199254740991);

-- One row. `lineage` names the history that event cursors and floors belong to; `system_identifier` tells a
-- restored or copied database from the one it was.
CREATE TABLE cluster_meta (
  one boolean PRIMARY KEY DEFAULT true CONSTRAINT cluster_meta_one_row CHECK (one),
  lineage uuid NOT NULL,
  system_identifier bigint NOT NULL,
  pin_version counter NOT NULL DEFAULT 1,
  pruned_xid xid8 NOT NULL DEFAULT '0',
  pruned_id bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO cluster_meta (lineage, system_identifier) SELECT gen_random_uuid(), system_identifier FROM pg_control_system();

CREATE TABLE hosts (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'pending'
    CONSTRAINT hosts_status CHECK (status IN ('pending', 'enrolled', 'active', 'suspect', 'unreachable', 'decommissioned')),
  status_because text,
  schedulable boolean NOT NULL DEFAULT true,
  labels jsonb NOT NULL DEFAULT '{}',
  notes text,
  address text,
  agent_port integer NOT NULL CONSTRAINT hosts_agent_port CHECK (agent_port BETWEEN 0 AND 65535),
  agent_url text,
  allowed_cidr text,
  agent_version text,
  session_epoch counter NOT NULL DEFAULT 0,
  session_boot_id text,
  rotation_wanted boolean NOT NULL DEFAULT false,
  last_probe_at timestamptz,
  last_probe_ok boolean,
  last_probe_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  enrolled_at timestamptz,
  decommissioned_at timestamptz,
  version counter NOT NULL DEFAULT 1,
  CONSTRAINT hosts_probe_whole CHECK ((last_probe_at IS NULL) = (last_probe_ok IS NULL)),
  CONSTRAINT hosts_tombstone CHECK ((status = 'decommissioned') = (decommissioned_at IS NOT NULL))
) WITH (fillfactor = 70);
-- A name is free again once its host is decommissioned.
CREATE UNIQUE INDEX hosts_live_name ON hosts (name) WHERE status <> 'decommissioned';
CREATE INDEX hosts_by_status ON hosts (status, id);

-- Written by every beat: narrow, and without an index on any column that a beat changes, so that updates stay HOT.
-- `taken` and `changed` say what the last beat did; they exist because RETURNING cannot see old values.
CREATE TABLE host_liveness (
  host_id uuid PRIMARY KEY REFERENCES hosts (id),
  last_heartbeat_at timestamptz NOT NULL,
  snapshot_at timestamptz,
  observed_at timestamptz,
  seq counter NOT NULL DEFAULT 0,
  op_seq counter,
  taken boolean NOT NULL,
  changed boolean NOT NULL,
  boot_id text,
  phase text CONSTRAINT host_liveness_phase CHECK (phase IN ('booting', 'ready', 'draining', 'stopping')),
  snapshot_hash text
) WITH (fillfactor = 70);

-- Written when a snapshot differs from the one before it.
CREATE TABLE host_reports (
  host_id uuid PRIMARY KEY REFERENCES hosts (id),
  boot_id text NOT NULL,
  op_seq counter NOT NULL,
  received_at timestamptz NOT NULL,
  since_seq counter NOT NULL,
  job_ids jsonb,
  jobs_truncated boolean NOT NULL,
  resources jsonb,
  capabilities jsonb NOT NULL DEFAULT '[]',
  observed_error text,
  cert_sha256 text,
  cert_not_after timestamptz,
  CONSTRAINT host_reports_cert_whole CHECK ((cert_sha256 IS NULL) = (cert_not_after IS NULL))
) WITH (fillfactor = 70);

-- The last 64 beats of each host, in place: slot = seq mod 64.
CREATE TABLE host_heartbeats (
  host_id uuid NOT NULL REFERENCES hosts (id),
  slot smallint NOT NULL CONSTRAINT host_heartbeats_slot CHECK (slot BETWEEN 0 AND 63),
  changed boolean NOT NULL,
  received_at timestamptz NOT NULL,
  seq counter NOT NULL,
  phase text CONSTRAINT host_heartbeats_phase CHECK (phase IN ('booting', 'ready', 'draining', 'stopping')),
  PRIMARY KEY (host_id, slot)
) WITH (fillfactor = 70);

CREATE TABLE host_sessions (
  host_id uuid NOT NULL REFERENCES hosts (id),
  session_epoch counter NOT NULL,
  boot_id text NOT NULL,
  host_boot_id text NOT NULL,
  agent_version text NOT NULL,
  agent_url text,
  opened_at timestamptz NOT NULL DEFAULT now(),
  closed_at timestamptz,
  PRIMARY KEY (host_id, session_epoch)
);
CREATE UNIQUE INDEX host_sessions_one_open ON host_sessions (host_id) WHERE closed_at IS NULL;

CREATE TABLE host_certs (
  sha256 text PRIMARY KEY CONSTRAINT host_certs_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  host_id uuid NOT NULL REFERENCES hosts (id),
  spki_sha256 text NOT NULL CONSTRAINT host_certs_spki_once UNIQUE,
  status text NOT NULL CONSTRAINT host_certs_status CHECK (status IN ('active', 'retiring', 'pending', 'revoked')),
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  retire_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT host_certs_revoked_when CHECK ((status = 'revoked') = (revoked_at IS NOT NULL)),
  CONSTRAINT host_certs_retire_when CHECK (status <> 'retiring' OR retire_at IS NOT NULL)
);
CREATE INDEX host_certs_by_host ON host_certs (host_id);

CREATE TABLE enrollment_tokens (
  id uuid PRIMARY KEY,
  host_id uuid NOT NULL REFERENCES hosts (id),
  secret_hash text NOT NULL,
  expires_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  claimed_at timestamptz,
  claimed_spki text,
  cert_pem text,
  burned boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT enrollment_tokens_claim_whole
    CHECK ((claimed_at IS NULL) = (claimed_spki IS NULL) AND (claimed_at IS NULL) = (cert_pem IS NULL))
);
CREATE INDEX enrollment_tokens_by_host ON enrollment_tokens (host_id);
CREATE INDEX enrollment_tokens_by_expiry ON enrollment_tokens (expires_at);

-- Masters keep pins in memory and reload when this version grows. Deferred to the commit, so that the one row that
-- every identity change writes is locked last and for a moment: no deadlock, no queue behind a long transaction.
CREATE FUNCTION bump_pin_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE cluster_meta SET pin_version = pin_version + 1;
  PERFORM pg_notify('skep', 'pins');
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER host_certs_bump_pins AFTER INSERT OR UPDATE OR DELETE ON host_certs
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bump_pin_version();
-- Of a host's states only the tombstone decides about a pin; a herd that wakes up must not make every master reload.
CREATE CONSTRAINT TRIGGER hosts_bump_pins AFTER UPDATE OF status, rotation_wanted ON hosts
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.rotation_wanted IS DISTINCT FROM NEW.rotation_wanted
    OR (OLD.status IS DISTINCT FROM NEW.status AND 'decommissioned' IN (OLD.status, NEW.status)))
  EXECUTE FUNCTION bump_pin_version();
