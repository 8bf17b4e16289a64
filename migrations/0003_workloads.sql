-- Real workloads: what an operation says beyond its spec, what a job says of its progress, what a host says of its boot.

ALTER TABLE lifecycle
  ADD COLUMN options jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN progress counter,
  ADD COLUMN progress_at timestamptz,
  ADD COLUMN job_phase text,
  ADD CONSTRAINT lifecycle_progress_whole CHECK ((progress IS NULL) = (progress_at IS NULL));

-- Orphans are reported placements that nobody placed there: shown to operators, never acted on.
ALTER TABLE host_reports
  ADD COLUMN boot jsonb,
  ADD COLUMN orphans jsonb;
