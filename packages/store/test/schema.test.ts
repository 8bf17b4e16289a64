/** The schema against core's vocabulary and against drizzle's tables: each both ways, so that neither can gain or lose a word alone. */
import {
  AGENT_PHASES, ALERT_STATES, CANCEL_REASONS, CERT_STATUSES, DEPLOYMENT_STATUSES, DESIRED_STATES, DRAIN_STATUSES, ENDED_DRAIN_STATUSES, ENDED_MOVE_STATUSES, EVENT_SEVERITIES, FAILURE_CODES, HOST_STATUSES, LIFECYCLE_PHASES, LIFECYCLE_STATUSES,
  MOVE_REASONS, MOVE_STATUSES, OBSERVED_STATES, OPEN_DRAIN_STATUSES, OPEN_MOVE_STATUSES, OPEN_STATUSES, OPERATIONS, REACHABILITY_STATES, RECONCILE_MODES, ROLES, ROLLOUT_ACTIONS, ROLLOUT_STATUSES, ENDED_ROLLOUT_STATUSES, OPEN_ROLLOUT_STATUSES, TERMINAL_STATUSES, TRACEPARENT_PATTERN, WEBHOOK_DELIVERY_STATUSES,
  isActiveMove,
} from "@skep/core";
import { runSql } from "@skep/store/server";
import { useDatabase } from "@skep/testkit/vitest";
import { getTableColumns, getTableName, is } from "drizzle-orm";
import { PgTable } from "drizzle-orm/pg-core";
import { expect, test } from "vitest";
import * as schema from "../src/schema/index.ts";

const database = useDatabase();

const VOCABULARY: Readonly<Record<string, readonly string[]>> = {
  hosts_status: HOST_STATUSES,
  host_reachability_state: REACHABILITY_STATES,
  host_liveness_phase: AGENT_PHASES,
  host_heartbeats_phase: AGENT_PHASES,
  host_certs_status: CERT_STATUSES,
  deployments_desired: DESIRED_STATES,
  deployments_reconcile: RECONCILE_MODES,
  deployments_status: DEPLOYMENT_STATUSES,
  placements_desired: DESIRED_STATES,
  observed_state: OBSERVED_STATES,
  lifecycle_operation: OPERATIONS,
  lifecycle_status: LIFECYCLE_STATUSES,
  lifecycle_phase: LIFECYCLE_PHASES,
  lifecycle_cancel_reason: CANCEL_REASONS,
  lifecycle_failure_code: FAILURE_CODES,
  lifecycle_terminal_has_end: TERMINAL_STATUSES,
  rollouts_action: ROLLOUT_ACTIONS,
  rollouts_status: ROLLOUT_STATUSES,
  rollouts_desired: ["running", "stopped"],
  rollouts_base_desired: ["running", "stopped"],
  rollouts_ended_has_end: ENDED_ROLLOUT_STATUSES,
  drains_status: DRAIN_STATUSES,
  drains_ended_has_end: ENDED_DRAIN_STATUSES,
  moves_reason: MOVE_REASONS,
  moves_status: MOVE_STATUSES,
  moves_desired: ["running", "stopped"],
  moves_ended_has_end: ENDED_MOVE_STATUSES,
  moves_active_has_slot: MOVE_STATUSES.filter(isActiveMove),
  events_severity: EVENT_SEVERITIES,
  audit_log_outcome: ["allowed", "denied"],
  api_tokens_role: ROLES,
  alerts_severity: EVENT_SEVERITIES,
  alerts_state: ALERT_STATES,
  webhook_deliveries_status: WEBHOOK_DELIVERY_STATUSES,
};

const literals = (definition: unknown): string[] => [...String(definition).matchAll(/'([^']*)'::text/g)].map((match) => match[1]!).sort();

test("every list of states in a CHECK is core's, word for word", async () => {
  const rows = await runSql(database.url, "SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace");
  const lists = Object.fromEntries(rows.filter((row) => String(row["definition"]).includes("ANY (ARRAY[")).map((row) => [String(row["conname"]), literals(row["definition"])]));
  expect(lists).toEqual(Object.fromEntries(Object.entries(VOCABULARY).map(([name, states]) => [name, [...states].sort()])));
});

test("a stored traceparent has the form that core writes", async () => {
  const [row] = await runSql(database.url, "SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE conname = 'lifecycle_traceparent'");
  expect(literals(row!["definition"])).toEqual([TRACEPARENT_PATTERN]);
});

test("the partial indexes span exactly the open states, and the freeze exactly the terminal ones", async () => {
  const indexes = await runSql(database.url, "SELECT indexdef FROM pg_indexes WHERE indexname IN ('lifecycle_one_open', 'lifecycle_open', 'lifecycle_open_by_host')");
  expect(indexes).toHaveLength(3);
  for (const row of indexes) expect(literals(row["indexdef"])).toEqual([...OPEN_STATUSES].sort());
  const [rollouts] = await runSql(database.url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'rollouts_one_open'");
  expect(literals(rollouts!["indexdef"])).toEqual([...OPEN_ROLLOUT_STATUSES].sort());
  const [moves] = await runSql(database.url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'moves_one_open'");
  expect(literals(moves!["indexdef"])).toEqual([...OPEN_MOVE_STATUSES].sort());
  const [drains] = await runSql(database.url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'drains_one_open'");
  expect(literals(drains!["indexdef"])).toEqual([...OPEN_DRAIN_STATUSES].sort());
  const [trigger] = await runSql(database.url, "SELECT pg_get_triggerdef(oid) AS definition FROM pg_trigger WHERE tgname = 'lifecycle_terminal_frozen'");
  expect(literals(trigger!["definition"])).toEqual([...TERMINAL_STATUSES].sort());
});

test("drizzle's tables are the database's, column by column", async () => {
  const rows = await runSql(
    database.url,
    "SELECT table_name, column_name, is_nullable FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migrations' ORDER BY 1, 2",
  );
  const actual = rows.map((row) => `${String(row["table_name"])}.${String(row["column_name"])} ${row["is_nullable"] === "NO" ? "not null" : "null"}`);
  const declared = Object.values(schema)
    .filter((item) => is(item, PgTable))
    .flatMap((table) => Object.values(getTableColumns(table)).map((column) => `${getTableName(table)}.${column.name} ${column.notNull ? "not null" : "null"}`))
    .sort();
  expect(declared).toEqual([...actual].sort());
});

test("a terminal row cannot be changed at a console either, and an open one can", async () => {
  const id = "019e807a-0000-7000-8000-000000000001";
  await runSql(database.url, `
    INSERT INTO hosts (id, name, agent_port) VALUES ('${id}', 'h', 1);
    INSERT INTO deployments (id, name, generation, desired, reconcile, placement) VALUES ('${id}', 'd', 1, 'running', 'auto', '{}');
    INSERT INTO placements (id, deployment_id, host_id, desired, epoch, generation) VALUES ('${id}', '${id}', '${id}', 'running', 1, 1);
    INSERT INTO lifecycle (id, placement_id, deployment_id, deployment, host_id, operation, generation, epoch, timeout_s, dispatch_deadline)
      VALUES ('${id}', '${id}', '${id}', 'd', '${id}', 'deploy', 1, 1, 1, now())`);
  await runSql(database.url, "UPDATE lifecycle SET because = 'open'");
  await expect(runSql(database.url, "UPDATE lifecycle SET status = 'failed', completed_at = now()")).rejects.toMatchObject({ constraint: "lifecycle_failed_has_code" });
  await expect(runSql(database.url, "UPDATE lifecycle SET status = 'succeeded'")).rejects.toMatchObject({ constraint: "lifecycle_terminal_has_end" });
  await runSql(database.url, "UPDATE lifecycle SET status = 'succeeded', completed_at = now()");
  await expect(runSql(database.url, "UPDATE lifecycle SET because = 'rewritten'")).rejects.toMatchObject({ constraint: "lifecycle_terminal_frozen" });
  await expect(runSql(database.url, "UPDATE lifecycle SET status = 'pending', completed_at = NULL")).rejects.toMatchObject({ constraint: "lifecycle_terminal_frozen" });
});

test("a counter that JavaScript could not hold exactly is refused, not rounded", async () => {
  await runSql(database.url, "UPDATE hosts SET session_epoch = 9007199254740991");
  await expect(runSql(database.url, "UPDATE hosts SET session_epoch = session_epoch + 1")).rejects.toMatchObject({ constraint: "counter_range" });
});
