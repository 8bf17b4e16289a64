-- What has ended is deleted some time later, oldest first: found by its end and not by reading the table.

CREATE INDEX rollouts_by_end ON rollouts (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX moves_by_end ON moves (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX drains_by_end ON drains (completed_at) WHERE completed_at IS NOT NULL;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (webhook_id, completed_at, id) WHERE status = 'dead';
-- A deployment's newest rollout and a host's last drain are looked up for each row that could go.
CREATE INDEX rollouts_by_creation ON rollouts (deployment_id, created_at, id);
CREATE INDEX drains_by_creation ON drains (host_id, created_at, id);
