-- A replace that leaves hosts lets go of them last, and its way back restores where the deployment was to run.

ALTER TABLE rollouts ADD COLUMN base_placement jsonb;

-- What came new with a deploy used to be called apart and was judged by no gate; every such rollout of an earlier
-- version that is still open goes on as it began.
UPDATE rollouts SET members = (
  SELECT jsonb_agg(CASE WHEN member ->> 'state' = 'apart' THEN member || '{"state": "passed", "arriving": true}' ELSE member END ORDER BY place)
  FROM jsonb_array_elements(members) WITH ORDINALITY AS elements (member, place)
) WHERE members @> '[{"state": "apart"}]';
