-- Who answers a deployment's callers while it cannot. Names or ids of other deployments, as they were given: what bears
-- the name when a caller asks is meant, and may come later than the wish for it.
ALTER TABLE deployments ADD COLUMN failover jsonb NOT NULL DEFAULT '{}';
