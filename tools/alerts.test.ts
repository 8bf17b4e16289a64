/** Every kind of event is either an alert's or known to be none: a new kind that somebody should hear of is not forgotten. */
import { ALERT_RULES, DEPLOYMENT_STATUSES, HOST_STATUSES, LIFECYCLE_STATUSES, ROLLOUT_ACTIONS, ROLLOUT_STATUSES } from "@skep/core";
import { expect, test } from "vitest";
import { isTest, readSources } from "./sources.ts";

/** Facts that nobody needs to be called for: what people did, and steps on the way of something that has a rule of its own. */
const NO_ALERT: ReadonlySet<string> = new Set([
  "host.created", "host.bundle_issued", "host.enrolled", "host.registered", "host.rotated", "host.rotation_requested", "host.cordoned", "host.uncordoned", "host.updated", "host.active",
  "host.pending", "host.decommissioned", "host.network_reachable", "host.settled", "host.draining", "host.drained", "host.drain_cancelled", "boot.complete", "breaker.closed", "breaker.reset",
  "deployment.pending", "deployment.deploying", "deployment.active", "deployment.tearing_down", "deployment.torn_down", "deployment.deploy", "deployment.mutate", "deployment.redeploy", "deployment.rollback", "deployment.teardown", "deployment.rebalance",
  "lifecycle.pending", "lifecycle.running", "lifecycle.succeeded", "lifecycle.cancelled", "lifecycle.superseded", "lifecycle.cancel_requested",
  // Nothing says when it is over, and nobody touches it: `skep drift` lists it.
  "placement.orphan", "move.started", "move.stopping", "move.starting", "move.returning", "move.succeeded", "move.cancelled", "placement.reconcile", "placement.as_desired", "placement.dropped",
  "rollout.started", "rollout.wave", "rollout.leaving", "rollout.running", "rollout.resumed", "rollout.succeeded", "rollout.rolled_back", "rollout.superseded",
  "delta.rejected", "delta.late", "exec.started", "exec.ended", "token.created", "token.revoked",
  "alert.skipped", "webhook.created", "webhook.updated", "webhook.deleted",
  // An alert about a webhook would be sent to webhooks: `skep webhook ls` counts them.
  "webhook.delivery_dead", "webhook.dead_letters_dropped",
]);

const OPENS = new Set(ALERT_RULES.flatMap((rule) => rule.opensOn));
const LITERAL = /"((?:host|boot|breaker|deployment|lifecycle|placement|rollout|move|delta|exec|token|alert|webhook)\.[a-z][a-z_]+)"/g;

/** What the master writes, as far as it is written out, and what it composes of a status. */
function kinds(): string[] {
  const written = readSources().filter((source) => (source.path.startsWith("apps/master/src/") || source.path.startsWith("packages/core/src/agent/")) && !isTest(source.path))
    .flatMap((source) => [...source.text.matchAll(/^.*(?:kind|note\(|tell\(|appendEvent).*$/gm)].flatMap(([line]) => [...line.matchAll(LITERAL)].map((match) => match[1]!)));
  const composed = [
    ...HOST_STATUSES.map((status) => `host.${status}`), ...LIFECYCLE_STATUSES.map((status) => `lifecycle.${status}`), ...DEPLOYMENT_STATUSES.map((status) => `deployment.${status}`),
    ...ROLLOUT_STATUSES.map((status) => `rollout.${status}`), ...[...ROLLOUT_ACTIONS, "teardown"].map((action) => `deployment.${action}`), "webhook.created", "webhook.updated", "webhook.deleted",
  ];
  return [...new Set([...written, ...composed])].sort();
}

test("every kind of event has a rule, or a reason in the list above to have none", () => {
  const found = kinds();
  // Not blind: kinds that are written in each of the ways there are.
  expect(found).toEqual(expect.arrayContaining(["host.token_replay", "placement.crash_loop", "rollout.rolling_back", "boot.blocked", "lifecycle.needs_decision", "alert.skipped"]));
  expect(found.filter((kind) => !OPENS.has(kind) && !NO_ALERT.has(kind))).toEqual([]);
});

test("no kind is both", () => {
  expect([...OPENS].filter((kind) => NO_ALERT.has(kind))).toEqual([]);
});
