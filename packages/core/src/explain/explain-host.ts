/** Why a host is as it is: its health's own reasons, with a sentence in front. */
import { seconds } from "../liveness/decide-host.ts";
import { decideHealth, type HealthFacts } from "../liveness/decide-health.ts";
import type { ExplainedState } from "./explain-lifecycle.ts";
import { explainDrain, type ExplainedDrain } from "./explain-moves.ts";

/** `drain`: the open one, or the last. */
export function explainHost(facts: HealthFacts, drain?: ExplainedDrain): ExplainedState {
  const { host } = facts;
  const { health, ageMs, reasons: own } = decideHealth(facts);
  const drained = explainDrain(host, drain);
  // Why it is cordoned is then known, and what the other sentence advises would be refused.
  const reasons = drained.length === 0 ? own : [...drained, ...own.filter((reason) => reason.code !== "cordoned")];
  const because = host.statusBecause === undefined ? "" : ` (${host.statusBecause})`;
  const beat = ageMs === undefined ? "never heard" : `last heartbeat ${seconds(ageMs)} ago`;
  return {
    summary: `${host.name} is ${host.status}${because}, health ${health}; ${beat}.`,
    reasons: reasons.length > 0 ? reasons : [{ code: "healthy", message: "It beats on time and nothing speaks against it.", next: "Nothing.", since: facts.liveness?.lastHeartbeatAt }],
  };
}
